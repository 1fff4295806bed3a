"""The one judge of all faults: what was lost, what is there twice, what differs from the undisturbed run."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.faults.facts import Facts


@dataclass(frozen=True)
class Verdict:
    """What became of a checkout and its store."""

    lost: tuple[str, ...] = ()
    doubled: tuple[str, ...] = ()
    differing: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return not (self.lost or self.doubled or self.differing)


def judge(found: Facts, expected: Facts) -> Verdict:
    """Compare; ids, times and file names that hold them are free."""
    return Verdict(tuple(_lost(found, expected)), tuple(_doubled(found, expected)), tuple(_differing(found, expected)))


def _lost(found: Facts, expected: Facts) -> Iterator[str]:
    for wanted in expected["runs"]:
        runs = [run for run in found["runs"] if run["weights"] == wanted["weights"]]
        if not runs:
            yield f"the run of the training {wanted['weights'][:8]}"
        for run in runs:
            yield from _lost_of(run, wanted)
            if run["id"] not in found["models"]:
                yield "the logged model"
    for wanted in expected["versions"]:
        same = [each for each in found["versions"] if each["number"] == wanted["number"]]
        if not same:
            yield f"version {wanted['number']}"
        for each in same:
            for name in ("weights", "aliases", "stage", "described"):
                if each[name] != wanted[name]:
                    yield f"{name} of version {wanted['number']}: {each[name]} instead of {wanted[name]}"
            yield from _absent("tags of the version", each["tags"], wanted["tags"])
            if each["run"] not in [run["id"] for run in found["runs"]]:
                yield f"the run of version {wanted['number']}"
    if len(_moves(found)) < len(_moves(expected)):
        yield f"{len(_moves(expected)) - len(_moves(found))} of {len(_moves(expected))} records"
    yield from _absent("outputs", found["outputs"], expected["outputs"])


def _lost_of(run: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterator[str]:
    if run["status"] != "FINISHED":
        yield f"the end of the run: it is {run['status']}"
    yield from _absent("params", run["params"], wanted["params"])
    yield from _absent("inputs", run["inputs"], wanted["inputs"])
    yield from _absent("metrics", _points(run), _points(wanted))
    yield from _absent("tags", run["tags"], wanted["tags"])
    yield from _absent("artifacts", _names(run), _names(wanted))


def _doubled(found: Facts, expected: Facts) -> Iterator[str]:
    trainings = Counter(run["training"] for run in found["runs"])
    yield from (f"{count} runs of one training" for count in trainings.values() if count > 1)
    known = {run["weights"] for run in expected["runs"]}
    yield from (f"a run that is {run['status']}, of no result" for run in found["runs"] if run["weights"] not in known)
    for run in found["runs"]:
        yield from (f"{count} points of {name}" for (name, _), count in Counter(_points(run)).items() if count > 1)
        images = sum(name.startswith("images/") for name in run["artifacts"])
        if images > 2 * max(1, len(expected["versions"])):
            yield f"{images} copies of the preview"
    models: Counter[str] = Counter(found.get("models", ()))
    yield from (f"{count} logged models of one run" for count in models.values() if count > 1)
    if found["pending"]:
        yield f"{len(found['pending'])} logged models that are not READY"
    weights = Counter(each["weights"] for each in found["versions"])
    yield from (f"{count} versions of one model" for count in weights.values() if count > 1)
    if len(_moves(found)) > len(_moves(expected)):
        yield f"{len(_moves(found))} records of {len(_moves(expected))} promotions"
    yield from (f"left over: {path}" for path in found["unfinished"])


def _differing(found: Facts, expected: Facts) -> Iterator[str]:
    for name, digest in found["outputs"].items():
        if digest != expected["outputs"].get(name):
            yield f"{name} differs"
    if len(_moves(found)) == len(_moves(expected)) and _moves(found) != _moves(expected):
        yield f"records {_moves(found)} instead of {_moves(expected)}"
    for run in found["runs"]:
        for wanted in (each for each in expected["runs"] if each["weights"] == run["weights"]):
            values = [name for name, value in wanted["params"].items() if run["params"].get(name, value) != value]
            yield from (f"param {name} differs" for name in values)


def _moves(facts: Facts) -> Sequence[Sequence[str]]:
    """The moves that took place, oldest first; refusals are recorded, too."""
    done = [record for record in facts["records"] if record[4] == "FINISHED" and record[1] != "refusal"]
    return [record[1:4] for record in sorted(done, key=lambda record: int(record[0]))]


def _points(run: Mapping[str, Any]) -> Sequence[tuple[str, int]]:
    return [(name, step) for name, points in run["points"].items() for step, *_ in points]


def _names(run: Mapping[str, Any]) -> Sequence[str]:
    """The paths of a run's files, without the time and the random id of images."""
    return sorted({re.sub(r"\+timestamp\+\d+\+[0-9a-f-]+", "", name) for name in run["artifacts"]})


def _absent(what: str, found: Any, wanted: Any) -> Iterator[str]:
    missing = [str(each) for each in wanted if each not in found]
    if missing:
        yield f"{len(missing)} of {len(wanted)} {what}: {', '.join(missing[:3])}"
