"""The gate of a promotion: the version predicts the test split in a fresh process, is judged, and compared with production.

Nothing is judged by what lies on a run: scores, slices and stored predictions there can be edited. Where they contradict the
model, a warning says so.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import tracking
from pipeline.compare import command, comparison, models
from pipeline.compare.models import Evaluated
from pipeline.errors import EvaluationError, PipelineError, RefusedError, RegistryError
from pipeline.predictions import Predictions
from pipeline.project import Project
from pipeline.promotion import opponents, rules
from pipeline.promotion.opponents import Opponents
from pipeline.promotion.record import Entry, Row
from pipeline.promotion.rules import LOADS, OVERALL, Performance
from pipeline.provenance import TrainingRecord
from pipeline.register import evidence
from pipeline.register.evidence import HeldOut
from pipeline.register.fresh import FreshProcess, Loaded, Meanwhile
from pipeline.tracking import Source, entry


@dataclass(frozen=True)
class Judgement:
    """The rows of the gate, what they were computed from, and the page with the comparison."""

    rows: Sequence[Row]
    weights_digest: str  # of the version
    test_digest: str  # of the images it was judged on
    accuracy: float | None = None  # on them; None where it does not load
    candidate: int | None = None  # which one it is of those judged on them
    page: Path | None = None  # None where there was nothing to compare with

    @property
    def failed(self) -> list[Row]:
        """The rules that failed."""
        return [row for row in self.rows if row.verdict == "failed"]

    def refuses(self, force: bool) -> bool:
        """Return whether the gate stays shut; `force` overrides every rule but one."""
        return any(not force or row.rule == LOADS for row in self.failed)


@dataclass(frozen=True)
class _Predicted:
    """A version and what it has just predicted for the test split."""

    source: Source
    record: TrainingRecord
    loaded: Loaded
    trained_on: NDArray[np.uint64] | None  # digests of its training images; None where they are not known

    def performance(self, test: HeldOut, rows: NDArray[np.bool_] | None = None) -> Performance:
        """Return its performance on all test images, or on `rows`."""
        found = test.measure(self.loaded.probabilities, self.trained_on, rows)
        return Performance(name=self.source.name, **vars(found))

    def evaluated(self, test: HeldOut, project: Project) -> Evaluated:
        """Return it as the comparison takes it."""
        known = np.asarray(test.data.test.source_index), np.asarray(test.data.test.labels)
        found = Predictions(source_index=known[0], labels=known[1], probabilities=self.loaded.probabilities)
        digest = test.data.description.digest
        return models.evaluated(found, self.source, self.record, digest, project.params.evaluate)


def judge(
    client: Any,
    fresh: FreshProcess,
    source: Source,
    target: str,
    production: str | None,
    entries: Sequence[Entry],
    project: Project,
) -> Judgement:
    """Judge the version `source` by the gate of the registry stage `target`.

    Args:
        client: As `tracking.connect` gives it.
        fresh: The process that loads the models.
        source: The version that is to move.
        target: `staging` or `production`.
        production: The version in production now, if any.
        entries: The records of the model, oldest first.
        project: Its data/dataset holds the test images, its params.yaml the limits.

    Raises:
        PipelineError: the version cannot be judged on the data here.
    """
    params = project.params
    test = evidence.read_test(project.workspace, params.evaluate)
    record = _record(client, source, test)
    try:
        new = _predict(client, fresh, source, record, project, test.prepare)
    except RegistryError as error:
        return Judgement([Row(rule=LOADS, verdict="failed", detail=str(error))], record.weights_digest, test.digest)
    _warn_if_stored_differs(client, new, test)
    performance = new.performance(test)
    images = f"in a fresh process, {len(performance.labels):,} test images; digests match"
    number = tracking.candidate_number(client, source.run_id, record.weights_digest, test.digest)
    rows = [Row(rule=LOADS, verdict="passed", detail=images), *rules.limits(params.register, performance), rules.tried(number)]
    page = None
    if target == "production":
        chosen = opponents.choose(client, source, production, entries, test.digest)
        against, page = _against(client, fresh, new, chosen, test, project)
        best = _against_best(client, fresh, new, chosen, test, project)
        rows += [against[0], best, *against[1:], *rules.costs(params.promote, new.loaded)]
    return Judgement(rows, record.weights_digest, test.digest, performance.accuracy, number, page)


def load(client: Any, fresh: FreshProcess, source: Source, record: TrainingRecord, images: Path) -> Row:
    """Return the first row of each gate: the registry's own files load, and predict probabilities, in a fresh process."""
    try:
        _load(client, fresh, source, record, images)
    except RegistryError as error:
        return Row(rule=LOADS, verdict="failed", detail=str(error))
    return Row(rule=LOADS, verdict="passed", detail="in a fresh process; digests match")


