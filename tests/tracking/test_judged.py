"""The count of the candidates judged on one test split."""

from typing import Any

import pytest

from pipeline import tracking
from pipeline.tracking import judged
from pipeline.workspace import Workspace

HERE, ELSEWHERE = "aa" * 32, "bb" * 32


def test_candidates_are_counted_once_each_and_deleted_ones_too(client: Any, workspace: Workspace) -> None:
    experiment = tracking.experiment_id(client, workspace, "toys")
    runs = [str(client.create_run(experiment, tags={"weights_digest": weights}).info.run_id) for weights in "abab"]

    def count(run: str, weights: str, digest: str = HERE) -> int:
        number = judged.candidate_number(client, run, weights, digest)
        judged.count_candidate(client, run, digest, number)
        return number

    assert [count(run, weights) for run, weights in zip(runs, "abab", strict=True)] == [1, 2, 1, 2]
    client.delete_run(runs[1])
    client.delete_run(runs[3])
    third = str(client.create_run(experiment, tags={"weights_digest": "c"}).info.run_id)
    assert judged.candidate_number(client, third, "c", HERE) == 3
    assert count(third, "c", ELSEWHERE) == 1
    assert count(third, "c") == 3


def test_a_number_that_somebody_wrote_is_not_believed_beyond_reason(client: Any, workspace: Workspace) -> None:
    experiment = tracking.experiment_id(client, workspace, "toys")
    for number in ("-5", "9" * 400, "many"):
        client.create_run(experiment, tags={"weights_digest": number[:9], f"judged_on.{HERE[:16]}": number})
    run = str(client.create_run(experiment, tags={"weights_digest": "a"}).info.run_id)
    assert judged.candidate_number(client, run, "a", HERE) == 4


@pytest.mark.parametrize(
    ("number", "words"),
    [(1, "1st"), (2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th"), (13, "13th"), (21, "21st"), (112, "112th")],
)
def test_a_candidate_is_named_by_its_ordinal(number: int, words: str) -> None:
    assert judged.as_candidate(number) == f"the {words} candidate judged on these images"
