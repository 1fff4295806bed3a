"""What a second derivation says of a version: bitwise, statistical or failed, and the first difference. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from pipeline.provenance import TrainingRecord

Kind = Literal["data", "code", "params", "environment", "numbers"]
KINDS: tuple[Kind, ...] = get_args(Kind)  # in the order in which one explains the next
_CODE = ("pipeline/", "params.yaml")  # what a training runs
_SET_BY_VERIFY = {"train.threads", "ingest.source"}  # to the recorded number, and to where the source lies here
_ROUNDING = 1e-6  # of a score that is computed anew from the same weights


@dataclass(frozen=True)
class Difference:
    """One thing that is not as it was recorded."""

    kind: Kind
    text: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}"


@dataclass(frozen=True)
class Score:
    """A score of the recorded evaluation, with its 95 % bootstrap interval, and of the second one."""

    name: str
    recorded: float
    low: float
    high: float
    again: float

    @property
    def agrees(self) -> bool:
        """Whether another evaluation of an equally good model could have given it."""
        return self.low - _ROUNDING <= self.again <= self.high + _ROUNDING


@dataclass(frozen=True)
class Verdict:
    """The outcome of a verification."""

    outcome: Literal["bitwise", "statistical", "failed"]
    detail: str
    differences: Sequence[Difference]  # in the order of KINDS
    scores: Sequence[Score] = ()


def contradictions(record: TrainingRecord, tags: Mapping[str, str], logged: Mapping[str, str]) -> list[Difference]:
    """Where a registry entry says two things of itself.

    Args:
        record: provenance/training.json of the version's run.
        tags: Of the version.
        logged: Params of the run; MLflow never changes them.
    """
    from pipeline.tracking import logged_params

    said: Sequence[tuple[Kind, str, str | None]] = (
        ("data", "dataset_digest", record.dataset_digest),
        ("code", "git_commit", record.git.commit),
        ("numbers", "weights_digest", record.weights_digest),
    )
    found = [
        Difference(kind, f"{tag} is {tags[tag][:12]} by the version's tag, {str(value)[:12]} by provenance/training.json")
        for kind, tag, value in said
        if tag in tags and tags[tag] != value
    ]
    recorded = logged_params(record)
    for name in sorted(recorded.keys() & logged.keys()):
        if recorded[name] != logged[name]:
            text = f"{name} is {logged[name]} by the run's params, {recorded[name]} by provenance/training.json"
            found.append(Difference("params", text))
    return ordered(found)


def judge(recorded: TrainingRecord, again: TrainingRecord, scores: Sequence[Score]) -> Verdict:
    """Compares two derivations of one version.

    Args:
        recorded: What the registry says.
        again: What was derived from it.
        scores: Of both.
    """
    params = list(_params(recorded, again))
    numbers = list(_numbers(recorded, again, scores))
    explaining = [*_code(recorded), *_environment(recorded, again)]
    differences = ordered([*params, *numbers, *explaining])
    if params or any(not score.agrees for score in scores):
        return failed(differences, scores)
    if recorded.weights_digest == again.weights_digest:
        return Verdict("bitwise", f"weights {again.weights_digest[:12]} again, bit for bit", differences, scores)
    return Verdict("statistical", f"every score within its recorded interval; {differences[0]}", differences, scores)


def failed(differences: Sequence[Difference], scores: Sequence[Score] = ()) -> Verdict:
    """The verdict where something is not as recorded; it names the first difference, and what it did to the numbers."""
    first = differences[0]
    effect = [each for each in differences if each.kind == "numbers" and first.kind == "environment"]
    return Verdict("failed", "; ".join(map(str, [first, *effect[:1]])), differences, scores)


def ordered(differences: Sequence[Difference]) -> list[Difference]:
    """`differences` in the order of KINDS."""
    return sorted(differences, key=lambda each: KINDS.index(each.kind))


def _params(recorded: TrainingRecord, again: TrainingRecord) -> Iterator[Difference]:
    before, now = (
        {f"{part}.{key}": value for part, keys in each.params.items() for key, value in keys.items()}
        for each in (recorded, again)
    )
    for name in sorted((before.keys() | now.keys()) - _SET_BY_VERIFY):
        if before.get(name) != now.get(name):
            yield Difference(
                "params", f"{name} is {now.get(name)} in provenance/params.yaml, {before.get(name)} in provenance/training.json"
            )


def _code(recorded: TrainingRecord) -> Iterator[Difference]:
    for path in recorded.git.untracked:
        if path.startswith(_CODE):
            yield Difference("code", f"{path} was not in git when it was trained, so it was not recorded")


def _environment(recorded: TrainingRecord, again: TrainingRecord) -> Iterator[Difference]:
    before, now = ({**each.environment, "threads": str(each.threads)} for each in (recorded, again))
    for name in [*before, *(now.keys() - before.keys())]:
        if before.get(name) != now.get(name):
            yield Difference("environment", f"{name} was {before.get(name, 'not recorded')}, is {now.get(name, 'not there')}")


def _numbers(recorded: TrainingRecord, again: TrainingRecord, scores: Sequence[Score]) -> Iterator[Difference]:
    for score in scores:
        if not score.agrees:
            yield Difference("numbers", f"{score.name} is {score.again:.4f}, outside {score.low:.4f} – {score.high:.4f}")
    if recorded.weights_digest != again.weights_digest:
        yield Difference("numbers", f"the weights are {again.weights_digest[:12]}, not {recorded.weights_digest[:12]}")
