"""Compare the recorded and the rebuilt training: bitwise, statistical or failed, and the first difference."""

import json
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.page import printable
from pipeline.predictions import Predictions
from pipeline.provenance import TrainingRecord
from pipeline.scores import significance
from pipeline.tracking import logged_params, manifest

Kind = Literal["data", "code", "params", "limits", "environment", "files", "results"]  # causes before effects
SIGNIFICANCE = 0.001  # of "another model"; see docs/verification.md for how often honest trainings reach it
_CODE = ("pipeline/", "params.yaml")  # what a training runs
_SET_BY_VERIFY = {"ingest.source", "train.threads", "train.warm_start", "threads_used"}  # see rebuild.write_params
_LIMITS = ("validate.", "evaluate.", "register.", "promote.")  # params that stop a model or judge it, and cannot shape it
_TOLERANCE, _OTHER_HARDWARE = 1e-3, 1e-2  # of a probability that equal weights give: in one process, on other hardware
_EQUAL_SHARE = 0.999  # of the recorded predictions, for the same reason
_OF_A_RUN = ("model_id", "model_uuid", "run_id", "utc_time_created", "model_size_bytes", "artifact_path")  # in an MLmodel
_TOOLS = ("pip", "setuptools", "wheel")  # not recorded, and they shape no model
_PIN = re.compile(r"\b(python|mlflow|tensorflow|keras|numpy|pip|setuptools|wheel)(==|<=|=|: )'?([\w.+]+)'?")
Libraries = Mapping[str, str]  # name → version


@dataclass(frozen=True)
class Difference:
    """Something that is not as recorded."""

    kind: Kind
    text: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}"


@dataclass(frozen=True)
class Score:
    """A recorded test score with its 95% interval, and the rebuilt model's: for people, nothing is judged by it."""

    name: str
    recorded: float
    low: float
    high: float
    rebuilt: float


@dataclass(frozen=True)
class Agreement:
    """How the predictions of the rebuilt model agree with the recorded model's, image by image."""

    images: int
    equal: int  # images of which both predict the same class
    lost: int  # images that only the recorded model predicts correctly
    won: int  # images that only the rebuilt model does
    identical: bool  # whether all probabilities are equal, but for rounding
    misreported: int  # images of which the run's predictions.parquet says other probabilities than the recorded model gives

    @property
    def p(self) -> float:
        """P of McNemar's two-sided test."""
        return significance.different(self.lost, self.won)

    def __str__(self) -> str:
        return (
            f"{self.equal:,} of {self.images:,} predictions are equal; {self.lost:,} images only the recorded model predicts "
            f"correctly, {self.won:,} only the rebuilt one (McNemar's p {significance.p_text(self.p)})"
        )


@dataclass(frozen=True)
class Verdict:
    """The outcome of a verification."""

    outcome: Literal["bitwise", "statistical", "failed"]
    detail: str
    differences: Sequence[Difference]  # in the order of `Kind`
    agreement: Agreement | None = None
    scores: Sequence[Score] = ()


def contradictions(record: TrainingRecord, tags: Mapping[str, str], logged: Mapping[str, str]) -> list[Difference]:
    """Return where provenance/training.json contradicts the version's tags or the run's params, which MLflow never changes."""
    entries: list[tuple[Kind, str, str | None, str | None]] = [
        ("data", "dataset_digest", tags.get("dataset_digest"), record.dataset_digest),
        ("code", "git_commit", tags.get("git_commit"), record.git.commit or "unknown"),  # as register writes it
        *(("params", name, logged.get(name), value) for name, value in sorted(logged_params(record).items())),
        ("results", "weights_digest", tags.get("weights_digest"), record.weights_digest),
    ]
    found = [
        Difference(
            _kind(kind, name), f"{name} is {_short(in_mlflow)} in MLflow, {_short(recorded)} in provenance/training.json"
        )
        for kind, name, in_mlflow, recorded in entries
        if in_mlflow not in (None, recorded)
    ]
    return sorted(found, key=lambda each: each.kind == "limits")


def _kind(kind: Kind, name: str) -> Kind:
    return "limits" if kind == "params" and name.startswith(_LIMITS) else kind


def _short(value: object) -> str:
    return printable(str(value))[:100]


def agreement(
    labels: NDArray[np.int32], registered: NDArray[np.float32], rebuilt: NDArray[np.float32], reported: Predictions
) -> Agreement:
    """Return how the probabilities of the two models, each `(n, classes)`, agree, and the run's file with the first."""
    before, now = registered.argmax(axis=1), rebuilt.argmax(axis=1)
    lost, won = significance.lost_and_won(before == labels, now == labels)
    if reported.probabilities.shape != registered.shape or not np.array_equal(reported.labels, labels):
        misreported = len(labels)
    else:
        misreported = int(np.sum(np.abs(reported.probabilities - registered).max(axis=1) > _OTHER_HARDWARE))
    identical = bool(np.abs(rebuilt - registered).max() <= _TOLERANCE)
    return Agreement(len(labels), int(np.sum(before == now)), lost, won, identical, misreported)


