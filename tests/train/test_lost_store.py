"""A training whose tracking store is slow, hangs, is locked, or keeps files elsewhere: it trains, and is published later."""

import re
import sqlite3
import time
from contextlib import closing
from dataclasses import replace

import pytest

from pipeline import tracking
from pipeline.errors import UnreachableError
from pipeline.params import TrackingParams
from pipeline.train import stage
from pipeline.workspace import Workspace
from tests import servers
from tests.train.recipes import SHORT, whole

pytestmark = [pytest.mark.exhaustive, pytest.mark.slow]
LIMITS = TrackingParams(seconds_per_epoch=1, seconds_per_stage=4)


def train(workspace: Workspace) -> float:
    """Trains two epochs; gives the seconds that it takes."""
    started = time.monotonic()
    stage.run(replace(whole(SHORT), tracking=LIMITS), workspace)
    assert workspace.training.exists()
    return time.monotonic() - started


def assert_is_published(workspace: Workspace) -> None:
    """Publishes the training, which must then be complete."""
    client, run_id = tracking.published_run(workspace)
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert len(client.get_metric_history(run_id, "train/loss")) == 2
    assert tracking.logged_model(client, run.info.experiment_id, run_id)


@pytest.mark.parametrize("seconds", [2, 1000])
def test_a_store_that_is_slow_or_hangs_costs_a_training_little(
    ready: Workspace, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], seconds: float
) -> None:
    quick = train(ready)
    for made in (ready.training, ready.checkpoints):
        made.rename(made.with_name("earlier"))
    store = f"sqlite:///{ready.root / 'server.db'}"
    with servers.mlflow(store, ready.root / "files") as server, servers.faulty(server) as (address, fault):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        fault.seconds = seconds
        assert train(ready) < quick + LIMITS.seconds_per_stage + 10
        warned = capfd.readouterr().err
        assert warned.count("is too slow, or hangs: this stage has waited 4 s for it") == 1
        fault.seconds = 0
        assert_is_published(ready)


def test_where_only_the_server_can_write_its_files_it_trains_and_the_advice_works(
    ready: Workspace, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    closed = ready.root / "closed"
    closed.write_text("not a folder, so that not even root can write there")
    store, files = f"sqlite:///{ready.root / 'server.db'}", ready.root / "files"
    with servers.mlflow(store, files, "--default-artifact-root", str(closed)) as address:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        train(ready)
        message = (
            rf"the tracking store {re.escape(address)} has a folder for files that cannot be written here \(.+: {closed}\S*\)"
        )
        (line,) = [line for line in capfd.readouterr().err.splitlines() if line.startswith("warning: the tracking")]
        assert re.match(rf"warning: {message}: start the server with `--artifacts-destination` in place of", line)
        with pytest.raises(UnreachableError, match=f"^{message}"):
            tracking.published_run(ready)
    with servers.mlflow(store, files, "--artifacts-destination", str(files)) as address:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        client = tracking.connect(ready)
        client.rename_experiment(client.get_experiment_by_name("digits").experiment_id, "digits before")
        assert_is_published(ready)


def test_a_training_during_which_another_program_locks_the_database(ready: Workspace) -> None:
    with closing(sqlite3.connect(ready.database)) as other:
        other.execute("begin exclusive")
        train(ready)
    assert_is_published(ready)
