"""A registered version derived once more: the whole command, on a checkout in which digits were trained."""

import json
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import tracking
from pipeline.workspace import Workspace

MODEL = "digits-classifier"
Shell = Callable[..., subprocess.CompletedProcess[str]]
pytestmark = pytest.mark.slow


def verify(shell: Shell, project: Path, wanted: str = "1", **variables: str) -> subprocess.CompletedProcess[str]:
    return shell(
        "python", "-m", "pipeline", "verify", wanted, cwd=project, check=False, TMPDIR=str(project.parent), **variables
    )


def said(done: subprocess.CompletedProcess[str]) -> str:
    """The one line of a failure."""
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def registry(project: Path) -> Any:
    return tracking.connect(Workspace(project, project))


def tags(project: Path) -> dict[str, str]:
    found: dict[str, str] = registry(project).get_model_version(MODEL, "1").tags
    return found


def stored(project: Path, path: str) -> Path:
    """Where the store keeps a file of the version's run."""
    (found,) = project.glob(f"mlartifacts/digits/*/artifacts/{path}")
    return found


def state(shell: Shell, project: Path) -> tuple[str, ...]:
    """Everything of the checkout that verify must leave alone."""
    status = shell("git", "status", "--porcelain", cwd=project).stdout
    trees = shell("git", "worktree", "list", cwd=project).stdout
    left_out = {"mlartifacts", "__pycache__"}  # the verdict goes there; Python's own
    files = sorted(
        f"{path} {path.stat().st_mtime_ns}"
        for path in project.glob("[!.]*/**/*")
        if path.is_file() and left_out.isdisjoint(path.parts)
    )
    checkpoints = sorted(map(str, project.glob(".checkpoints/*")))
    return status, trees, *files, *checkpoints


def move_on(shell: Shell, project: Path) -> None:
    """Other data settings, other code, committed, and no data/dataset any more."""
    params = project / "params.yaml"
    params.write_text(params.read_text().replace("test_fraction: 0.2", "test_fraction: 0.5").replace("seed: 42", "seed: 7"))
    (project / "pipeline" / "train" / "fit.py").write_text("raise SystemExit('moved on')\n")
    shutil.rmtree(project / "data" / "dataset")
    someone = ("-c", "user.name=somebody", "-c", "user.email=somebody@localhost")
    shell("git", *someone, "commit", "-qam", "moved on", cwd=project)


def test_after_the_tree_has_moved_on_a_version_is_bitwise_the_same_and_nothing_here_is_touched(
    registered: Path, shell: Shell
) -> None:
    move_on(shell, registered)
    before = state(shell, registered)
    done = verify(shell, registered)
    assert done.returncode == 0, done.stderr
    assert re.search(r"epoch 10/10 .* accuracy", done.stdout)
    assert "from DVC's cache, digest" in done.stdout
    assert re.search(rf"^BITWISE: {MODEL} version 1: weights \w{{12}} again, bit for bit$", done.stdout, re.MULTILINE)
    assert state(shell, registered) == before
    assert not list(registered.parent.glob("verify-*"))
    assert re.fullmatch(r"bitwise 20\d\d-\d\d-\d\dT\d\d:\d\dZ by \w+", tags(registered)["verified"])
    record = json.loads(stored(registered, "verification/1-*.json").read_text())
    assert record["outcome"] == "bitwise"
    assert {score["name"] for score in record["scores"]} >= {"accuracy", "log_loss", "calibration_error"}
    assert all(score["again"] == pytest.approx(score["recorded"]) for score in record["scores"])
    assert [run.info.status for run in registry(registered).search_runs(["1"])] == ["FINISHED"]  # its training is not there


def test_other_weights_that_are_as_good_are_statistically_the_same(registered: Path, shell: Shell) -> None:
    training = stored(registered, "provenance/training.json")
    record = json.loads(training.read_text())
    other = 1 if record["threads"] > 1 else 2  # of which both the record and the run's params speak: another order of the sums
    training.write_text(json.dumps({**record, "threads": other}))
    with closing(sqlite3.connect(registered / "mlflow.db")) as database, database:
        database.execute("update params set value = ? where key = 'threads_used'", (other,))
    done = verify(shell, registered)
    assert done.returncode == 0, done.stderr
    assert re.search(
        r"^STATISTICAL: .*: every score within its recorded interval; numbers: the weights are", done.stdout, re.MULTILINE
    )
    assert tags(registered)["verified"].startswith("statistical 20")


