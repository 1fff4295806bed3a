"""The code of a training, checked out beside the user's."""

import re
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline import provenance
from pipeline.errors import RegistryError
from pipeline.provenance import GitState
from pipeline.verify import worktree
from pipeline.verify.worktree import StageError
from pipeline.workspace import Workspace

Shell = Callable[..., subprocess.CompletedProcess[str]]
SOMEONE = ("-c", "user.name=somebody", "-c", "user.email=somebody@localhost")
STAGE = """import os, sys
print("epoch 1/1", os.environ["MLFLOW_TRACKING_URI"], os.environ.get("MLFLOW_RUN_ID"))
if sys.argv[1] == "evaluate":
    sys.exit("error: no model: run train")
"""


@pytest.fixture
def here(tmp_path: Path, shell: Shell, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A project in a folder of a larger repository, with a change that is not committed."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    project = tmp_path / "repository" / "shop"
    (project / "pipeline").mkdir(parents=True)
    (project / "pipeline" / "__main__.py").write_text(STAGE)
    (project / "params.yaml").write_text("seed: 1\n")
    shell("git", "init", "-q", "-b", "main", cwd=project.parent)
    shell("git", "add", "-A", cwd=project)
    shell("git", *SOMEONE, "commit", "-qm", "first", cwd=project)
    (project / "params.yaml").write_text("seed: 2\n")
    return Workspace(project, project)


def trees(here: Workspace, shell: Shell) -> int:
    return len(shell("git", "worktree", "list", cwd=here.root).stdout.splitlines())


def test_code_and_changes_of_then_lie_beside_the_users(here: Workspace, shell: Shell, tmp_path: Path) -> None:
    then = provenance.git_state(here.root)
    here.params.write_text("seed: 3\n")
    with worktree.checked_out(then, "version 1", here) as copy:
        assert copy.workspace.root.name == "shop"
        assert copy.workspace.params.read_text() == "seed: 2\n"
        assert trees(here, shell) == 2
    assert here.params.read_text() == "seed: 3\n"
    assert trees(here, shell) == 1
    assert not list(tmp_path.glob("verify-*"))


def test_it_is_removed_whatever_happens_inside(here: Workspace, shell: Shell, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), worktree.checked_out(provenance.git_state(here.root), "version 1", here):
        raise KeyboardInterrupt
    assert trees(here, shell) == 1
    assert not list(tmp_path.glob("verify-*"))


def test_a_stage_runs_there_with_a_store_of_its_own_and_is_shown(
    here: Workspace, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///of-the-user.db")
    monkeypatch.setenv("MLFLOW_RUN_ID", "1a2b")
    with worktree.checked_out(provenance.git_state(here.root), "version 1", here) as copy:
        copy.run("train")
        root = re.escape(str(copy.workspace.root))
        with pytest.raises(StageError, match=r"^evaluate failed there: no model: run train$"):
            copy.run("evaluate", shown=False)
    out = capsys.readouterr().out
    assert re.search(rf"^train\n    epoch 1/1 sqlite:///{root}/mlflow\.db None\n    \d\.\d s\nevaluate\n$", out)


def test_what_cannot_be_checked_out_is_one_line_with_the_way_out(here: Workspace, shell: Shell, tmp_path: Path) -> None:
    then = provenance.git_state(here.root)
    outside = Workspace(tmp_path, tmp_path)
    cases: list[tuple[GitState, Workspace, str]] = [
        (replace(then, commit=None), here, r"^version 1 was trained outside git: nothing says which code made it"),
        (
            replace(then, commit="c0ffee" * 6 + "c0ff"),
            here,
            r"^the commit c0ffeec0ffee of version 1 is not .*`git fetch --all`",
        ),
        (then, outside, r"is no git checkout: verify a version in a clone that has its commit"),
        (
            replace(then, diff=then.diff.replace("seed: 1", "seed: 9")),
            here,
            r"version 1 recorded do not apply to its .*\(patch failed",
        ),
        (replace(then, diff=then.diff[:-20] + "\n… cut here: commit before training\n"), here, r"do not apply to its commit"),
    ]
    for git, where, message in cases:
        with pytest.raises(RegistryError, match=message) as error, worktree.checked_out(git, "version 1", where):
            pass
        assert "\n" not in str(error.value)
    assert trees(here, shell) == 1
    assert not list(tmp_path.glob("verify-*"))


def test_without_git_it_says_so(here: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    then = provenance.git_state(here.root)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(RegistryError, match=r"^git is not installed"), worktree.checked_out(then, "version 1", here):
        pass
