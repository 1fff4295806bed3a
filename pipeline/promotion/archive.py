"""archive: a version leaves staging or production, or will never reach them."""

from pipeline import tracking
from pipeline.project import Project
from pipeline.promotion import transitions
from pipeline.promotion.writer import notify, open_writer


def run(version: str, reason: str, project: Project) -> None:
    """Archives a version; archiving the one in production leaves production empty, and says so.

    Args:
        version: A version, or the alias of one.
        reason: Goes into the record.
        project: Names the model.

    Raises:
        PipelineError: there is no such version, another process changes the stages, or the store is lost.
    """
    with tracking.store_guard(project.workspace):
        client, model = tracking.connect(project.workspace), project.model
        source = tracking.find_version(client, model, version)
        with open_writer(client, model, project) as writer:
            number = str(source.version)
            stage = writer.standing.stage_of(number)
            if stage == "archived":
                print(f"version {number} is archived already: nothing to do")
                return
            transitions.check_legal(number, stage, "archived", forced=False)
            entry = writer.move(writer.record("archive", source, "archived", reason))
    empty = {"production": "nothing is in production; ", "staging": "nothing is in staging; "}.get(stage, "")
    print(f"version {number} of {model} is archived, it was in {stage}: {empty}record {entry.record.number}")
    notify(entry, project)
