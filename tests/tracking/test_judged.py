"""The count of the candidates judged on one test split."""

from typing import Any

from pipeline import tracking
from pipeline.tracking import judged
from pipeline.workspace import Workspace

HERE, ELSEWHERE = "aa" * 32, "bb" * 32


def test_candidates_are_counted_once_each_and_deleted_ones_too(client: Any, workspace: Workspace) -> None:
    experiment = tracking.experiment_id(client, workspace, "toys")
    runs = [str(client.create_run(experiment, tags={"weights_digest": weights}).info.run_id) for weights in "abab"]

    def count(place: int, digest: str = HERE, **options: Any) -> int:
        return judged.judged(client, runs[place], "abab"[place], digest, **options)

    assert [count(0), count(1)] == [1, 2]
    assert [count(2), count(3), count(0)] == [1, 2, 1]  # equal weights, from another run
    client.delete_run(runs[1])
    client.delete_run(runs[3])
    third = str(client.create_run(experiment, tags={"weights_digest": "c"}).info.run_id)
    assert judged.judged(client, third, "c", HERE, write=False) == 3
    assert judged.judged(client, third, "c", ELSEWHERE) == 1
    assert judged.judged(client, third, "c", HERE) == 3


def test_a_number_that_somebody_wrote_is_not_believed_beyond_reason(client: Any, workspace: Workspace) -> None:
    experiment = tracking.experiment_id(client, workspace, "toys")
    for number in ("-5", "9" * 400, "many"):
        client.create_run(experiment, tags={"weights_digest": number[:9], f"judged_on.{HERE[:16]}": number})
    run = str(client.create_run(experiment, tags={"weights_digest": "a"}).info.run_id)
    assert judged.judged(client, run, "a", HERE) == 4


def test_ordinals() -> None:
    assert [judged.ordinal(number) for number in (1, 2, 3, 4, 11, 12, 13, 21, 112)] == [
        "1st",
        "2nd",
        "3rd",
        "4th",
        "11th",
        "12th",
        "13th",
        "21st",
        "112th",
    ]
