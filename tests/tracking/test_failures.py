"""Stores that fail for real: each is one line with what happened and a way out, and nothing is written to them."""

import errno
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from mlflow.exceptions import MlflowException
from mlflow.store.db.base_sql_model import Base as _  # noqa: F401  # the tables of the newest version
from mlflow.store.db.utils import _get_alembic_config
from mlflow.store.tracking.dbmodels.initial_models import Base as FirstTables
from sqlalchemy import create_engine

from pipeline import tracking
from pipeline.errors import TrackingError, UnreachableError
from pipeline.tracking.failures import explained, is_lost
from pipeline.workspace import Workspace
from tests import servers

UNKNOWN = ("failed", "look")


def one_line(workspace: Workspace, what: str) -> str:
    """Connects, which must fail with `what`; gives the message."""
    with pytest.raises(TrackingError, match=what) as error:
        tracking.connect(workspace)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("status", "what", "way_out"),
    [
        (401, "refuses the login (error code 401)", "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"),
        (403, "does not let this user in (error code 403)", "ask who runs it"),
        (404, "is no MLflow server (error code 404)", "correct MLFLOW_TRACKING_URI"),
        (200, "is no MLflow server (not in a valid JSON format)", "correct MLFLOW_TRACKING_URI"),
        (500, "has an error of its own (too many 500 error responses)", "see its log"),
        (507, "has a full disk (error code 507)", "free some space there"),
    ],
)
def test_a_server_that_does_not_do_it_says_why(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, status: int, what: str, way_out: str
) -> None:
    with servers.faulty() as (address, fault):
        fault.status = status
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        message = one_line(workspace, "tracking store")
    assert message.startswith(f"the tracking store {address} {what}: {way_out}")


