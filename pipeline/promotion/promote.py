"""promote: a version to staging or production, if its gate lets it; recorded either way."""

from collections.abc import Sequence
from typing import Any, Literal

from pipeline import tracking
from pipeline.errors import RefusedError
from pipeline.project import Project
from pipeline.promotion import examine, transitions
from pipeline.promotion.examine import Examined
from pipeline.promotion.record import Entry, Kind, Row
from pipeline.promotion.rules import LOADS
from pipeline.promotion.writer import Writer, failed_rows, notify, open_writer, print_rows
from pipeline.register.smoke import SmokeTest
from pipeline.tracking import Source

Target = Literal["staging", "production"]


def run(version: str, target: Target, reason: str, force: bool, dry_run: bool, project: Project) -> None:
    """Promotes, or says why not.

    Args:
        version: A version, or the alias of one.
        target: The stage it is to reach.
        reason: Goes into the record.
        force: May skip a step, and overrule the gate, but never a model that does not load and answer as it was evaluated.
        dry_run: Asks the gate only: nothing moves, nothing is recorded.
        project: Names the model, holds limits and data.

    Raises:
        RefusedError: the gate or the order of the stages does not allow it.
        PipelineError: the version cannot be had or judged, another process changes the stages, or the store is lost.
    """
    with SmokeTest() as fresh, tracking.store_guard(project.workspace):
        client, model = tracking.connect(project.workspace), project.model
        source = tracking.find_version(client, model, version)
        if dry_run:
            _rehearse(client, fresh, source, target, force, project)
            return
        with open_writer(client, model, project) as writer:
            entry = _promote(writer, fresh, source, target, reason, force)
    if entry:
        notify(entry, project)


def _promote(writer: Writer, fresh: SmokeTest, source: Source, target: Target, reason: str, force: bool) -> Entry | None:
    """The record of the move; None where the version is there already."""
    version = str(source.version)
    stage = writer.standing.stage_of(version)
    if stage == target:
        print(f"version {version} is in {target} already: nothing to do")
        return None
    transitions.check_legal(version, stage, target, force)
    found = _examine(writer.client, fresh, source, target, writer.standing.aliases.get("production"), writer.project)
    kind: Kind = "force" if force and ((stage, target) in transitions.SKIPS or failed_rows(found.rows)) else "promote"
    record = writer.record(kind, source, target, reason, found.rows, _evidence(writer.client, source, found))
    if _refused(found.rows, force):
        writer.refuse(record)
        raise RefusedError(_no(version, target, found.rows))
    entry = writer.move(record)
    print(f"version {version} of {writer.model} is in {target} now: {_what_else(entry)}record {entry.record.number}")
    return entry


def _rehearse(client: Any, fresh: SmokeTest, source: Source, target: Target, force: bool, project: Project) -> None:
    version, now = str(source.version), transitions.standing(client, source.model_name)
    stage = now.stage_of(version)
    if stage == target:
        print(f"version {version} is in {target} already: there would be nothing to do")
        return
    transitions.check_legal(version, stage, target, force)
    found = _examine(client, fresh, source, target, now.aliases.get("production"), project)
    if _refused(found.rows, force):
        raise RefusedError(f"dry run, nothing was recorded: {_no(version, target, found.rows)}")
    print(f"dry run, nothing moved: version {version} would go from {stage} to {target}")


def _examine(
    client: Any, fresh: SmokeTest, source: Source, target: Target, production: str | None, project: Project
) -> Examined:
    found = examine.examine(client, fresh, source, target, production, project)
    print_rows(found.rows)
    if found.page:
        print(f"look at {project.workspace.shown(found.page)}")
    return found


def _refused(rows: Sequence[Row], force: bool) -> bool:
    failed = failed_rows(rows)
    return bool(failed) and (not force or any(row.rule == LOADS for row in failed))


def _no(version: str, target: Target, rows: Sequence[Row]) -> str:
    failed = failed_rows(rows)
    if failed[0].rule == LOADS:
        return f"version {version} may not go to {target}: {failed[0].detail}"
    rules = ", ".join(row.rule for row in failed)
    return (
        f"version {version} may not go to {target}: failed at {rules}; train a better one, change the limits under register "
        "and promote in params.yaml, or overrule them with --force --reason TEXT"
    )


def _evidence(client: Any, source: Source, found: Examined) -> str:
    """Where the comparison lies on the version's run, for whoever asks later; "" where there is none."""
    if not found.page:
        return ""
    client.log_artifact(source.run_id, str(found.page), "promotion")
    return f"runs:/{source.run_id}/promotion/{found.page.name}"


def _what_else(entry: Entry) -> str:
    before, target = entry.record.before, entry.record.target
    if not before:
        return ""
    return f"version {before} was there and is {'archived' if target == 'production' else 'in none'}; "
