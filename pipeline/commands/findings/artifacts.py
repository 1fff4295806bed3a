"""Files of runs and models that are gone for good; looked for only where store and files lie in this checkout."""

import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline import tracking
from pipeline.commands.findings.finding import Examined, Finding, Registry, counted
from pipeline.register.lock import Lock
from pipeline.workspace import Workspace

_RUN, _MODEL = re.compile(r"[0-9a-f]{32}"), re.compile(r"m-[0-9a-f]{32}")  # how MLflow names their folders
_NAMED = 3  # folders that the finding names


def examine(registry: Registry) -> Examined:
    """Looks below `mlartifacts/<name>/` for folders of runs and models that the store does not know, not even in its trash."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    workspace, root = registry.workspace, registry.workspace.artifacts / registry.name
    if reason := _why_not(workspace, root):
        return Examined(f"no artifacts, because {reason}")
    folders = [
        *_folders(root, _RUN),
        *_folders(root / "models", _MODEL),
    ]  # first: the store learns of a run before its files come
    sources = [str(version.source) for version in registry.client.search_model_versions()]  # runs:/…, models:/… or a path
    store = SqlAlchemyStore(tracking.tracking_uri(workspace), workspace.artifacts.as_uri())
    left = [
        folder for folder in folders if not _is_known(store, folder) and not any(folder.name in source for source in sources)
    ]
    return Examined(f"{counted(len(folders), 'folder')} of artifacts", [_finding(workspace, left)] if left else [])


def _why_not(workspace: Workspace, root: Path) -> str:
    """Why it cannot be told here what nobody needs; "" where it can."""
    if tracking.tracking_uri(workspace) != f"sqlite:///{workspace.database}":
        return "the store is not mlflow.db of this checkout"
    others = sorted(path.name for path in workspace.home.glob("*.db") if path != workspace.database)
    if others:
        return f"{others[0]} may be a store that knows them too"
    if root.resolve() != workspace.home.resolve() / root.relative_to(workspace.home):
        return f"{workspace.shown(root)} is reached by a link"
    return ""


def _folders(parent: Path, name: "re.Pattern[str]") -> Sequence[Path]:
    if parent.is_symlink() or not parent.is_dir():
        return []
    return sorted(path for path in parent.iterdir() if name.fullmatch(path.name) and path.is_dir() and not path.is_symlink())


def _is_known(store: Any, folder: Path) -> bool:
    """Whether the store has its run or model, be it in the trash, from which it can be restored."""
    from mlflow.exceptions import MlflowException

    try:
        if _MODEL.fullmatch(folder.name):
            store.get_logged_model(folder.name, allow_deleted=True)
        else:
            store.get_run(folder.name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return False
    return True


def _finding(workspace: Workspace, left: Sequence[Path]) -> Finding:
    def mend(lock: Lock) -> None:
        for folder in left:
            lock.keep()
            shutil.rmtree(folder)  # follows no link

    named = ", ".join(workspace.shown(folder) for folder in left[:_NAMED])
    more = f" and {len(left) - _NAMED} more" if left[_NAMED:] else ""
    megabytes = sum(path.lstat().st_size for folder in left for path in folder.rglob("*") if not path.is_dir()) / 1e6
    return Finding(
        f"files of no run and no model, {megabytes:.1f} MB: {named}{more}",
        f"{workspace.shown(workspace.database)} does not know them, not even in its trash: nothing can find them any more",
        f"deletes {counted(len(left), 'folder')}, which frees {megabytes:.1f} MB",
        mend,
    )
