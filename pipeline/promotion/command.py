"""promote, rollback and archive: move a version to another registry stage, and record it."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pipeline import dataset, tracking
from pipeline.errors import RefusedError, RegistryError
from pipeline.project import Project
from pipeline.promotion import gate, signatures, timeline, transitions
from pipeline.promotion.gate import Judgement
from pipeline.promotion.record import Entry, Kind, Row, Version
from pipeline.promotion.rules import LOADS
from pipeline.promotion.transitions import CurrentStages
from pipeline.promotion.writer import Writer, check_history, checked, notify, open_writer
from pipeline.provenance import TrainingRecord
from pipeline.register.fresh import FreshProcess
from pipeline.tracking import Source

Target = Literal["staging", "production"]
_STYLES = {"failed": "bold red", "nothing to compare": "yellow", "no rule": "dim"}


def promote(version: str, target: Target, reason: str, force: bool, dry_run: bool, project: Project) -> None:
    """Promote a version if it passes the gate.

    Args:
        version: A version, or the alias of one.
        target: The registry stage it is to reach.
        reason: Goes into the record.
        force: May skip a step and override the gate, but never for a model that does not load and predict.
        dry_run: Judge only: nothing moves, nothing is recorded.
        project: Names the model, holds limits and data.

    Raises:
        RefusedError: the gate or the order of the stages does not allow it.
        PipelineError: the version cannot be found or judged, another process changes the stages, or the store is lost.
    """
    with FreshProcess() as fresh, tracking.store_guard(project.workspace):
        client = tracking.connect(project.workspace)
        source = tracking.find_version(client, project.model, version)
        if dry_run:
            history = checked(client, project)
            check_history(history, project)
            stages = transitions.current_stages(client, project.model)
            if judged := _judge(client, fresh, source, target, force, stages, history.entries, project):
                if judged.refuses(force):
                    raise RefusedError(f"dry run, nothing was recorded: {_refusal(source, target, judged)}")
                print(f"dry run, nothing was changed: version {source.version} can be promoted to {target}")
            return
        with open_writer(client, project) as writer:
            writer.check_history()
            judged = _judge(client, fresh, source, target, force, writer.stages, writer.entries, project)
            entry = _promote(writer, source, target, reason, force, judged) if judged else None
    if entry:
        notify(entry, project)


def rollback(reason: str, project: Project) -> None:
    """Restore the previous production version after a check of its files and predictions; its promotion judged the rest.

    Raises:
        RefusedError: there is no version to go back to, or it does not load and predict.
        PipelineError: another process changes the stages, or the store is lost.
    """
    with FreshProcess() as fresh, tracking.store_guard(project.workspace):
        client = tracking.connect(project.workspace)
        with open_writer(client, project) as writer:
            entry = _roll_back(writer, fresh, reason)
    notify(entry, project)


def archive(version: str, reason: str, project: Project) -> None:
    """Archive a version, also the one in production.

    Raises:
        PipelineError: there is no such version, another process changes the stages, or the store is lost.
    """
    with tracking.store_guard(project.workspace):
        client = tracking.connect(project.workspace)
        source = tracking.find_version(client, project.model, version)
        with open_writer(client, project) as writer:
            stage = writer.stages.stage_of(str(source.version))
            if stage == "archived":
                print(f"version {source.version} is already archived: nothing to do")
                return
            entry = writer.move(writer.record("archive", source, "archived", reason))
    left = f"; nothing is in {stage} now" if stage in transitions.ALIASES else ""
    print(f"version {source.version} of {project.model} was archived{left} (record {entry.record.number})")
    notify(entry, project)


def _judge(
    client: Any,
    fresh: FreshProcess,
    source: Source,
    target: Target,
    force: bool,
    stages: CurrentStages,
    entries: Sequence[Entry],
    project: Project,
) -> Judgement | None:
    """Judge and show the rows; None where the version is there already."""
    version = str(source.version)
    if (stage := stages.stage_of(version)) == target:
        print(f"version {version} is already in {target}: nothing to do")
        return None
    transitions.check_allowed(version, stage, target, force)
    if unsigned := _check_signature(client, source, project):
        judged = Judgement([unsigned], "", "")
    else:
        judged = gate.judge(client, fresh, source, target, stages.aliases.get("production"), entries, project)
    print_rows(judged.rows)
    if judged.page:
        print(f"comparison: {project.workspace.shown(judged.page)}")
    return judged


def _promote(writer: Writer, source: Source, target: Target, reason: str, force: bool, judged: Judgement) -> Entry:
    version = str(source.version)
    skips = (writer.stages.stage_of(version), target) in transitions.SKIPS
    kind: Kind = "force" if force and (skips or judged.failed) else "promote"
    evidence = ""
    if judged.page:
        writer.client.log_artifact(source.run_id, str(judged.page), "promotion")
        evidence = f"runs:/{source.run_id}/promotion/{judged.page.name}"
    record = writer.record(kind, source, target, reason, judged.rows, evidence)
    record = replace(
        record,
        weights_digest=judged.weights_digest or record.weights_digest,
        test_digest=judged.test_digest,
        accuracy=judged.accuracy,
        candidates=judged.candidate,
    )
    if judged.candidate:
        tracking.count_candidate(writer.client, source.run_id, judged.test_digest, judged.candidate)
    if judged.refuses(force):
        writer.note(replace(record, kind="refusal"))
        raise RefusedError(_refusal(source, target, judged))
    entry = writer.move(record)
    _print_moved(entry, f"is in {target}")
    return entry


def _check_signature(client: Any, source: Source, project: Project) -> Row | None:
    """Return the row that refuses a version whose signature is not valid, or missing where params.yaml requires one."""
    try:
        signatures.check(client, source, project)
    except RegistryError as error:
        return Row(rule=LOADS, verdict="failed", detail=str(error))
    return None


def _refusal(source: Source, target: Target, judged: Judgement) -> str:
    refused = f"version {source.version} was refused for {target}"
    if judged.failed[0].rule == LOADS:
        return f"{refused}: {judged.failed[0].detail}"
    return (
        f"{refused}: failed {', '.join(row.rule for row in judged.failed)}; train a better model, change the limits under "
        "register and promote in params.yaml, or override them with --force --reason TEXT"
    )


def _roll_back(writer: Writer, fresh: FreshProcess, reason: str) -> Entry:
    client, project = writer.client, writer.project
    writer.check_history()
    previous = _previous(writer)
    source = tracking.find_version(client, project.model, previous.number)
    training = tracking.training_record(client, source)
    recorded = replace(training, weights_digest=previous.weights_digest or training.weights_digest)
    with _images(training, project) as images:
        row = _check_signature(client, source, project) or gate.load(client, fresh, source, recorded, images)
    print_rows([row])
    record = writer.record("rollback", source, "production", reason, [row])
    if row.verdict == "failed":
        writer.note(replace(record, kind="refusal"))
        raise RefusedError(f"cannot roll back to version {source.version}: {row.detail}; `promote` another version")
    entry = writer.move(record)
    _print_moved(entry, "is in production again")
    return entry


def _previous(writer: Writer) -> Version:
    """Return the version that was in production before the present one, according to the history, and still exists."""
    now = writer.stages
    earlier = [version for version in timeline.production(writer.entries) if version and not version.is_same(now.production)]
    for version in reversed(earlier):
        if now.has(version):
            return version
        how = "its number is another model's now" if version.number in now.tags else "going back further"
        tracking.warn(f"version {version.number}, which was in production before, was deleted: {how}")
    before = f"version {now.production.number}" if now.production else "now"
    raise RefusedError(
        f"no version of {writer.project.model} that still exists was in production before {before}: "
        "`python -m pipeline history` lists every move"
    )


@contextmanager
def _images(training: TrainingRecord, project: Project) -> Iterator[Path]:
    """Yield an .npy file of images for the version to predict: the test split here, or a blank one.

    A rollback must work on a machine that has nothing but the registry.
    """
    folder = project.workspace.dataset
    here = dataset.read(folder).description if folder.exists() else None
    if here and (here.class_names, here.image_shape) == (training.class_names, training.image_shape):
        yield folder / "test/images.npy"
        return
    with tempfile.TemporaryDirectory() as temporary:
        blank = Path(temporary) / "images.npy"
        np.save(blank, np.zeros((1, *training.image_shape), np.uint8), allow_pickle=False)
        yield blank


def _print_moved(entry: Entry, where: str) -> None:
    record = entry.record
    replaced = ""
    if record.replaced:
        left = "was archived" if record.target == "production" else "left staging"
        replaced = f"; version {record.replaced} {left}"
    print(f"version {record.version} of {record.model} {where}{replaced} (record {record.number})")


def print_rows(rows: Sequence[Row]) -> None:
    """Print the rules of a gate as a table."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for column in ("verdict", "rule", "value"):
        table.add_column(column, no_wrap=column == "verdict")
    for row in rows:
        verdict = "FAILED" if row.verdict == "failed" else row.verdict
        measured = " · ".join(part for part in (row.measured, row.detail) if part)
        table.add_row(verdict, row.rule, measured, style=_STYLES.get(row.verdict, ""))
    Console(highlight=False, markup=False, emoji=False).print(table)
