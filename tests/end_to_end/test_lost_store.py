"""A store that was away, or is gone: the next command completes the run, and the version can be promoted."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest

from tests import servers
from tests.conftest import Shell

pytestmark = pytest.mark.exhaustive
FORCED = ("dvc", "repro", "-s", "-f")


@pytest.fixture
def sqlite_server() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "files"
        folder.mkdir()
        with servers.mlflow(f"sqlite:///{name}/store.db", folder) as address:
            yield address


def run_of_digits(client: Any) -> Any:
    (run,) = client.search_runs([client.get_experiment_by_name("digits").experiment_id])
    return run


@pytest.mark.parametrize("status", [500, 401])
def test_register_publishes_the_evaluation_that_evaluate_could_not(
    built_copy: Path, sqlite_server: str, shell: Shell, status: int
) -> None:
    with servers.faulty(sqlite_server) as (address, fault):
        fault.status = status
        store = {"MLFLOW_TRACKING_URI": address, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
        evaluated = shell(*FORCED, "evaluate", cwd=built_copy, **store)
        assert "The files are written; `dvc repro -s -f register` publishes them once the store answers" in evaluated.stderr
        assert shell(*FORCED, "register", cwd=built_copy, check=False, **store).returncode != 0
        fault.status = 0
        shell(*FORCED, "register", cwd=built_copy, **store)
        client = mlflow.MlflowClient(address, address)
        run = run_of_digits(client)
        assert len(run.data.metrics) > 40
        assert run.info.status == "FINISHED"
        assert "% accuracy" in run.data.tags["mlflow.note.content"]
        assert len(client.list_artifacts(run.info.run_id, "evaluation")) > 18
        assert "no problems found" in shell("python", "-m", "pipeline", "doctor", cwd=built_copy, **store).stdout
        shell("python", "-m", "pipeline", "promote", "1", "staging", cwd=built_copy, **store)


def test_a_run_made_again_from_the_outputs_has_its_evaluation_and_can_be_promoted(built_copy: Path, shell: Shell) -> None:
    shutil.rmtree(built_copy / "mlartifacts", ignore_errors=True)
    assert not (built_copy / "mlflow.db").exists()
    shell(*FORCED, "register", cwd=built_copy)
    client = mlflow.MlflowClient(f"sqlite:///{built_copy}/mlflow.db")
    assert len(run_of_digits(client).data.metrics) > 40
    promoted = shell("python", "-m", "pipeline", "promote", "1", "staging", cwd=built_copy)
    assert "version 1" in promoted.stdout
