"""The judge of the faults sees each thing that can be lost, doubled or changed; and the table counts what it says."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from tests.faults import results
from tests.faults.injections import repeat
from tests.faults.judge import Verdict, judge
from tests.faults.table import FAULTS, Fault

RUN = {
    "id": "r1",
    "training": "t1",
    "weights": "w1",
    "status": "FINISHED",
    "params": {"train.seed": "42"},
    "inputs": ["digits-train"],
    "points": {"train/loss": [[1, 1000, 0.5], [2, 2000, 0.4]], "test/accuracy": [[0, 3000, 0.9]]},
    "tags": ["mlflow.note.content", "training_id"],
    "artifacts": {"training/history.csv": "aa", "images/pairs+step+0+timestamp+17+0a-1b.png": "bb"},
}
VERSION = {"number": "1", "weights": "w1", "run": "r1", "tags": ["stage"], "aliases": ["staging"], "stage": "staging"}
FACTS: dict[str, Any] = {
    "outputs": {"models/model.keras": "cc"},
    "unfinished": [],
    "runs": [RUN],
    "pending": [],
    "models": ["r1"],
    "versions": [{**VERSION, "described": True}],
    "records": [["1", "promote", "1", "staging", "FINISHED"]],
}


def lose_an_epoch(facts: Any) -> None:
    facts["runs"][0]["points"]["train/loss"].pop()


def log_an_epoch_twice(facts: Any) -> None:
    facts["runs"][0]["points"]["train/loss"].append([2, 2500, 0.4])


def promote_twice(facts: Any) -> None:
    facts["records"].append(["2", "promote", "1", "staging", "FINISHED"])


def run_twice(facts: Any) -> None:
    facts["runs"].append({**RUN, "id": "r2"})
    facts["models"].append("r2")


DEFECTS: list[tuple[Callable[[Any], Any], Verdict]] = [
    (lambda facts: facts["runs"][0].update(status="RUNNING"), Verdict(lost=("the end of the run: it is RUNNING",))),
    (lambda facts: facts["runs"][0].update(params={}), Verdict(lost=("1 of 1 params: train.seed",))),
    (lambda facts: facts["runs"][0].update(tags=["training_id"]), Verdict(lost=("1 of 2 tags: mlflow.note.content",))),
    (
        lambda facts: facts["runs"][0]["artifacts"].pop("training/history.csv"),
        Verdict(lost=("1 of 2 artifacts: training/history.csv",)),
    ),
    (lose_an_epoch, Verdict(lost=("1 of 3 metrics: ('train/loss', 2)",))),
    (lambda facts: facts.update(models=[]), Verdict(lost=("the logged model",))),
    (lambda facts: facts.update(versions=[]), Verdict(lost=("version 1",))),
    (lambda facts: facts["versions"][0].update(aliases=[]), Verdict(lost=("aliases of version 1: [] instead of ['staging']",))),
    (lambda facts: facts.update(records=[]), Verdict(lost=("1 of 1 records",))),
    (lambda facts: facts.update(outputs={}), Verdict(lost=("1 of 1 outputs: models/model.keras",))),
    (run_twice, Verdict(doubled=("2 runs of one training",))),
    (log_an_epoch_twice, Verdict(doubled=("2 points of train/loss",))),
    (lambda facts: facts.update(models=["r1", "r1"]), Verdict(doubled=("2 logged models of one run",))),
    (lambda facts: facts.update(pending=["m2"]), Verdict(doubled=("1 logged models that are not READY",))),
    (promote_twice, Verdict(doubled=("2 records of 1 promotions",))),
    (lambda facts: facts.update(unfinished=["models/.x.part"]), Verdict(doubled=("left over: models/.x.part",))),
    (lambda facts: facts.update(outputs={"models/model.keras": "dd"}), Verdict(differing=("models/model.keras differs",))),
    (lambda facts: facts["runs"][0].update(params={"train.seed": "43"}), Verdict(differing=("param train.seed differs",))),
]


@pytest.mark.parametrize(("harm", "expected"), DEFECTS)
def test_each_defect_is_seen_alone(harm: Callable[[Any], Any], expected: Verdict) -> None:
    found = copy.deepcopy(FACTS)
    harm(found)
    assert judge(found, FACTS) == expected
    assert not expected


def test_other_ids_times_and_undone_promotions_are_the_same() -> None:
    found = copy.deepcopy(FACTS)
    found["runs"][0] |= {"id": "r9", "training": "t9"}
    found["runs"][0]["artifacts"] = {"training/history.csv": "aa", "images/pairs+step+0+timestamp+99+ff-2c.png": "bb"}
    found["models"], found["versions"][0]["run"] = ["r9"], "r9"
    found["records"] = [["1", "promote", "1", "staging", "KILLED"], ["2", "promote", "1", "staging", "FINISHED"]]
    assert judge(found, FACTS)


def test_the_table_counts_what_was_injected_and_says_of_which_code_it_is() -> None:
    kinds = ("kill", "kill", "flip")
    faults = [Fault(kind, str(number), "", "", lambda *_: repeat(*_), "") for number, kind in enumerate(kinds)]
    found = {"survived": True, "lost": [], "doubled": [], "code": "abc", "when": "2026-11-25T18:01:02+00:00"}
    newest = {faults[0].id: found, faults[1].id: {**found, "survived": False, "lost": ["a run"], "code": "def"}}
    lines = results.table(faults, newest).splitlines()
    assert lines[2:4] == ["| kill | 2 | 1 | 1 | 0 |", "| **all** | 2 | 1 | 1 | 0 |"]
    assert lines[-1].startswith("2 of 3 faults injected, 2026-11-25 18:01 – 18:01 UTC, ")
    assert lines[-1].endswith("(1 with pipeline/ abc; 1 with pipeline/ def).")


def test_each_fault_has_a_name_of_its_own() -> None:
    assert len({fault.id for fault in FAULTS}) == len(FAULTS)
