"""What `setup/dvc` finds before DVC starts: a lock that nobody holds, a shallow clone, no git repository, another encoding."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.conftest import PROJECT, Shell

Dvc = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def project(tmp_path: Path, shell: Shell) -> Path:
    """A DVC project with one stage, in a git repository, whose environment has the wrapper as its dvc."""
    programs = tmp_path / ".venv/bin"
    for folder in (programs, tmp_path / ".dvc/tmp", tmp_path / "setup"):
        folder.mkdir(parents=True)
    (programs / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (programs / "dvc").write_bytes((PROJECT / "setup/dvc").read_bytes())
    (tmp_path / "setup/free_lock.py").write_bytes((PROJECT / "setup/free_lock.py").read_bytes())
    for program in programs.iterdir():
        program.chmod(0o755)
    (tmp_path / ".dvc/config").touch()
    (tmp_path / "dvc.yaml").write_text("stages:\n  one:\n    cmd: echo a > a\n    outs: [a]\n")
    (tmp_path / ".gitignore").write_text("/.venv\n/.dvc/tmp\n/a\n")
    shell("git", "init", "-q", cwd=tmp_path)
    shell("git", "add", "-A", cwd=tmp_path)
    shell("git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "all", cwd=tmp_path)
    return tmp_path


@pytest.fixture
def dvc(project: Path, shell: Shell) -> Dvc:
    """Run the wrapper in the project, or in `cwd`."""

    def run(*arguments: str, cwd: Path = project, check: bool = True, **variables: str) -> "subprocess.CompletedProcess[str]":
        return shell(str(project / ".venv/bin/dvc"), *arguments, cwd=cwd, check=check, **variables)

    return run


@pytest.fixture
def other_process() -> Iterator[int]:
    """The id of a process that is no dvc."""
    with subprocess.Popen(["sleep", "1000"]) as sleeping:
        yield sleeping.pid
        sleeping.kill()


def lock(project: Path, text: str, seconds: float) -> Path:
    """Write DVC's lock file `seconds` after the start of this process."""
    path = project / ".dvc/tmp/rwlock"
    path.write_text(text)
    written = psutil.Process().create_time() + seconds
    os.utime(path, (written, written))
    return path


def held_by(pid: int) -> str:
    return json.dumps({"write": {"/project/a": {"pid": pid, "cmd": "dvc repro"}}})


@pytest.mark.parametrize(
    ("seconds", "stays"), [(-3600, False), (+3600, True)], ids=["the process is younger than the lock", "it is older"]
)
def test_a_lock_goes_only_if_the_process_with_its_id_cannot_hold_it(
    project: Path, other_process: int, seconds: float, stays: bool
) -> None:
    path = lock(project, held_by(other_process), seconds)
    subprocess.run([sys.executable, PROJECT / "setup/free_lock.py", path], check=True)
    assert path.exists() == stays


@pytest.mark.exhaustive
@pytest.mark.parametrize("left", ["a reused id", "", '{"write": {"/x": {"pi'])
def test_after_a_kill_dvc_works_again(project: Path, dvc: Dvc, other_process: int, left: str) -> None:
    lock(project, held_by(other_process).replace("/project", str(project)) if left == "a reused id" else left, -3600)
    dvc("repro")
    assert (project / "a").exists()


@pytest.mark.parametrize(
    "arguments", ["exp run --temp", "exp run -S train.seed=7 --queue", "queue start", "-v exp run --temp -f"]
)
def test_in_a_shallow_clone_an_experiment_that_dvc_would_lose_is_refused(
    project: Path, dvc: Dvc, shell: Shell, tmp_path_factory: pytest.TempPathFactory, arguments: str
) -> None:
    clone = tmp_path_factory.mktemp("shallow")
    shell("git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "more", cwd=project)
    shell("git", "clone", "-q", "--depth", "1", f"file://{project}", str(clone), cwd=project)
    done = dvc(*arguments.split(), cwd=clone, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "error: this clone is shallow, and DVC would lose the experiment: run `git fetch --unshallow` first\n"
    )


@pytest.mark.exhaustive
def test_after_the_advice_the_experiment_is_kept(
    project: Path, dvc: Dvc, shell: Shell, tmp_path_factory: pytest.TempPathFactory
) -> None:
    clone = tmp_path_factory.mktemp("shallow")
    shell("git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "more", cwd=project)
    shell("git", "clone", "-q", "--depth", "1", f"file://{project}", str(clone), cwd=project)
    shell("git", "fetch", "-q", "--unshallow", cwd=clone)
    dvc("exp", "run", "--temp", "--name", "kept", cwd=clone)
    assert "kept" in dvc("exp", "list", cwd=clone).stdout


@pytest.mark.exhaustive
def test_without_git_dvc_works_and_with_git_again_it_uses_it(project: Path, dvc: Dvc) -> None:
    (project / ".git").rename(project / "elsewhere")
    first, second = dvc("repro"), dvc("status")
    assert first.stderr == "note: there is no git repository here: runs record no commit, and dvc exp is not available\n"
    assert (second.stdout, second.stderr) == ("Data and pipelines are up to date.\n", "")
    (project / "elsewhere").rename(project / ".git")
    dvc("exp", "run", "--force", "--name", "tracked")
    assert "tracked" in dvc("exp", "list").stdout


@pytest.mark.exhaustive
def test_file_names_are_utf8_in_a_locale_of_another_encoding(project: Path, dvc: Dvc, tmp_path: Path) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "locale").write_text("#!/bin/sh\necho ISO-8859-1\n")  # such a locale may not be installed
    (programs / "locale").chmod(0o755)
    (project / "dvc.yaml").write_text("stages:\n  one:\n    cmd: mkdir a && touch a/Bär\n    outs: [a]\n", encoding="utf-8")
    dvc("repro", "--quiet", PATH=f"{programs}:{os.environ['PATH']}", LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    listings = [path.read_text(encoding="utf-8") for path in (project / ".dvc/cache").rglob("*.dir")]
    assert [json.loads(each)[0]["relpath"] for each in listings] == ["Bär"]
