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
from pipeline.verify import rebuild, sandbox
from pipeline.workspace import Workspace
from tests.verify.entries import entry

Shell = Callable[..., subprocess.CompletedProcess[str]]
SOMEONE = ("-c", "user.name=somebody", "-c", "user.email=somebody@localhost")
STAGE = """import os, sys, time
print("epoch 1/1\x1b[2K", os.environ["MLFLOW_TRACKING_URI"], os.environ.get("MLFLOW_RUN_ID"))
if sys.argv[1] == "evaluate":
    sys.exit("error: no model: run train")
if sys.argv[1] == "endless":
    time.sleep(600)
if sys.argv[1] == "hostile":
    exec(open("hostile.py").read())
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


def assert_removed(here: Workspace) -> None:
    assert not list(here.root.parents[1].glob("verify-*"))


def repository(here: Workspace) -> dict[str, int]:
    """Everything in the user's .git, with the time of its last change."""
    return {str(path): path.lstat().st_mtime_ns for path in (here.root.parent / ".git").rglob("*")}


def test_the_recorded_commit_and_changes_are_checked_out_and_the_clone_is_not_written_to(here: Workspace) -> None:
    recorded = provenance.git_state(here.root)
    here.params.write_text("seed: 3\n")
    before = repository(here)
    with rebuild.worktree(recorded, "version 1", here) as there:
        assert there.root.name == "classifier"
        assert there.params.read_text() == "seed: 2\n"
        assert provenance.git_state(there.root).diff == recorded.diff
    assert here.params.read_text() == "seed: 3\n"
    assert repository(here) == before
    assert_removed(here)