def test_a_version_that_began_with_the_weights_of_another_is_derived_from_that_one(registered: Path, shell: Shell) -> None:
    params = registered / "params.yaml"
    text = params.read_text().replace("epochs: 10 ", "epochs: 1 ")
    params.write_text(text.replace('warm_start: ""', "warm_start: production"))
    client = registry(registered)
    client.set_registered_model_alias(MODEL, "production", "1")
    for stage in ("train", "evaluate", "register"):
        shell("python", "-m", "pipeline", stage, cwd=registered)
    client.delete_registered_model_alias(MODEL, "production")  # it may be another one's today
    done = verify(shell, registered, "2")
    assert done.returncode == 0, done.stderr
    assert f"BITWISE: {MODEL} version 2" in done.stdout


def test_a_version_on_a_server_is_derived_from_there(registered: Path, shell: Shell, server: str) -> None:
    (registered / "mlflow.db").unlink()
    for stage in ("evaluate", "register"):  # the run is made again from the outputs
        shell("python", "-m", "pipeline", stage, cwd=registered, MLFLOW_TRACKING_URI=server)
    version = json.loads((registered / "reports/registration.json").read_text())["version"]
    done = verify(shell, registered, version, MLFLOW_TRACKING_URI=server)
    assert done.returncode == 0, done.stderr
    assert f"BITWISE: {MODEL} version {version}" in done.stdout
    assert not (registered / "mlflow.db").exists()


def test_an_altered_pixel_fails_before_training_and_is_named(registered: Path, shell: Shell) -> None:
    images = np.load(registered / "data/dataset/train/images.npy", mmap_mode="r+")
    row = int(np.load(registered / "data/dataset/train/source_index.npy")[17])
    before = int(images[17, 14, 15, 0])
    images[17, 14, 15, 0] = before ^ 1
    images.flush()
    done = verify(shell, registered)
    assert (
        f"train/images.npy row 17 (row {row} of the source) is {before ^ 1} at (14, 15, 0), not {before}; `dvc checkout"
    ) in said(done)
    assert "version 1 cannot be derived again: data: data/dataset says that it is" in done.stderr
    assert "\ntrain\n" not in done.stdout
    assert tags(registered)["verified"].startswith("failed 20")
    assert "train/images.npy row 17" in tags(registered)["verified_detail"]


def test_an_altered_param_fails_and_is_named(registered: Path, shell: Shell) -> None:
    params = stored(registered, "provenance/params.yaml")
    params.write_text(params.read_text().replace("epochs: 10 ", "epochs: 1 "))
    assert "params: train.epochs is 1 in provenance/params.yaml, 10 in provenance/training.json" in said(
        verify(shell, registered)
    )
    assert tags(registered)["verified"].startswith("failed")


def test_an_altered_record_contradicts_what_mlflow_keeps(registered: Path, shell: Shell) -> None:
    training = stored(registered, "provenance/training.json")
    training.write_text(training.read_text().replace('"seed": 42,\n      "threads"', '"seed": 43,\n      "threads"'))
    done = verify(shell, registered)
    assert "params: train.seed is 42 by the run's params, 43 by provenance/training.json" in said(done)


def test_ctrl_c_in_training_leaves_no_worktree(registered: Path, shell: Shell) -> None:
    before = state(shell, registered)
    with subprocess.Popen(
        [sys.executable, "-m", "pipeline", "verify", "1"],
        cwd=registered,
        env={**_environment(), "TMPDIR": str(registered.parent)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        assert any(line.startswith("train") for line in process.stdout)
        process.send_signal(signal.SIGINT)  # to it alone: what it started must end as well
        process.communicate()
    assert process.returncode != 0
    assert state(shell, registered) == before
    assert not list(registered.parent.glob("verify-*"))
    assert "verified" not in tags(registered)


def _environment() -> dict[str, str]:
    import os

    return {name: value for name, value in os.environ.items() if name not in ("MLFLOW_TRACKING_URI", "DVC_ROOT", "DVC_STAGE")}
