"""How many candidates were judged on a test split: the more there were, the likelier the best of them was only lucky there.

Each run that a gate judged has the tag `judged_on.DIGEST` with its candidate's number. Equal weights are one candidate, and
deleted runs count, since nobody forgets what they showed.
"""

from typing import Any

_DIGITS = 16  # of the test split's digest, in the tag's name
_MOST = 10**6  # what a larger number says was not written here


def judged(client: Any, run_id: str, weights_digest: str, test_digest: str, write: bool = True) -> int:
    """Return the number of the candidate with these weights among those judged on this test split, the first being 1.

    Args:
        client: As `tracking.connect` gives it.
        run_id: The candidate's run; its experiment is searched.
        weights_digest: The candidate's.
        test_digest: `dataset.test_digest` of the test split.
        write: Tag the run, so that the candidate is counted from now on.
    """
    tag = f"judged_on.{test_digest[:_DIGITS]}"
    numbers = _numbers(client, client.get_run(run_id).info.experiment_id, tag)
    number = numbers.get(weights_digest) or max(len(numbers), *numbers.values(), 0) + 1
    if write:
        client.set_tag(run_id, tag, str(number))
    return number


def _numbers(client: Any, experiment: str, tag: str) -> dict[str, int]:
    """Return weights digest → number of each candidate."""
    from mlflow.entities import ViewType

    found: dict[str, int] = {}
    token = None
    while token is None or token:
        page = client.search_runs([experiment], f"tags.`{tag}` != ''", ViewType.ALL, max_results=1000, page_token=token)
        for run in page:
            text, weights = run.data.tags[tag], run.data.tags.get("weights_digest", run.info.run_id)
            number = int(text) if text.isdecimal() and len(text) < len(str(_MOST)) else 1
            found[weights] = min(number, found.get(weights, number))
        token = page.token or ""
    return found


def ordinal(number: int) -> str:
    """Return a number as `1st`, `2nd`, `13th`."""
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"
