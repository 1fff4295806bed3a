"""The recorded code and params in a temporary worktree, and stages run there."""

import os
import re
import signal
import subprocess
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from pipeline import params, provenance
from pipeline.errors import ParamsError, RegistryError
from pipeline.provenance import GitState
from pipeline.verify import rebuild
from pipeline.workspace import Workspace
from tests.verify.entries import entry

Shell = Callable[..., subprocess.CompletedProcess[str]]
SOMEONE = ("-c", "user.name=somebody", "-c", "user.email=somebody@localhost")
STAGE = """import os, sys, time
print("epoch 1/1", os.environ["MLFLOW_TRACKING_URI"], os.environ.get("MLFLOW_RUN_ID"))
if sys.argv[1] == "evaluate":
    sys.exit("error: no model: run train")
if sys.argv[1] == "endless":
    open(os.environ["TMPDIR"] + "/pid", "w").write(str(os.getpid()))
    time.sleep(600)
"""


@pytest.fixture
def here(tmp_path: Path, shell: Shell, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A project in a folder of a larger repository, with a change that is not committed."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    project = tmp_path / "repository" / "classifier"
    (project / "pipeline").mkdir(parents=True)
    (project / "pipeline" / "__main__.py").write_text(STAGE)
    (project / "params.yaml").write_text("seed: 1\n")
    shell("git", "init", "-q", "-b", "main", cwd=project.parent)
    commit(project, shell)
    (project / "params.yaml").write_text("seed: 2\n")
    return Workspace(project, project)


def commit(project: Path, shell: Shell) -> None:
    shell("git", "add", "-A", cwd=project)
    shell("git", *SOMEONE, "commit", "-qm", "a commit", cwd=project)


def assert_removed(here: Workspace, shell: Shell) -> None:
    assert len(shell("git", "worktree", "list", cwd=here.root).stdout.splitlines()) == 1
    assert not list(here.root.parents[1].glob("verify-*"))


def test_the_recorded_commit_and_changes_are_checked_out_beside_the_checkout(here: Workspace, shell: Shell) -> None:
    recorded = provenance.git_state(here.root)
    here.params.write_text("seed: 3\n")
    with rebuild.worktree(recorded, "version 1", here) as there:
        assert there.root.name == "classifier"
        assert there.params.read_text() == "seed: 2\n"
        assert len(shell("git", "worktree", "list", cwd=here.root).stdout.splitlines()) == 2
    assert here.params.read_text() == "seed: 3\n"
    assert_removed(here, shell)


def test_a_stage_runs_with_a_store_of_its_own_and_its_error_is_the_reason(
    here: Workspace, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///of-the-user.db")
    monkeypatch.setenv("MLFLOW_RUN_ID", "1a2b")
    with rebuild.worktree(provenance.git_state(here.root), "version 1", here) as there:
        rebuild.run_stage("train", there, shown=True)
        root = re.escape(str(there.root))
        with pytest.raises(RegistryError, match=r"^evaluate failed in the worktree: no model: run train$"):
            rebuild.run_stage("evaluate", there)
    out = capfd.readouterr().out
    assert re.fullmatch(rf"epoch 1/1 sqlite:///{root}/mlflow\.db None\ntrain     \d\.\d s\n", out)


def test_ctrl_c_ends_the_stage_and_removes_the_worktree(here: Workspace, shell: Shell, tmp_path: Path) -> None:
    interrupt = threading.Timer(1, os.kill, (os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt), rebuild.worktree(provenance.git_state(here.root), "version 1", here) as there:
        interrupt.start()
        rebuild.run_stage("endless", there)
    assert_removed(here, shell)
    assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))


def test_after_a_kill_git_worktree_prune_is_all_there_is_to_do(here: Workspace, shell: Shell) -> None:
    killed = here.root.parents[1] / "verify-of-a-killed-process" / "checkout"
    shell("git", "worktree", "add", "--detach", str(killed), cwd=here.root)
    with rebuild.worktree(provenance.git_state(here.root), "version 1", here):
        pass  # the next one works beside it
    shell("rm", "-r", str(killed.parent), cwd=here.root)
    shell("git", "worktree", "prune", cwd=here.root)
    assert_removed(here, shell)


def test_code_that_cannot_be_checked_out_is_one_line_with_the_way_out(here: Workspace, shell: Shell, tmp_path: Path) -> None:
    recorded = provenance.git_state(here.root)
    outside = Workspace(tmp_path, tmp_path)
    unknown = "c0ffee" * 6 + "c0ff"
    cases: list[tuple[GitState, Workspace, str]] = [
        (replace(recorded, commit=None), here, r"^version 1 was trained outside git: its code is unknown"),
        (
            replace(recorded, commit=unknown),
            here,
            r"^version 1 was trained at commit c0ffeec0ffee \(main\), .*`git fetch --all`",
        ),
        (recorded, outside, r"not in this clone: .*\(fatal: not a git repository"),
        (
            replace(recorded, diff=recorded.diff.replace("seed: 1", "seed: 9")),
            here,
            r"changes recorded with version 1 do not apply to commit \w{12}, .*\(error: patch failed",
        ),
        (replace(recorded, diff=recorded.diff[:-20] + "\n… cut here: commit before training\n"), here, r"do not apply"),
    ]
    for git, where, message in cases:
        with pytest.raises(RegistryError, match=message) as error, rebuild.worktree(git, "version 1", where):
            pass
        assert "\n" not in str(error.value)
    assert_removed(here, shell)


def test_without_git_the_error_names_it(here: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = provenance.git_state(here.root)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(RegistryError, match=r"^git is not installed"), rebuild.worktree(recorded, "version 1", here):
        pass


@pytest.mark.parametrize("link", ["params.yaml", "data", "models", ".dvc"])
@pytest.mark.parametrize("committed", [True, False])
def test_recorded_code_with_a_link_out_of_the_worktree_is_refused(
    here: Workspace, shell: Shell, tmp_path: Path, link: str, committed: bool
) -> None:
    here.params.unlink()
    (here.root / link).symlink_to(tmp_path)
    shell("git", "add", "--intent-to-add", ".", cwd=here.root)
    if committed:
        commit(here.root, shell)
    with (
        pytest.raises(
            RegistryError, match=rf"is behind a link to {re.escape(str(tmp_path))}.* in the recorded code: a rebuild"
        ),
        rebuild.worktree(provenance.git_state(here.root), "version 1", here),
    ):
        pass
    assert_removed(here, shell)


def folders(tmp_path: Path) -> tuple[Workspace, Workspace]:
    there, here = tmp_path / "there", tmp_path / "here"
    (here / "data" / "source").mkdir(parents=True)
    return Workspace(there, there), Workspace(here, here)


def test_params_are_as_recorded_but_for_what_depends_on_the_place(tmp_path: Path) -> None:
    there, here = folders(tmp_path)
    text = "ingest:\n  source: data/source\n  seed: 1\ntrain:\n  threads: 0\n  warm_start: production\n"
    rebuild.write_params(entry(text, "lock", threads=3, warm_start={"version": "2"}), there, here)
    assert params.read_yaml(there.params) == {
        "ingest": {"source": str(here.root / "data/source"), "seed": 1},
        "train": {"threads": 3, "warm_start": "parent"},
    }
    assert (there.root / "dvc.lock").read_text() == "lock"
    rebuild.write_params(entry(text.replace("production", '""').replace("data/source", "gone"), threads=3), there, here)
    assert params.read_yaml(there.params) == {
        "ingest": {"source": "gone", "seed": 1},
        "train": {"threads": 3, "warm_start": ""},
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "train:\n  threads: 0\n",
            r"provenance/params\.yaml of digits-classifier version 1 has no section ingest or train: it was altered",
        ),
        ("ingest: {}\ntrain: 3\n", "has no section ingest or train"),
        ("ingest: [data/source]\ntrain: {}\n", "has no section ingest or train"),
        ("- ingest\n- train\n", "has no section ingest or train"),
        ("no params\n", "has no section ingest or train"),
        ("", "has no section ingest or train"),
        ("ingest: {\n", "params.yaml is not valid YAML at line 2, column 1"),
    ],
)
def test_recorded_params_that_cannot_be_used_are_one_line(tmp_path: Path, text: str, message: str) -> None:
    there, here = folders(tmp_path)
    there.root.mkdir()
    there.params.write_text("of the commit")
    with pytest.raises(ParamsError, match=message) as error:
        rebuild.write_params(entry(text), there, here)
    assert "\n" not in str(error.value)