def _record(client: Any, source: Source, test: HeldOut) -> TrainingRecord:
    record = tracking.training_record(client, source)
    if record.model_name != source.model_name:  # versions can be copied between registered models in the UI
        trained_on = f"{source.name} of {source.model_name} was trained on {record.dataset_name}"
        raise RefusedError(f"{trained_on}: it belongs to {record.model_name}")
    models.check_task(source, record, test.data)
    return record


def _load(
    client: Any, fresh: FreshProcess, source: Source, record: TrainingRecord, images: Path, meanwhile: Meanwhile = None
) -> tuple[Loaded, NDArray[np.uint64] | None]:
    """Return what the version predicts for `images`, an .npy file, and the digests of its training images."""
    with tracking.model_folder(client, source) as folder:
        loaded = fresh.predict(folder, source.name, record.weights_digest, images, len(record.class_names), meanwhile)
        return loaded, entry.training_images(folder, source.name)


def _predict(
    client: Any,
    fresh: FreshProcess,
    source: Source,
    record: TrainingRecord,
    project: Project,
    meanwhile: Meanwhile = None,
) -> _Predicted:
    images = project.workspace.dataset / "test/images.npy"
    return _Predicted(source, record, *_load(client, fresh, source, record, images, meanwhile))


def _warn_if_stored_differs(client: Any, new: _Predicted, test: HeldOut) -> None:
    """Print a line if its evaluation on the run, of the same data, is not what the model predicts."""
    if new.record.dataset_digest != test.data.description.digest:
        return
    try:
        stored = models.stored(client, new.source, new.record).probabilities
        predicted = new.loaded.probabilities
        differs = len(stored) != len(predicted) or int((stored.argmax(axis=1) != predicted.argmax(axis=1)).sum())
        problem = f"{models.STORED} of {new.source.name} is not what the model predicts" if differs else ""
    except PipelineError as error:
        problem = str(error)
    if problem:
        tracking.warn(f"{problem}; it is judged by what the model predicts")


def _against(
    client: Any, fresh: FreshProcess, new: _Predicted, chosen: Opponents, test: HeldOut, project: Project
) -> tuple[list[Row], Path | None]:
    """Return the comparison with the version in production, on the images that neither was trained on, and its page."""
    params = project.params.promote
    if chosen.production is None:
        return rules.against(params, new.performance(test), None, None, chosen.why_not), None
    try:
        old, rows = _opponent(client, fresh, new, chosen.production, test, project)
    except PipelineError as error:
        return [Row(rule=OVERALL, verdict="failed", detail=f"cannot be compared: {error}")], None
    pair = models.paired(old.evaluated(test, project), new.evaluated(test, project), test.data, project).on(rows)
    found = comparison.compare(pair, comparison.data_drift(client, pair.a.source, pair.b.source))
    both = new.performance(test, rows), old.performance(test, rows)
    low = next(change.interval.low for change in found.changes if change.metric.key == "calibration_error")
    first, *others = rules.against(params, *both, found.data, calibration_low=low)
    note = pair.scored_again
    if old.trained_on is None:
        note = f"it is not known on which of the images {old.source.name} was trained"
    first = replace(first, detail=f"{first.detail}; {note}") if note else first
    return [first, *others], command.write(found, project)


def _against_best(client: Any, fresh: FreshProcess, new: _Predicted, chosen: Opponents, test: HeldOut, project: Project) -> Row:
    """Return the comparison with the best version that was in production and still predicts."""
    params, notes = project.params.promote, [chosen.note] if chosen.note else []
    for source in chosen.best:
        try:
            old, rows = _opponent(client, fresh, new, source, test, project)
        except PipelineError as error:
            notes.append(f"{source.name} cannot be compared: {error}")
            continue
        both = new.performance(test, rows), old.performance(test, rows)
        return rules.against_best(params, *both, chosen.among, "; ".join(notes))
    return rules.against_best(params, new.performance(test), None, chosen.among, "; ".join(notes))


def _opponent(
    client: Any, fresh: FreshProcess, new: _Predicted, source: Source, test: HeldOut, project: Project
) -> tuple[_Predicted, NDArray[np.bool_]]:
    """Return the version `source` with its predictions, and the test images that neither model was trained on, `(n,)`.

    Raises:
        PipelineError: it cannot be read, does not predict for these data, or there are no such images.
    """
    old = _predict(client, fresh, source, _record(client, source, test), project)
    rows = test.unseen(new.trained_on) & test.unseen(old.trained_on)
    if not rows.any():
        raise EvaluationError(f"{source.name} or {new.source.name} was trained on every one of the test images")
    return old, rows
