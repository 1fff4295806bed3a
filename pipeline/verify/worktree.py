"""A checkout beside the user's: the code of a training, as it was, in a temporary folder with a tracking store of its own."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import RegistryError
from pipeline.provenance import GitState
from pipeline.workspace import Workspace

# What would lead a stage to the user's own store, run or experiment.
_FOREIGN = {"MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "DVC_ROOT", "DVC_STAGE", "DVC_EXP_NAME"}
_NO_HOOKS = ("-c", "core.hooksPath=/dev/null")  # `dvc install` sets one that checks out DVC's files


@contextmanager
def step(name: str) -> Iterator[None]:
    """Says what is done now, and at the end how long it took."""
    start = time.perf_counter()
    print(name, flush=True)
    yield
    print(f"    {time.perf_counter() - start:,.1f} s", flush=True)


class StageError(RegistryError):
    """A stage that did not end well in the worktree; the message is its own."""


@dataclass(frozen=True)
class Worktree:
    """The code of a training, checked out."""

    workspace: Workspace

    @property
    def store(self) -> str:
        """The tracking URI of its own store."""
        return f"sqlite:///{self.workspace.database}"

    def run(self, stage: str, *, shown: bool = True) -> None:
        """Runs `python -m pipeline STAGE` of that code there; its lines are shown, indented, as they come, unless told not to.

        Raises:
            StageError: it failed, with what its `error:` line says.
        """
        command = [sys.executable, "-m", "pipeline", stage]
        environment, root, reason = self._environment(), self.workspace.root, "it gave no reason"
        with (
            step(stage),
            subprocess.Popen(
                command, cwd=root, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            ) as process,
        ):
            try:
                for line in process.stdout or ():
                    if shown:
                        print(f"    {line.rstrip()}", flush=True)
                    reason = line.strip().removeprefix("error: ") or reason
                process.wait()
            finally:
                process.kill()  # on Ctrl-C; one that has ended does not feel it
            if process.returncode != 0:
                raise StageError(f"{stage} failed there: {reason}")

    def _environment(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if name not in _FOREIGN}
        own = {"MLFLOW_TRACKING_URI": self.store, "PYTHONPATH": str(self.workspace.root), "PYTHONUNBUFFERED": "1"}
        return {**inherited, **own}


@contextmanager
def checked_out(git: GitState, name: str, workspace: Workspace) -> Iterator[Worktree]:
    """The code `git` in a temporary folder, for as long as the block lasts; the user's checkout stays as it is.

    Args:
        git: What was recorded of the code: a commit, and what was changed and not committed.
        name: Of the version it made, as people say it.
        workspace: A checkout of the repository that has the commit.

    Raises:
        RegistryError: there is no git, the commit is not in this clone, or the changes do not apply to it.
    """
    commit = _known_commit(git, name, workspace)
    within = _git(workspace.root, "rev-parse", "--show-prefix").strip()  # of a project in a folder of a larger repository
    with tempfile.TemporaryDirectory(prefix="verify-") as folder:
        tree = Path(folder).resolve() / "code"
        try:
            _git(workspace.root, *_NO_HOOKS, "worktree", "add", "--detach", "--quiet", str(tree), commit)
            _apply(git.diff, name, commit, tree)
            yield Worktree(Workspace(tree / within, tree / within))
        finally:
            _try_git(workspace.root, "worktree", "remove", "--force", str(tree))


def _known_commit(git: GitState, name: str, workspace: Workspace) -> str:
    if not git.commit:
        raise RegistryError(f"{name} was trained outside git: nothing says which code made it, so it cannot be verified")
    if _try_git(workspace.root, "rev-parse", "--git-dir").returncode != 0:
        raise RegistryError(
            f"{workspace.root} is no git checkout: verify a version in a clone that has its commit {git.commit[:12]}"
        )
    if _try_git(workspace.root, "cat-file", "-e", f"{git.commit}^{{commit}}").returncode != 0:
        raise RegistryError(
            f"the commit {git.commit[:12]} of {name} is not in this clone: `git fetch --all` brings it if it was pushed "
            f"(it was made on {git.branch or 'no branch'})"
        )
    return git.commit


def _apply(diff: str, name: str, commit: str, tree: Path) -> None:
    if not diff:
        return
    done = _try_git(tree, "apply", "--whitespace=nowarn", "-", text=diff)
    if done.returncode != 0:
        reason = done.stderr.strip().partition("\n")[0].removeprefix("error: ")
        raise RegistryError(
            f"the changes that {name} recorded do not apply to its commit {commit[:12]} ({reason}): it cannot be verified; "
            "commit before training"
        )


def _git(root: Path, *arguments: str) -> str:
    done = _try_git(root, *arguments)
    if done.returncode != 0:
        raise RegistryError(f"`git {' '.join(arguments)}` failed: {' '.join(done.stderr.split())[:200]}")
    return done.stdout


def _try_git(root: Path, *arguments: str, text: str | None = None) -> "subprocess.CompletedProcess[str]":
    try:
        return subprocess.run(
            ["git", *arguments], cwd=root, input=text, capture_output=True, text=True, errors="replace", check=False
        )
    except FileNotFoundError:
        raise RegistryError("git is not installed: it brings back the code of a version") from None
