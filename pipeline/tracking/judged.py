"""How many candidates were judged on a test split: the more there were, the likelier the best of them was only lucky there.

Each run that a gate judged has the tag `judged_on.DIGEST` with its candidate's number. Equal weights are one candidate, and
deleted runs count, since nobody forgets what they showed.
"""

from typing import Any

_DIGITS = 16  # of the test split's digest, in the tag's name
_MOST = 10**6  # what a larger number says was not written here


def candidate_number(client: Any, run_id: str, weights_digest: str, test_digest: str) -> int:
    """Return which candidate these weights are of those judged on the test split `test_digest`, the first being 1.

    The runs searched are those of the experiment of `run_id`, the candidate's run.
    """
    numbers = _numbers(client, client.get_run(run_id).info.experiment_id, judged_tag(test_digest))
    return numbers.get(weights_digest) or max(len(numbers), *numbers.values(), 0) + 1


def count_candidate(client: Any, run_id: str, test_digest: str, number: int) -> None:
    """Count the candidate of `run_id`, whose number is that of `candidate_number`."""
    client.set_tag(run_id, judged_tag(test_digest), str(number))


def judged_tag(test_digest: str) -> str:
    """Return the name of the tag that holds a candidate's number."""
    return f"judged_on.{test_digest[:_DIGITS]}"


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


def as_candidate(number: int) -> str:
    """Return `the 14th candidate judged on these images`."""
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"the {number}{ending} candidate judged on these images"
