"""Whole checkouts that are moved, copied, or share a store, and one in a folder with every troublesome character."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.tracking import place
from tests.conftest import Shell
from tests.end_to_end.test_digits import edit, ran

pytestmark = pytest.mark.exhaustive
FIX = "`python -m pipeline doctor --fix`"


@pytest.fixture
def first(built: Path, tmp_path: Path) -> Path:
    """A checkout with version 1 in production, as if it had been built where it is."""
    folder = tmp_path / "first"
    shutil.copytree(built, folder, ignore=shutil.ignore_patterns("__pycache__"), symlinks=True)
    (found,) = place.elsewhere(folder / "mlflow.db")
    place.relocate(found).unlink()
    return folder


@pytest.fixture
def pipeline(shell: Shell) -> Callable[..., str]:
    """Runs `python -m pipeline …` in a folder and returns what it printed."""

    def run(folder: Path, *command: str, fails: bool = False, **variables: str) -> str:
        done = shell("python", "-m", "pipeline", *command, cwd=folder, check=not fails, **variables)
        assert (done.returncode == 1) == fails
        return done.stdout + done.stderr

    return run


def files(folder: Path) -> dict[str, bytes]:
    found = [folder / "mlflow.db", *sorted((folder / "mlartifacts").rglob("*"))]
    return {str(path.relative_to(folder)): path.read_bytes() for path in found if path.is_file()}


def train_again(folder: Path, shell: Shell, **variables: str) -> None:
    params = folder / "params.yaml"
    params.write_text(params.read_text().replace("seed: 42", "seed: 43"))  # of the split, too: its model passes the gate
    shell("dvc", "repro", cwd=folder, **variables)
    assert json.loads((folder / "reports/registration.json").read_text())["version"] == "2"


STOPPING = [
    *(["versions"], ["history"], ["promote", "1", "staging"], ["rollback"], ["archive", "1"], ["compare", "1", "1"]),
    *(["verify", "1"], ["train"], ["evaluate"], ["register"], ["run"], ["ui", "--no-browser"]),
]


def test_a_moved_checkout_works_after_one_command(first: Path, shell: Shell, pipeline: Callable[..., str]) -> None:
    for stage in ("staging", "production"):
        pipeline(first, "promote", "1", stage)
    second = first.rename(first.with_name("second"))
    before = files(second)
    for command in STOPPING:
        (line,) = pipeline(second, *command, fails=True).splitlines()
        assert line.startswith(
            f"error: the tracking store {second}/mlflow.db records files in {first}/mlartifacts, which is gone"
        )
        assert FIX in line
    assert FIX in pipeline(second, "doctor", fails=True)
    assert files(second) == before
    assert "no problems found" in pipeline(second, "doctor", "--fix")
    assert ran(shell("dvc", "repro", cwd=second).stdout) == []
    assert shell("dvc", "status", cwd=second).stdout == "Data and pipelines are up to date.\n"
    assert "was reproduced: its weights" in pipeline(second, "verify", "1", "--yes")
    train_again(second, shell)
    pipeline(second, "promote", "2", "staging")
    pipeline(second, "promote", "2", "production", "--force", "--reason", "test")
    assert "version 1" in pipeline(second, "rollback")
    assert "no problems found" in pipeline(second, "doctor")
    assert not first.exists()


def test_training_in_a_copy_leaves_the_original_as_it_was(first: Path, shell: Shell, pipeline: Callable[..., str]) -> None:
    second, before = first.with_name("second"), files(first)
    shutil.copytree(first, second, symlinks=True)
    done = shell("dvc", "exp", "run", "-S", "train.seed=44", cwd=second, check=False)
    assert FIX in done.stderr
    assert "which still exists" in done.stderr
    shutil.copy(first / "params.yaml", second)
    pipeline(second, "doctor", "--fix")
    train_again(second, shell)
    pipeline(second, "promote", "2", "staging")
    assert files(first) == before
    shutil.rmtree(first)
    assert "no problems found" in pipeline(second, "doctor")


def test_of_two_clones_that_share_a_database_the_first_can_be_deleted(
    built: Path, tmp_path: Path, shell: Shell, pipeline: Callable[..., str]
) -> None:
    shared = {"MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/shared/mlflow.db"}
    first, second = tmp_path / "first", tmp_path / "second"
    for clone in (first, second):
        shutil.copytree(built, clone, ignore=shutil.ignore_patterns("mlflow.db*", "mlartifacts", "__pycache__"), symlinks=True)
    shell("dvc", "repro", "-s", "-f", "register", cwd=first, **shared)
    for stage in ("staging", "production"):
        pipeline(first, "promote", "1", stage, **shared)
    shutil.rmtree(first)
    train_again(second, shell, **shared)
    pipeline(second, "promote", "2", "staging", **shared)
    pipeline(second, "promote", "2", "production", "--force", "--reason", "test", **shared)
    assert "version 1" in pipeline(second, "rollback", **shared)
    assert "no problems found" in pipeline(second, "doctor", **shared)
    assert not (second / "mlartifacts").exists()
    assert [each.name for each in (tmp_path / "shared/mlartifacts").iterdir()] == ["digits"]


def test_a_checkout_runs_in_a_folder_with_every_character(
    tmp_path: Path, new_clone: Callable[[Path], Path], shell: Shell, pipeline: Callable[..., str]
) -> None:
    folder = new_clone(tmp_path / '100% a%20b #1 what? it\'s "ü" & [x];$y')
    edit(folder / "params.yaml", "dataset: fashion-mnist", "dataset: digits")
    shell("dvc", "repro", cwd=folder)
    pipeline(folder, "promote", "1", "staging")
    assert "no problems found" in pipeline(folder, "doctor")
    assert list(tmp_path.iterdir()) == [folder]
