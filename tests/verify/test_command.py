"""Verify a version as its users do, in a checkout in which digits were trained."""

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline import provenance, tracking
from pipeline.errors import RegistryError
from pipeline.tracking import find_version, manifest, training_record
from pipeline.verify import rebuild
from pipeline.workspace import Workspace
from tests.tracking.model_files import stored_files

MODEL = "digits-classifier"
Shell = Callable[..., subprocess.CompletedProcess[str]]
pytestmark = pytest.mark.slow


def verify(
    shell: Shell, project: Path, wanted: str = "1", *options: str, confirmed: bool = True, **variables: str
) -> subprocess.CompletedProcess[str]:
    command = ["python", "-m", "pipeline", "verify", wanted, *(["--yes"] if confirmed else []), *options]
    return shell(*command, cwd=project, check=False, TMPDIR=str(project.parent), **variables)


def error_of(done: subprocess.CompletedProcess[str]) -> str:
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
    paths = [*project.glob("[!.]*/**/*"), *project.glob(".dvc/**/*")]
    files = sorted(f"{path} {path.stat().st_mtime_ns}" for path in paths if path.is_file() and left_out.isdisjoint(path.parts))
    checkpoints = sorted(map(str, project.glob(".checkpoints/*")))
    return status, trees, *files, *checkpoints


def change_everything(shell: Shell, project: Path) -> None:
    """Commit other data params and other code, and remove data/dataset and dvc.lock."""
    params = project / "params.yaml"
    params.write_text(params.read_text().replace("test_fraction: 0.2", "test_fraction: 0.5").replace("seed: 42", "seed: 7"))
    (project / "pipeline" / "train" / "fit.py").write_text("raise SystemExit('changed')\n")
    shutil.rmtree(project / "data" / "dataset")
    (project / "dvc.lock").unlink()
    someone = ("-c", "user.name=somebody", "-c", "user.email=somebody@localhost")
    shell("git", *someone, "commit", "-qam", "everything changed", cwd=project)


def test_after_everything_has_changed_a_version_is_reproduced_bitwise_and_the_checkout_is_not_touched(
    registered: Path, shell: Shell
) -> None:
    change_everything(shell, registered)
    before = state(shell, registered)
    done = verify(shell, registered)
    assert done.returncode == 0, done.stderr
    assert re.match(
        rf"rebuilding {MODEL} version 1 in a temporary folder: this runs its recorded code\n"
        r"code +commit \w{12} and \d+ lines of uncommitted changes, of params\.yaml\n"
        r"data +DVC's cache, digest \w{12}\nvalidate +[\d.]+ s\n",
        done.stdout,
    )
    assert re.search(r"^epoch 10/10 .* accuracy", done.stdout, re.MULTILINE)
    last = done.stdout.splitlines()[-1]
    assert re.fullmatch(
        rf"bitwise: {MODEL} version 1 was reproduced: its weights \(\w{{12}}\), files and predictions for 359 images are equal",
        last,
    )
    assert "359 of 359 predictions are equal; 0 images only" in done.stdout
    assert state(shell, registered) == before
    assert not list(registered.parent.glob("verify-*"))
    assert re.fullmatch(r"bitwise 20\d\d-\d\d-\d\dT\d\d:\d\dZ by \w+", tags(registered)["verified"])
    record = json.loads(stored(registered, "verification/1-*.json").read_text())
    assert record["outcome"] == "bitwise"
    assert {score["name"] for score in record["scores"]} >= {"accuracy", "log_loss", "calibration_error"}
    assert all(score["rebuilt"] == pytest.approx(score["recorded"]) for score in record["scores"])
    assert [run.info.status for run in registry(registered).search_runs(["1"])] == ["FINISHED"]  # its training is not there


@pytest.mark.exhaustive
def test_other_weights_with_scores_as_good_are_statistical(registered: Path, shell: Shell) -> None:
    training = stored(registered, "provenance/training.json")
    record = json.loads(training.read_text())
    other = 1 if record["threads"] > 1 else 2  # in the record and in the run's params: another order of the sums
    training.write_text(json.dumps({**record, "threads": other}))
    with closing(sqlite3.connect(registered / "mlflow.db")) as database, database:
        database.execute("update params set value = ? where key = 'threads_used'", (other,))
    done = verify(shell, registered)
    assert done.returncode == 0, done.stderr
    assert re.search(
        r"^statistical: .*: \d+ of 359 predictions are equal; .*; results: the weights are", done.stdout, re.MULTILINE
    )
    assert tags(registered)["verified"].startswith("statistical 20")


