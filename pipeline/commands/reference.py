"""The profile of the data that production was trained on: brought to data/reference, where validate compares with it."""

from pipeline import params, provenance, tracking
from pipeline.errors import UnreachableError
from pipeline.tracking import warn
from pipeline.workspace import Workspace, replacing

_ON_THE_RUN = "data/profile.json"


def refresh(workspace: Workspace) -> None:
    """Makes data/reference/profile.json that of the version in production, and removes it where there is none.

    A file that is right already is not touched. Where the store does not answer, a warning says so and what lies there stays.

    Raises:
        ParamsError: params.yaml cannot be used.
        TrackingError: MLFLOW_TRACKING_URI is malformed.
    """
    model = provenance.model_name(params.load(workspace.params).ingest.dataset_name)
    try:
        content = _in_production(model, workspace)
    except UnreachableError as error:
        warn(f"{error}. The data is compared with what {workspace.shown(workspace.reference)} says, if it is there")
        return
    if content is None:
        workspace.reference.unlink(missing_ok=True)
    elif not workspace.reference.exists() or workspace.reference.read_bytes() != content:
        with replacing(workspace.reference) as aside:
            aside.write_bytes(content)


def _in_production(model: str, workspace: Workspace) -> bytes | None:
    if not tracking.has_store(workspace):
        return None  # without loading MLflow, which takes 3 s
    found = tracking.in_production(tracking.connect(workspace), model, _ON_THE_RUN)
    if found is None:
        return None
    if found.content is None:
        warn(f"the run of {model} version {found.version} in production has no {_ON_THE_RUN}: the data is not compared with it")
    return found.content