def judge(
    recorded: TrainingRecord, rebuilt: TrainingRecord, files: Sequence[str], found: Agreement, scores: Sequence[Score] = ()
) -> Verdict:
    """Return the verdict on a rebuilt training; `files` of its entry are not as recorded (see `differing_files`)."""
    params_ = sorted(_params(recorded, rebuilt), key=lambda each: each.kind == "limits")
    environment, results = list(_environment(recorded, rebuilt)), list(_results(recorded, rebuilt, found))
    altered = [Difference("files", f"{path} is not as registered") for path in files]
    differences = [*_code(recorded), *params_, *environment, *altered, *results]
    other_libraries = any(not each.text.startswith(("platform", "processor", "cores", "threads")) for each in environment)
    same_weights = recorded.weights_digest == rebuilt.weights_digest
    if (
        any(each.kind == "params" for each in params_)
        or (altered and not other_libraries)  # another MLflow or Keras writes other files
        or found.p < SIGNIFICANCE
        or found.misreported > (1 - _EQUAL_SHARE) * found.images
        or (same_weights and not found.identical)
    ):
        return failed(differences, found, scores)
    if same_weights and not altered:
        detail = f"its weights ({rebuilt.weights_digest[:12]}), files and predictions for {found.images:,} images are equal"
        return Verdict("bitwise", detail, differences, found, scores)
    causes = [each for each in differences if each.kind != "limits"]
    return Verdict("statistical", f"{found}; {causes[0]}", differences, found, scores)


def failed(differences: Sequence[Difference], found: Agreement | None = None, scores: Sequence[Score] = ()) -> Verdict:
    """Return a failure that names the first difference; for one that only explains, also its effect."""
    serious = [each for each in differences if each.kind != "limits"]
    first, *others = serious
    effects = [each for each in others if each.kind in ("files", "results")][:1] if first.kind == "environment" else []
    return Verdict("failed", "; ".join(map(str, [first, *effects])), differences, found, scores)


def _params(recorded: TrainingRecord, rebuilt: TrainingRecord) -> Iterator[Difference]:
    before, now = logged_params(recorded), logged_params(rebuilt)
    for name in sorted((before.keys() | now.keys()) - _SET_BY_VERIFY):
        if before.get(name) != now.get(name):
            values = (
                f"{_short(now.get(name))} in provenance/params.yaml, {_short(before.get(name))} in provenance/training.json"
            )
            yield Difference(_kind("params", name), f"{name} is {values}")


def _code(recorded: TrainingRecord) -> Iterator[Difference]:
    if recorded.git.withheld:
        yield Difference("code", "there were uncommitted changes that were not recorded (train.record_diff: false)")
    for path in recorded.git.untracked:
        if path.startswith(_CODE):
            yield Difference("code", f"{_short(path)} was not in git at training time, so it was not recorded")


def _environment(recorded: TrainingRecord, rebuilt: TrainingRecord) -> Iterator[Difference]:
    before, now = ({**each.environment, "threads": str(each.threads)} for each in (recorded, rebuilt))
    for name in [*before, *(now.keys() - before.keys())]:
        if before.get(name) != now.get(name):
            was, is_ = _short(before.get(name, "not recorded")), _short(now.get(name, "missing"))
            yield Difference("environment", f"{_short(name)} was {was}, is {is_}")


def _results(recorded: TrainingRecord, rebuilt: TrainingRecord, found: Agreement) -> Iterator[Difference]:
    if found.misreported > (1 - _EQUAL_SHARE) * found.images:
        text = f"evaluation/predictions.parquet on the run differs from what the version predicts for {found.misreported:,}"
        yield Difference("results", f"{text} of {found.images:,} images: it was altered")
    if found.p < SIGNIFICANCE or (recorded.weights_digest == rebuilt.weights_digest and not found.identical):
        yield Difference("results", str(found))
    if recorded.weights_digest != rebuilt.weights_digest:
        yield Difference("results", f"the weights are {rebuilt.weights_digest[:12]}, not {recorded.weights_digest[:12]}")


def differing_files(registered: Path, rebuilt: Path, before: Libraries, now: Libraries) -> list[str]:
    """Return the files of a version's entry that the rebuilt model's entry lacks or has otherwise, by name.

    What must differ is not compared: ids, times and sizes, the version of a library where it is that of the environment
    recorded with the entry, and weights, which are known by their digest.
    """
    old, new = (dict(json.loads(manifest.of(folder))) for folder in (registered, rebuilt))
    return [
        path
        for path in sorted(old.keys() | new.keys())
        if old.get(path) != new.get(path)
        and (path not in old or path not in new or _content(registered / path, before) != _content(rebuilt / path, now))
    ]


def _content(path: Path, libraries: Libraries) -> Any:
    """Return what of a file must be equal in two entries of one model."""
    if path.suffix == ".keras":
        with zipfile.ZipFile(path) as archive:
            sizes = {item.filename: item.file_size for item in archive.infolist()}
            texts = {name: archive.read(name).decode(errors="replace") for name in sizes if name.endswith(".json")}
        metadata = json.loads(texts.pop("metadata.json", "{}"))
        config = [re.sub(r'"shared_object_id": \d+', "", text) for text in texts.values()]  # memory addresses
        return sorted(sizes), config, _versions(f"keras=={metadata.get('keras_version')}", libraries)
    text = path.read_bytes().decode(errors="replace")
    if path.name == "MLmodel":
        lines = [line for line in text.splitlines() if line.partition(":")[0] not in _OF_A_RUN]
        text = re.sub(r"(\w+)_version: ", r"\1: ", "\n".join(lines))
    return _versions(text, libraries)


def _versions(text: str, libraries: Libraries) -> str:
    """Replace each version that `libraries` explain by a star."""

    def star(match: re.Match[str]) -> str:
        name, sign, version = match.groups()
        return f"{name}{sign}*" if name in _TOOLS or libraries.get(name) == version else match[0]

    return _PIN.sub(star, text)
