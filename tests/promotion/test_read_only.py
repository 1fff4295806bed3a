"""A checkout that may be read only, and an output in ASCII: what can work does, the rest is one line."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.compare.trainings import MODEL, Trainings

PROJECT = Path(__file__).parents[2]
WITHOUT_RIGHTS = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]  # root obeys the permissions then
pytestmark = pytest.mark.exhaustive
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def read_only(candidates: Trainings) -> Iterator[Run]:
    """Runs a command in a checkout with three versions, in which nothing can be written, with stdout and stderr in ASCII."""
    root = candidates.workspace.root
    shutil.copy(PROJECT / "dvc.yaml", root)
    paths = [root, *root.rglob("*")]
    modes = {path: path.stat().st_mode for path in paths}
    for path in paths:
        path.chmod(modes[path] & ~0o222)
    prefix = [] if os.geteuid() else WITHOUT_RIGHTS
    if prefix and not shutil.which(prefix[0]):
        pytest.skip("needs setpriv: apt install util-linux")

    def run(*command: str) -> "subprocess.CompletedProcess[str]":
        ascii_only = {"PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONPATH": str(PROJECT)}
        environment = {**os.environ, **ascii_only}
        everything = [*prefix, sys.executable, "-B", "-m", "pipeline", *command]
        return subprocess.run(everything, cwd=root, env=environment, capture_output=True, text=True, check=False)

    yield run
    for path, mode in modes.items():
        path.chmod(mode)


@pytest.fixture
def in_production(candidates: Trainings) -> None:
    candidates.client.set_registered_model_alias(MODEL, "production", "2")
    candidates.client.set_registered_model_alias(MODEL, "staging", "1")


@pytest.mark.usefixtures("in_production")
def test_a_comparison_has_a_table_but_no_page(read_only: Run) -> None:
    for command in (("compare", "2", "1"), ("promote", "1", "production", "--dry-run")):
        done = read_only(*command)
        assert "compare-2-1.html cannot be written (Permission denied): the comparison has no page" in done.stderr
        assert "accuracy" in done.stdout
        assert "Traceback" not in done.stderr


def test_what_only_reads_works(read_only: Run) -> None:
    for command in (("versions",), ("history",), ("history", "--json"), ("doctor",)):
        done = read_only(*command)
        assert (done.returncode, done.stderr) == (0, ""), command
        assert done.stdout.isascii()
    done = read_only("promote", "1", "staging", "--dry-run")
    assert done.stderr.count("\n") <= 1
    assert "dry run" in done.stdout + done.stderr
    assert (done.stdout + done.stderr).isascii()
    assert ">= " in done.stdout


@pytest.mark.parametrize("command", [("promote", "1", "staging"), ("archive", "1"), ("doctor", "--fix"), ("rollback",)])
def test_what_writes_is_one_line(read_only: Run, command: tuple[str, ...]) -> None:
    done = read_only(*command)
    if command[0] != "doctor":  # it finds nothing to fix
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
        assert "mlflow.db cannot be written" in done.stderr
    assert "Traceback" not in done.stderr
    assert "sqlalche.me" not in done.stderr