@pytest.mark.exhaustive
def test_a_version_that_started_from_another_ones_weights_is_rebuilt_from_that_one(registered: Path, shell: Shell) -> None:
    params = registered / "params.yaml"
    text = params.read_text().replace("epochs: 10 ", "epochs: 1 ").replace('warm_start: ""', "warm_start: production")
    params.write_text(text.replace("baseline_significance: 0.05", "baseline_significance: null"))  # an epoch may lose to it
    client = registry(registered)
    client.set_registered_model_alias(MODEL, "production", "1")
    for stage in ("train", "evaluate", "register"):
        shell("python", "-m", "pipeline", stage, cwd=registered)
    client.delete_registered_model_alias(MODEL, "production")  # it may be another version's today
    done = verify(shell, registered, "2")
    assert done.returncode == 0, done.stderr
    assert f"bitwise: {MODEL} version 2" in done.stdout


def test_the_parent_of_a_version_is_found_in_the_worktree_by_an_alias(registered: Path, tmp_path: Path) -> None:
    client = registry(registered)
    parent = training_record(client, find_version(client, MODEL, "1"))
    digest = parent.weights_digest
    here, there = Workspace(registered, registered), Workspace(tmp_path / "worktree", tmp_path / "worktree")
    child = provenance.read_training(here.training)
    began = {"model_name": MODEL, "version": "1", "training_id": parent.training_id, "weights_digest": digest}
    rebuild.lend_parent(client, child, there)
    assert not there.root.exists()  # it started from scratch
    rebuild.lend_parent(client, replace(child, warm_start=began), there)
    lent = tracking.connect(there)
    found = find_version(lent, MODEL, "parent")
    assert (found.version, training_record(lent, found)) == ("1", parent)
    with tracking.model_folder(lent, found) as folder:
        assert (folder / "data/model.keras").read_bytes() == (
            stored_files(client, MODEL, "1") / "data/model.keras"
        ).read_bytes()
    registry(registered)  # the store of this process again
    with pytest.raises(RegistryError, match=rf"started from weights f{{12}}, but {MODEL} version 1 now has {digest[:12]}"):
        rebuild.lend_parent(client, replace(child, warm_start={**began, "weights_digest": "f" * 64}), there)


@pytest.mark.exhaustive
def test_a_version_on_a_server_is_rebuilt_from_there(registered: Path, shell: Shell, server: str) -> None:
    (registered / "mlflow.db").unlink()
    shell("python", "-m", "pipeline", "sync", cwd=registered, MLFLOW_TRACKING_URI=server)
    version = json.loads((registered / "reports/registration.json").read_text())["version"]
    done = verify(shell, registered, version, MLFLOW_TRACKING_URI=server)
    assert done.returncode == 0, done.stderr
    assert f"bitwise: {MODEL} version {version}" in done.stdout
    assert not (registered / "mlflow.db").exists()


def test_an_altered_pixel_fails_before_training_and_is_named(registered: Path, shell: Shell) -> None:
    images = np.load(registered / "data/dataset/train/images.npy", mmap_mode="r+")
    row = int(np.load(registered / "data/dataset/train/source_index.npy")[17])
    before = int(images[17, 14, 15, 0])
    images[17, 14, 15, 0] = before ^ 1
    images.flush()
    done = verify(shell, registered)
    assert (
        f"train/images.npy row 17 (source row {row}) is {before ^ 1} at (14, 15, 0), not {before}; run `rm -rf"
    ) in error_of(done)
    assert "version 1 was not reproduced: data: data/dataset claims digest" in done.stderr
    assert "epoch" not in done.stdout
    assert tags(registered)["verified"].startswith("failed 20")
    assert "train/images.npy row 17" in tags(registered)["verified_detail"]