def test_variables_that_git_sets_for_its_hooks_lead_nothing_into_the_users_repository(
    here: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded, before = provenance.git_state(here.root), repository(here)
    monkeypatch.setenv("GIT_DIR", str(here.root.parent / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(here.root.parent))
    monkeypatch.setenv("GIT_INDEX_FILE", str(here.root.parent / ".git/index"))
    with rebuild.worktree(recorded, "version 1", here) as there:
        assert there.params.read_text() == "seed: 2\n"
    assert repository(here) == before


def test_what_would_run_is_known_before_anything_is_checked_out(here: Workspace, shell: Shell) -> None:
    (here.root / "pipeline" / "__main__.py").write_text("changed\n")
    recorded = provenance.git_state(here.root)
    code = rebuild.inspect(recorded, "version 1", here)
    assert code.files == ("classifier/params.yaml", "classifier/pipeline/__main__.py")
    assert code.lines == len(recorded.diff.splitlines()) > 8
    assert code.on_branch
    assert not code.is_reviewed
    assert rebuild.inspect(replace(recorded, diff=""), "version 1", here).is_reviewed
    shell("git", *SOMEONE, "commit", "-q", "--amend", "-m", "another", cwd=here.root)
    astray = replace(recorded, diff="")
    assert not rebuild.inspect(astray, "version 1", here).is_reviewed
    shell("git", "tag", "kept", str(recorded.commit), cwd=here.root)
    assert rebuild.inspect(astray, "version 1", here).is_reviewed


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
    assert re.fullmatch(rf"epoch 1/1\[2K sqlite:///{root}/mlflow\.db None\ntrain     \d\.\d s\n", out)


HOSTILE = """
outside, tried = sys.argv[0][:sys.argv[0].index("verify-")] + "photos", []
import shutil, socket
for act in (
    lambda: open(outside + "/1.png", "w"),
    lambda: open(outside + "/2.png", "w"),
    lambda: os.truncate(outside + "/1.png", 0),
    lambda: os.unlink(outside + "/1.png"),
    lambda: os.rename(outside + "/1.png", "1.png"),
    lambda: os.rename("params.yaml", outside + "/params.yaml"),
    lambda: os.link(outside + "/1.png", "linked.png"),
    lambda: os.mkdir(outside + "/new"),
    lambda: (os.symlink(outside, "link"), open("link/1.png", "a")),
    lambda: shutil.rmtree(outside),
    lambda: os.kill(os.getppid(), 9),
    lambda: socket.create_connection(("127.0.0.1", 1)),
):
    try:
        act()
        tried.append("done")
    except PermissionError:
        tried.append("refused")
    except OSError as error:
        tried.append("refused" if error.errno == 18 else repr(error))
os.makedirs("models/deep")
os.rename("params.yaml", "models/deep/params.yaml")
print(*tried, file=open("/dev/null", "w"))
sys.exit("error: " + " ".join(tried) + " " + " ".join(sorted(os.environ)))
"""


@pytest.mark.skipif(not sandbox.confines(), reason="needs Landlock, of Linux 6.2 or newer")
def test_recorded_code_that_runs_changes_nothing_outside_the_worktree_and_reaches_no_network(
    here: Workspace, tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "1.png").write_text("a photo")
    with (
        rebuild.worktree(provenance.git_state(here.root), "version 1", here) as there,
        pytest.raises(RegistryError, match=r"failed in the worktree: (refused ){12}\w+") as error,
    ):
        (there.root / "hostile.py").write_text(HOSTILE)
        rebuild.run_stage("hostile", there)
    assert [(path.name, path.read_text()) for path in photos.iterdir()] == [("1.png", "a photo")]
    assert "HOME" in str(error.value)


def test_of_the_callers_environment_a_stage_sees_what_a_list_names_and_no_address_with_a_secret(
    here: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets = {
        "AWS_SECRET_ACCESS_KEY": "s3cret",
        "MLFLOW_TRACKING_PASSWORD": "s3cret",
        "SSH_AUTH_SOCK": "/run/s3cret",
        "HTTPS_PROXY": "http://me:s3cret@proxy:3128",
        "DATASET_MIRROR": "https://mirror/data?sig=s3cret",
        "PIPELINE_SIGNING_KEY": "/home/me/s3cret",
        "HOME": "/home/s3cret",
        "OF_NOBODY": "s3cret",
    }
    for name, value in {**secrets, "TZ": "UTC", "http_proxy": "http://proxy:3128"}.items():
        monkeypatch.setenv(name, value)
    with rebuild.worktree(provenance.git_state(here.root), "version 1", here) as there:
        seen = rebuild.variables(there)
        assert not [value for value in seen.values() if "s3cret" in value]
        assert (seen["TZ"], seen["http_proxy"]) == ("UTC", "http://proxy:3128")
        assert Path(seen["HOME"]).is_relative_to(there.root)
        monkeypatch.setenv("DATASET_MIRROR", "/mnt/data sets")
        assert rebuild.variables(there)["DATASET_MIRROR"] == "/mnt/data sets"


def test_ctrl_c_ends_the_stage_and_removes_the_worktree(here: Workspace) -> None:
    stages: list[psutil.Process] = []

    def interrupt() -> None:
        ours = {each.pid for each in psutil.Process().children(recursive=True)}  # other tests may have left a server, too
        running = (each for each in psutil.process_iter(["cmdline"]) if each.pid in ours)
        stages.extend(each for each in running if "endless" in (each.info["cmdline"] or ()))
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt), rebuild.worktree(provenance.git_state(here.root), "version 1", here) as there:
        threading.Timer(1, interrupt).start()
        rebuild.run_stage("endless", there)
    assert_removed(here)
    assert len(stages) == 1
    assert not stages[0].is_running()


def test_code_that_cannot_be_checked_out_is_one_line_with_the_way_out(here: Workspace, tmp_path: Path) -> None:
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
        (
            replace(recorded, diff="no diff \x1b[2K"),
            here,
            r"do not apply to commit \w{12}, so it cannot be verified \(error: No valid",
        ),
        (
            replace(recorded, diff="+\n" * 600_000),
            here,
            r"records 1,200,000 characters of uncommitted changes, more than train",
        ),
    ]
    for git, where, message in cases:
        with pytest.raises(RegistryError, match=message) as error, rebuild.worktree(git, "version 1", where):
            pass
        assert "\n" not in str(error.value)
    assert_removed(here)


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
            RegistryError,
            match=rf"^classifier/{link} in the recorded code of version 1 is a link to {re.escape(str(tmp_path))}, out",
        ),
        rebuild.worktree(provenance.git_state(here.root), "version 1", here),
    ):
        pass
    assert_removed(here)


def folders(tmp_path: Path) -> tuple[Workspace, Workspace]:
    there, here = tmp_path / "there", tmp_path / "here"
    (here / "data" / "source").mkdir(parents=True)
    return Workspace(there, there), Workspace(here, here)


def test_params_are_as_recorded_but_for_what_depends_on_the_place(tmp_path: Path) -> None:
    there, here = folders(tmp_path)
    text = "ingest:\n  source: data/source\n  seed: 1\ntrain:\n  threads: 0\n  warm_start: production\n"
    rebuild.write_params(entry(text, threads=3, warm_start={"version": "2"}), there, here)
    assert params.read_yaml(there.params) == {
        "ingest": {"source": str(here.root / "data/source"), "seed": 1},
        "train": {"threads": 3, "warm_start": "parent"},
    }
    rebuild.write_params(entry(text.replace("production", '""').replace("data/source", "gone"), threads=3), there, here)
    assert params.read_yaml(there.params) == {
        "ingest": {"source": str(here.root / "gone"), "seed": 1},
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
