"""Compare the recorded and the rebuilt training: bitwise, statistical or failed, and the first difference. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pipeline.provenance import TrainingRecord
from pipeline.tracking import logged_params

Kind = Literal["data", "code", "params", "environment", "results"]  # causes before effects
_CODE = ("pipeline/", "params.yaml")  # what a training runs
_SET_BY_VERIFY = {"ingest.source", "train.threads", "train.warm_start", "threads_used"}  # see rebuild.write_params
_ROUNDING = 1e-6  # of a score that is computed a second time from the same weights


@dataclass(frozen=True)
class Difference:
    """Something that is not as recorded."""

    kind: Kind
    text: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}"


@dataclass(frozen=True)
class Score:
    """A recorded test score with its 95% bootstrap interval, and the rebuilt model's."""

    name: str
    recorded: float
    low: float
    high: float
    rebuilt: float

    @property
    def agrees(self) -> bool:
        """Whether the rebuilt score lies within the recorded interval."""
        return self.low - _ROUNDING <= self.rebuilt <= self.high + _ROUNDING


@dataclass(frozen=True)
class Verdict:
    """The outcome of a verification."""

    outcome: Literal["bitwise", "statistical", "failed"]
    detail: str
    differences: Sequence[Difference]  # in the order of `Kind`
    scores: Sequence[Score] = ()


def contradictions(record: TrainingRecord, tags: Mapping[str, str], logged: Mapping[str, str]) -> list[Difference]:
    """Return where provenance/training.json contradicts the version's tags or the run's params, which MLflow never changes."""
    entries: list[tuple[Kind, str, str | None, str | None]] = [
        ("data", "dataset_digest", tags.get("dataset_digest"), record.dataset_digest),
        ("code", "git_commit", tags.get("git_commit"), record.git.commit),
        *(("params", name, logged.get(name), value) for name, value in sorted(logged_params(record).items())),
        ("results", "weights_digest", tags.get("weights_digest"), record.weights_digest),
    ]
    return [
        Difference(kind, f"{name} is {in_mlflow} in MLflow, {recorded} in provenance/training.json")
        for kind, name, in_mlflow, recorded in entries
        if in_mlflow not in (None, recorded)
    ]


def judge(recorded: TrainingRecord, rebuilt: TrainingRecord, scores: Sequence[Score]) -> Verdict:
    """Return the verdict on a rebuilt training."""
    params = list(_params(recorded, rebuilt))
    results = list(_results(recorded, rebuilt, scores))
    differences = [*_code(recorded), *params, *_environment(recorded, rebuilt), *results]
    if params or any(not score.agrees for score in scores):
        return failed(differences, scores)
    if recorded.weights_digest == rebuilt.weights_digest:
        return Verdict("bitwise", f"the weights are equal, bit for bit ({rebuilt.weights_digest[:12]})", differences, scores)
    return Verdict("statistical", f"every score is within its recorded interval; {differences[0]}", differences, scores)


def failed(differences: Sequence[Difference], scores: Sequence[Score] = ()) -> Verdict:
    """Return a failure that names the first difference; for one in the environment, also its effect on the results."""
    first, *others = differences
    effects = [each for each in others if each.kind == "results"][:1] if first.kind == "environment" else []
    return Verdict("failed", "; ".join(map(str, [first, *effects])), differences, scores)


def _params(recorded: TrainingRecord, rebuilt: TrainingRecord) -> Iterator[Difference]:
    before, now = logged_params(recorded), logged_params(rebuilt)
    for name in sorted((before.keys() | now.keys()) - _SET_BY_VERIFY):
        if before.get(name) != now.get(name):
            text = f"{name} is {now.get(name)} in provenance/params.yaml, {before.get(name)} in provenance/training.json"
            yield Difference("params", text)


def _code(recorded: TrainingRecord) -> Iterator[Difference]:
    for path in recorded.git.untracked:
        if path.startswith(_CODE):
            yield Difference("code", f"{path} was not in git at training time, so it was not recorded")


def _environment(recorded: TrainingRecord, rebuilt: TrainingRecord) -> Iterator[Difference]:
    before, now = ({**each.environment, "threads": str(each.threads)} for each in (recorded, rebuilt))
    for name in [*before, *(now.keys() - before.keys())]:
        if before.get(name) != now.get(name):
            yield Difference("environment", f"{name} was {before.get(name, 'not recorded')}, is {now.get(name, 'missing')}")


def _results(recorded: TrainingRecord, rebuilt: TrainingRecord, scores: Sequence[Score]) -> Iterator[Difference]:
    for score in scores:
        if not score.agrees:
            yield Difference("results", f"{score.name} is {score.rebuilt:.4f}, outside {score.low:.4f} – {score.high:.4f}")
    if recorded.weights_digest != rebuilt.weights_digest:
        yield Difference("results", f"the weights are {rebuilt.weights_digest[:12]}, not {recorded.weights_digest[:12]}")