def test_without_a_terminal_changes_that_no_branch_holds_are_not_run_unless_confirmed(registered: Path, shell: Shell) -> None:
    training = stored(registered, "provenance/training.json")
    record = json.loads(training.read_text())
    head = "diff --git a/pipeline/a.py b/pipeline/a.py\nnew file mode 100644\n"
    record["git"]["diff"] += f"{head}--- /dev/null\n+++ b/pipeline/a.py\n@@ -0,0 +1 @@\n+raise SystemExit('run')\n"
    training.write_text(json.dumps(record))
    done = verify(shell, registered, confirmed=False)
    assert re.match(
        r"error: verify would run commit \w{12} and \d+ lines of uncommitted changes, of params\.yaml, pipeline/a\.py, code "
        r"that no branch or tag of this clone holds: look at git\.diff in provenance/training\.json of run \w+, then confirm",
        error_of(done),
    )
    assert "data " not in done.stdout
    assert "verified" not in tags(registered)


@pytest.mark.exhaustive
def test_an_altered_param_fails_and_is_named(registered: Path, shell: Shell) -> None:
    params = stored(registered, "provenance/params.yaml")
    params.write_text(params.read_text().replace("epochs: 10 ", "epochs: 1 "))
    error = error_of(verify(shell, registered))
    assert "params: train.epochs is 1 in provenance/params.yaml, 10 in provenance/training.json" in error
    assert tags(registered)["verified"].startswith("failed")


def test_an_altered_record_that_contradicts_mlflow_fails_before_training(registered: Path, shell: Shell) -> None:
    training = stored(registered, "provenance/training.json")
    training.write_text(training.read_text().replace('"seed": 42,\n      "threads"', '"seed": 43,\n      "threads"'))
    done = verify(shell, registered)
    assert "params: train.seed is 42 in MLflow, 43 in provenance/training.json" in error_of(done)
    assert "epoch" not in done.stdout


@pytest.mark.exhaustive
def test_a_limit_that_was_changed_before_an_interrupted_training_resumed_is_told(registered: Path, shell: Shell) -> None:
    params = stored(registered, "provenance/params.yaml")
    params.write_text(re.sub("min_images: +50", "min_images: 51", params.read_text()))
    done = verify(shell, registered)
    assert done.returncode == 0, done.stderr
    assert "note: validate.min_images is 51 in provenance/params.yaml, 50 in provenance/training.json; it cannot" in done.stdout
    assert "\nbitwise: " in done.stdout


@pytest.mark.exhaustive
def test_forged_predictions_and_an_mlmodel_of_another_kind_are_named(registered: Path, shell: Shell) -> None:
    path = stored(registered, "evaluation/predictions.parquet")
    frame = pd.read_parquet(path)
    frame[["0", "1"]] = frame[["1", "0"]].to_numpy()
    frame.to_parquet(path, index=False)
    error = error_of(verify(shell, registered))
    assert re.search(
        r"results: evaluation/predictions\.parquet on the run differs from what the version predicts for \d+ of", error
    )
    client = registry(registered)
    folder = stored_files(client, MODEL, "1")
    (folder / "requirements.txt").write_text("mlflow==3.17.2\nevil==1.0\n")
    client.set_model_version_tag(MODEL, "1", manifest.MANIFEST, manifest.of(folder))
    assert "was not reproduced: files: requirements.txt is not as registered" in error_of(verify(shell, registered))


@pytest.mark.exhaustive
def test_ctrl_c_in_training_leaves_no_worktree(registered: Path, shell: Shell) -> None:
    before = state(shell, registered)
    with subprocess.Popen(
        [sys.executable, "-m", "pipeline", "verify", "1", "-y"],
        cwd=registered,
        env={**_environment(), "TMPDIR": str(registered.parent)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        assert any(line.startswith("epoch") for line in process.stdout)
        process.send_signal(signal.SIGINT)  # to it alone: what it started must end as well
        process.communicate()
    assert process.returncode != 0
    assert state(shell, registered) == before
    assert not list(registered.parent.glob("verify-*"))
    assert "verified" not in tags(registered)


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in ("MLFLOW_TRACKING_URI", "DVC_ROOT", "DVC_STAGE")}