def test_a_host_that_is_not_found_is_not_one_that_is_down(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracker.invalid:5000")
    one_line(workspace, r"^the tracking store http://tracker.invalid:5000 cannot be found \(.+\): correct the host")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{servers.free_port()}")
    one_line(workspace, r"^the tracking store \S+ does not answer \(Connection refused\): start it")


def test_a_server_that_hangs_is_cut_off(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    with servers.faulty() as (address, fault):
        fault.status, fault.seconds = 500, 5
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        one_line(workspace, r"^the tracking store \S+ does not answer in time \(timed out\): see whether it hangs")


def test_a_file_that_is_no_database(workspace: Workspace) -> None:
    workspace.database.write_text("not a database, but long enough to be read as one " * 20)
    one_line(workspace, r"mlflow\.db is damaged \(file is not a database\): move the file away, or restore a copy")


def test_a_database_that_is_damaged_inside(workspace: Workspace, client: Any) -> None:
    del client
    content = bytearray(workspace.database.read_bytes())
    content[100:4096] = b"\xff" * 3996
    workspace.database.write_bytes(content)
    one_line(workspace, r"mlflow\.db is damaged \(database disk image is malformed\): move the file away")


def test_the_database_of_another_program_is_left_as_it_is(workspace: Workspace) -> None:
    with closing(sqlite3.connect(workspace.database)) as database, database:
        database.execute("create table bookmarks (url text)")
    before = workspace.database.read_bytes()
    for create in (False, True):
        with pytest.raises(TrackingError, match=r"^sqlite:\S+mlflow\.db is the database of another program \(bookmarks …\)"):
            tracking.connect(workspace, create=create)
    assert workspace.database.read_bytes() == before


def test_an_empty_file_is_no_store_for_who_reads_and_a_new_one_for_who_writes(workspace: Workspace) -> None:
    workspace.database.touch()
    one_line(workspace, r"^there is no tracking store at mlflow\.db: `python -m pipeline run` creates it$")
    assert workspace.database.stat().st_size == 0


def test_a_database_of_a_newer_mlflow(workspace: Workspace, client: Any) -> None:
    del client
    with closing(sqlite3.connect(workspace.database)) as database, database:
        database.execute("update alembic_version set version_num = 'ffffffffffff'")
    one_line(workspace, r"mlflow\.db was written by an MLflow newer than [\d.]+, which cannot read it: install that version")


@pytest.mark.exhaustive
def test_a_database_of_an_older_mlflow_is_upgraded_by_the_command_in_the_message(workspace: Workspace) -> None:
    uri = f"sqlite:///{workspace.database}"
    engine = create_engine(uri)
    FirstTables.metadata.create_all(engine)
    command.upgrade(_get_alembic_config(uri), "cc1f77228345")  # MLflow 1.23
    engine.dispose()
    before = workspace.database.read_bytes()
    message = one_line(workspace, r"mlflow\.db was written by an MLflow older than [\d.]+: copy the database, then `mlflow db")
    assert workspace.database.read_bytes() == before
    advice = message.split("`")[1].split()
    assert advice[0] == "mlflow"
    subprocess.run([sys.executable, "-m", *advice], check=True, capture_output=True)
    assert tracking.connect(workspace).get_experiment_by_name("Default")


def test_a_database_that_another_program_locks_names_it(
    workspace: Workspace, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    del client
    monkeypatch.setattr("pipeline.tracking.database._PATIENCE", 0.2)
    holding = (
        f"import sqlite3; c = sqlite3.connect({str(workspace.database)!r}); c.execute('begin exclusive'); print(1); input()"
    )
    command = [sys.executable, "-c", holding]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout
        other.stdout.readline()
        locked = rf"mlflow\.db is locked by another program \(database is locked, \S+ {other.pid}\): wait for it, or end it"
        one_line(workspace, locked)
        other.terminate()
    assert tracking.connect(workspace)


def test_a_store_that_breaks_midway_is_one_line(workspace: Workspace, client: Any) -> None:
    tracking.experiment_id(client, workspace, "toys")
    for file in workspace.root.glob("mlflow.db*"):
        file.write_bytes(b"no database")
    message = r"mlflow\.db is damaged \(file is not a database\): move the file away"
    with pytest.raises(UnreachableError, match=message) as error, tracking.store_guard(workspace):
        client.get_registered_model("toys-classifier")
    assert "\n" not in str(error.value)


def test_a_store_that_may_not_be_written_says_so(workspace: Workspace) -> None:
    message = r"mlflow\.db cannot be written \(readonly database\): get the right to write it"
    with pytest.raises(UnreachableError, match=message), tracking.store_guard(workspace):
        raise MlflowException("(sqlite3.OperationalError) attempt to write a readonly database")


def test_a_folder_of_a_server_that_only_the_server_can_write(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.write_text("no folder")
    with pytest.raises(NotADirectoryError) as error:
        (closed / "1").mkdir()
    message = str(explained("http://host:5000", error.value, UNKNOWN))
    assert message.startswith(
        f"the tracking store http://host:5000 has a folder for files that cannot be written here ({'Not a'}"
    )
    assert f": {closed}/1): start the server with `--artifacts-destination`" in message


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "has a full disk (No space left on device)"),
        (MlflowException("(sqlite3.OperationalError) database or disk is full"), "has a full disk (database or disk is full)"),
        (MlflowException("words " * 100), f"failed ({'words ' * 33}…)"),
        (ModuleNotFoundError("No module named 'boto3'"), "needs another Python package (No module named 'boto3')"),
    ],
)
def test_a_reason_is_named_and_a_long_one_ends_with_a_word(error: Exception, reason: str) -> None:
    assert f" {reason}: " in str(explained("sqlite:///x.db", error, UNKNOWN))


def test_a_mistake_of_the_program_is_no_lost_store() -> None:
    assert not any(map(is_lost, (TypeError(), KeyError(), AssertionError(), ValueError(), TrackingError())))
    assert all(map(is_lost, (MlflowException("x"), UnreachableError(), shutil.Error(), PermissionError(), sqlite3.Error())))


def test_a_copy_that_failed_names_the_file_that_was_to_be_written() -> None:
    uri, full = "sqlite:////project/mlflow.db", "No space left on device"
    of_one = OSError(errno.ENOSPC, full, "/temporary/model.keras", None, "/project/mlartifacts/model.keras")
    of_many = shutil.Error([("/temporary/MLmodel", "/project/mlartifacts/MLmodel", f"[Errno 28] {full}")])
    for error, file in ((of_one, "model.keras"), (of_many, "MLmodel")):
        message = str(explained(uri, error, ("failed", "try again")))
        assert f"has a full disk ({full}: /project/mlartifacts/{file}): free some space there" in message
        assert "/temporary" not in message
