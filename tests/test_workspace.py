import errno
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from pipeline.errors import MissingInputError, PipelineError
from pipeline.workspace import Workspace, full_disk, replacing, replacing_folder


def test_it_is_found_from_a_folder_inside(workspace: Workspace) -> None:
    inside = workspace.root / "data" / "deep"
    inside.mkdir(parents=True)
    assert Workspace.find(inside) == workspace


def test_outside_a_checkout_says_so(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"no dvc\.yaml"):
        Workspace.find(tmp_path)


def test_a_temporary_experiment_keeps_its_home(
    workspace: Workspace, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path_factory.mktemp("project")
    monkeypatch.setenv("DVC_ROOT", str(project))
    monkeypatch.setenv("DVC_STAGE", "train")
    found = Workspace.find(workspace.root)
    assert found.model.is_relative_to(workspace.root)
    assert found.database == project / "mlflow.db"


def test_a_stage_before_its_input_names_the_stage_that_makes_it(workspace: Workspace) -> None:
    with pytest.raises(MissingInputError, match=r"data/dataset does not exist yet: the ingest stage makes it"):
        workspace.need(workspace.dataset, "ingest")


def test_an_interrupted_file_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), replacing(path) as aside:
        aside.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_killed_processes_left_beside_is_removed_and_what_runs_is_not(tmp_path: Path) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    (tmp_path / f".mlflow.db.{dead.pid}.part.db").touch()
    (tmp_path / f".mlflow.db.{dead.pid}.part.db-journal").touch()
    (tmp_path / f".mlflow.db.{os.getppid()}.part.db").touch()
    (tmp_path / f".dataset.{dead.pid}.x7.part").mkdir()
    (tmp_path / f".dataset.{dead.pid}.x7.part/images.npy").touch()
    with replacing(tmp_path / "mlflow.db") as aside:
        aside.touch()
    with replacing_folder(tmp_path / "dataset"):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == [f".mlflow.db.{os.getppid()}.part.db", "dataset", "mlflow.db"]


@pytest.mark.parametrize("said", [OSError(errno.ENOSPC, "No space left on device"), OSError("Detail: no space left")])
def test_a_full_disk_names_the_file_that_was_to_be_written(tmp_path: Path, said: OSError) -> None:
    with pytest.raises(OSError, match=r"(?i)no space left") as error, replacing(tmp_path / "table.parquet"):
        raise said
    assert (error.value.filename, error.value.errno) == (str(tmp_path / "table.parquet"), said.errno)
    assert not list(tmp_path.iterdir())
    with pytest.raises(FileNotFoundError) as other, replacing(tmp_path / "table.parquet"):
        (tmp_path / "input.csv").read_text(encoding="utf-8")
    assert other.value.filename == str(tmp_path / "input.csv")


FULL = "No space left on device"


@pytest.mark.parametrize(
    ("error", "folder"),
    [
        (OSError(errno.ENOSPC, FULL, "{root}/models/model.keras"), "models"),
        (OSError(errno.ENOSPC, FULL, "{root}/elsewhere/report.html", None, "{root}/reports/report.html"), "reports"),
        (OSError(errno.ENOSPC, FULL, "{root}/.checkpoints/0a/epoch-1.npz"), ".checkpoints"),
        (OSError(errno.EDQUOT, "Disk quota exceeded", "{root}/data/dataset"), "data"),
        (OSError("1295 requested and 992 written"), "reports"),  # NumPy's
        (OSError(errno.EACCES, "Permission denied", "{root}/models/model.keras"), ""),
        (RuntimeError("(sqlite3.OperationalError) database or disk is full"), "reports"),
        (RuntimeError("database is locked"), ""),
    ],
)
def test_a_full_disk_is_told_by_its_folder(
    workspace: Workspace, error: Exception, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in (workspace.model, workspace.report, workspace.checkpoints / "a", workspace.dataset):
        path.parent.mkdir(parents=True, exist_ok=True)
    free = {workspace.root / "reports": 20_000}
    monkeypatch.setattr("shutil.disk_usage", lambda path: shutil._ntuple_diskusage(10**10, 0, free.get(path, 10**9)))
    if isinstance(error, OSError) and error.filename:
        names = [name and name.format(root=workspace.root) for name in (error.filename, error.filename2)]
        error = OSError(error.errno, error.strerror, names[0], None, names[1])
    try:
        try:
            raise error
        except (OSError, RuntimeError):
            raise PipelineError("the files cannot be written") from None
    except PipelineError as outer:
        line = full_disk(outer, workspace)
    space = "0.0" if folder == "reports" else "1,000.0"
    assert line == (
        f"{folder} cannot be written: its disk is full ({space} MB are free, more are needed): free some space, then run the "
        "same command again"
        if folder
        else ""
    )


def test_the_full_disk_of_a_server_is_none_of_ours(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: shutil._ntuple_diskusage(10**10, 0, 10**9))
    workspace.report.parent.mkdir()
    assert not full_disk(RuntimeError("500: No space left on device"), workspace)


def test_an_interrupted_folder_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "dataset"
    path.mkdir()
    (path / "old").touch()
    with pytest.raises(KeyboardInterrupt), replacing_folder(path) as aside:
        (aside / "half").touch()
        raise KeyboardInterrupt
    assert [entry.name for entry in path.iterdir()] == ["old"]
    assert list(tmp_path.iterdir()) == [path]


def test_a_finished_folder_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "dataset"
    path.mkdir()
    (path / "old").touch()
    with replacing_folder(path) as aside:
        (aside / "new").touch()
    assert [entry.name for entry in path.iterdir()] == ["new"]


def test_a_file_that_cannot_be_replaced_is_named_as_the_user_knows_it(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="Read-only") as error, replacing(tmp_path / "report.html") as aside:
        raise OSError(errno.EROFS, "Read-only file system", str(aside))
    assert error.value.filename == str(tmp_path / "report.html")
