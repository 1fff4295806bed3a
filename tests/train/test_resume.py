"""An interrupted training resumes after its last finished epoch, and ends with the same weights, bit for bit."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline import params as params_module
from pipeline import provenance, tracking
from pipeline.params import TrainParams
from pipeline.train import checkpoint, stage
from pipeline.workspace import Workspace
from tests.train.recipes import SHORT, changed, whole

PROJECT = Path(__file__).parents[2]
EPOCHS = 40  # some seconds, so that there are several checkpoints, a second apart


def edit(workspace: Workspace, epochs: int) -> None:
    """Write `epochs` into the notebook's recipe in params.yaml."""
    text = workspace.params.read_text()
    workspace.params.write_text(text.replace("      epochs: 10 ", f"      epochs: {epochs} ", 1))


def start(workspace: Workspace) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "pipeline", "train"]
    variables = {**os.environ, "PYTHONPATH": str(PROJECT)}
    return subprocess.Popen(
        command, cwd=workspace.root, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finish(workspace: Workspace) -> None:
    """Train to the end, in this process."""
    stage.run(params_module.load(workspace.params), workspace)


def reached(workspace: Workspace, epochs: int) -> bool:
    """Return whether there is a checkpoint of so many epochs or more."""
    return any(path.stem >= f"epoch-{epochs:06d}" for path in workspace.checkpoints.glob("*/epoch-*.npz"))


def kill_after(workspace: Workspace, epochs: int, delay: float) -> None:
    """Kill a training that has finished `epochs` epochs, `delay` seconds later."""
    process = start(workspace)
    deadline = time.monotonic() + 120
    while not reached(workspace, epochs):
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)
    time.sleep(delay)
    process.kill()
    process.communicate()


def runs(workspace: Workspace) -> Any:
    client = tracking.connect(workspace)
    return client, client.search_runs([tracking.experiment_id(client, workspace, "digits")])


@pytest.mark.slow
def test_killed_twice_it_ends_with_the_same_weights_in_the_same_run(
    ready: Workspace, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    edit(ready, EPOCHS)
    folder = tmp_path / "undisturbed"
    shutil.copytree(ready.root, folder, ignore=shutil.ignore_patterns("undisturbed"))
    undisturbed = Workspace(folder, folder)
    finish(undisturbed)
    assert "resumes" not in capfd.readouterr().out
    kill_after(ready, 1, 0.0)
    kill_after(ready, 4, 0.11)
    finish(ready)
    assert "resumes after epoch" in capfd.readouterr().out
    assert ready.model.read_bytes() == undisturbed.model.read_bytes()
    client, found = runs(ready)
    assert [run.info.status for run in found] == ["FINISHED"]
    steps = [metric.step for metric in client.get_metric_history(found[0].info.run_id, "train/loss")]
    assert sorted(steps) == list(range(1, EPOCHS + 1))


def test_a_finished_training_that_dvc_forgot_trains_no_epoch(
    trained: Workspace, trained_copy: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained_copy.model.unlink()
    trained_copy.training.unlink()
    monkeypatch.setattr("pipeline.train.fit._run_epoch", None)  # an epoch would fail
    stage.run(whole(SHORT), trained_copy)
    assert trained_copy.model.read_bytes() == trained.model.read_bytes()
    assert trained_copy.training.read_bytes() == trained.training.read_bytes()
    assert trained_copy.history.read_bytes() == trained.history.read_bytes()
    (before,), (after,) = runs(trained)[1], runs(trained_copy)[1]
    assert (after.info.start_time, after.info.end_time) == (before.info.start_time, before.info.end_time)
    assert after.data.metrics["train/loss"] == before.data.metrics["train/loss"]


@pytest.mark.parametrize("damage", [b"", b"not a zip file", None])
def test_a_damaged_checkpoint_costs_one_epoch_and_one_line(
    trained: Workspace, trained_copy: Workspace, damage: bytes | None, capfd: pytest.CaptureFixture[str]
) -> None:
    last = sorted(trained_copy.checkpoints.glob("*/epoch-*.npz"))[-1]
    content = last.read_bytes()
    middle = len(content) // 2
    last.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :] if damage is None else damage)
    stage.run(whole(SHORT), trained_copy)
    captured = capfd.readouterr()
    assert captured.err.count("\n") == 1
    assert captured.err.startswith(f"warning: {last.name} is damaged (")
    assert "resumes after epoch 1/2" in captured.out
    assert trained_copy.model.read_bytes() == trained.model.read_bytes()


def test_another_training_deletes_the_checkpoints_of_a_finished_one_and_keeps_two_of_its_own(trained_copy: Workspace) -> None:
    (first,) = (path for path in trained_copy.checkpoints.iterdir() if path.is_dir())
    stage.run(whole(changed(SHORT, epochs=3)), trained_copy)
    (second,) = (path for path in trained_copy.checkpoints.iterdir() if path.is_dir())
    assert first != second
    assert [path.name for path in sorted(second.glob("epoch-*"))] == [
        "epoch-000001.npz",
        "epoch-000003.npz",
    ]


def test_the_checkpoints_of_a_training_in_progress_are_kept(tmp_path: Path) -> None:
    with checkpoint.locked(tmp_path, "one", 0) as one, checkpoint.locked(tmp_path, "two", 0):
        assert one.exists()
    with checkpoint.locked(tmp_path, "two", 0):
        assert not one.exists()


def kept(checkpoints: Path) -> set[str]:
    return {path.name for path in checkpoints.iterdir() if path.is_dir()}


