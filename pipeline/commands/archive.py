"""archive: a version leaves staging or production, or will never reach them."""

from pipeline import tracking
from pipeline.commands import moving
from pipeline.register import stages
from pipeline.workspace import Workspace


def run(version: str, reason: str, workspace: Workspace) -> None:
    """Archives a version; archiving the one in production leaves production empty, and says so.

    Args:
        version: A version, or the alias of one.
        reason: Goes into the record.
        workspace: Names the model.

    Raises:
        PipelineError: there is no such version, another process changes the stages, or the store is lost.
    """
    with tracking.answering(workspace):
        client, model = tracking.connect(workspace), moving.model_name(workspace)
        source = tracking.find_version(client, model, version)
        with moving.writer(client, model, workspace) as writer:
            number = str(source.version)
            stage = writer.standing.stage_of(number)
            if stage == "archived":
                print(f"version {number} is archived already: nothing to do")
                return
            stages.check_legal(number, stage, "archived", forced=False)
            entry = writer.move(writer.record("archive", source, "archived", reason))
    empty = {"production": "nothing is in production; ", "staging": "nothing is in staging; "}.get(stage, "")
    print(f"version {number} of {model} is archived, it was in {stage}: {empty}record {entry.record.number}")
    moving.notify(entry, workspace)