def test_the_latest_unfinished_trainings_are_kept_and_finished_ones_go(tmp_path: Path) -> None:
    for number, name in enumerate(("a", "b", "c", "finished", "d", "no epoch")):
        with checkpoint.locked(tmp_path, name, 9) as folder:
            if name != "no epoch":
                checkpoint.save(folder, [], [{}])
            if name == "finished":
                checkpoint.finish(folder)
        os.utime(folder, (number, number))
    with checkpoint.locked(tmp_path, "e", 3):
        assert kept(tmp_path) == {"b", "c", "d", "e"}
    with checkpoint.locked(tmp_path, "b", 0):
        assert kept(tmp_path) == {"b"}


CODE = b"""
'A module.'
LIMIT = 3
'What a constant means.'


def double(value):
    return 2 * value
"""


def test_comments_docstrings_and_layout_do_not_change_what_code_does() -> None:
    commented = CODE.replace(b"A module", b"Another").replace(b"LIMIT = 3", b"LIMIT = (3)  # of them\n\n\n")
    commented = commented.replace(b"(value):", b"(\n    value,\n):\n    # twice\n    'Return it twice.'")
    assert checkpoint.instructions(commented) == checkpoint.instructions(CODE)


@pytest.mark.parametrize("change", [(b"3", b"4"), (b"LIMIT = 3", b"LIMIT = 3.0"), (b"2 *", b"2 +"), (b"= 3", b"= '3'")])
def test_a_changed_constant_or_operation_changes_what_code_does(change: tuple[bytes, bytes]) -> None:
    assert checkpoint.instructions(CODE.replace(*change)) != checkpoint.instructions(CODE)


def test_a_comment_in_its_code_leaves_the_key_of_a_training(
    params: TrainParams, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = shutil.copytree(Path(checkpoint.__file__).parent, tmp_path / "train")
    monkeypatch.setattr(checkpoint, "_CODE", (package,))
    before = checkpoint.key(params, "data", 2)
    code = (package / "augment.py").read_text()
    (package / "augment.py").write_text(f"# A comment.\n{code}")
    assert checkpoint.key(params, "data", 2) == before
    (package / "augment.py").write_text(f"{code}\nMORE = 1\n")
    assert checkpoint.key(params, "data", 2) != before


@pytest.mark.parametrize(
    ("change", "value"),
    [("epochs", 7), ("batch_size", 65), ("learning_rate", 0.1), ("dropout", 0.1), ("ema", 0.5), ("calibrate", True)],
)
def test_the_key_covers_all_that_determines_the_weights(params: TrainParams, change: str, value: float) -> None:
    known = checkpoint.key(params, "data", 2)
    assert checkpoint.key(params, "data", 2) == known
    assert checkpoint.key(changed(params, **{change: value}), "data", 2) != known
    assert checkpoint.key(params, "other data", 2) != known
    assert checkpoint.key(params, "data", 3) != known
    assert checkpoint.key(params, "data", 2, "other first weights") != known
    assert checkpoint.key(params.model_copy(update={"seed": 7}), "data", 2) != known
    assert checkpoint.key(params.model_copy(update={"keep_checkpoints": 0}), "data", 2) == known
    other_recipe = params.recipes.model_copy(update={"large": params.recipes.sprint.model_copy(update={"epochs": 77})})
    assert checkpoint.key(params.model_copy(update={"recipes": other_recipe}), "data", 2) == known


@pytest.mark.slow
@pytest.mark.exhaustive
def test_two_at_once_train_once(ready: Workspace) -> None:
    edit(ready, EPOCHS)
    both = [start(ready), start(ready)]
    printed = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], printed
    assert sum("another process runs the same training: waiting for it" in err for _, err in printed) == 1
    _, found = runs(ready)
    assert len(found) == 1


@pytest.mark.slow
def test_sigterm_ends_the_run_as_killed(ready: Workspace) -> None:
    edit(ready, 500)
    process = start(ready)
    while not reached(ready, 2):
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode != 0
    assert err == ""
    assert [run.info.status for run in runs(ready)[1]] == ["KILLED"]


@pytest.mark.slow
def test_a_stage_ends_when_its_dvc_is_killed(built_copy: Path, shell: Callable[..., Any]) -> None:
    import psutil

    edit(Workspace(built_copy, built_copy), 500)
    variables = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    # Ctrl-C ignored, as a shell's script starts its background jobs.
    command = ["sh", "-c", 'trap "" INT; exec "$0" -m dvc repro train', sys.executable]
    before = {*built_copy.glob(".checkpoints/*/epoch-*.npz")}
    dvc = subprocess.Popen(command, cwd=built_copy, env=variables, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not {*built_copy.glob(".checkpoints/*/epoch-*.npz")} - before and time.monotonic() < deadline:
        time.sleep(0.05)
    stages = [child for child in psutil.Process(dvc.pid).children(recursive=True) if "pipeline" in child.cmdline()]
    assert len(stages) >= 1
    dvc.kill()
    dvc.wait()
    _, alive = psutil.wait_procs(stages, timeout=25)  # parent.py ends it the hard way after 30 s
    assert alive == []
    assert "KILLED" in [run.info.status for run in runs(Workspace(built_copy, built_copy))[1]]
    assert json.loads(shell("dvc", "status", "--json", cwd=built_copy).stdout)["train"]


def test_a_record_and_a_plan_read_back(trained: Workspace) -> None:
    (plan,) = trained.checkpoints.glob("*/plan.json")
    record = provenance.read_training(trained.training)
    assert provenance.read(provenance.TrainingPlan, plan).training_id == record.training_id
