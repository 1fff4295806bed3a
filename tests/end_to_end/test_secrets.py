"""A password and tokens in each place where a user may put one, looked for in all that a run of the pipeline leaves behind."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from mlflow import MlflowClient
from mlflow.entities import ViewType

MARK = "S3CRET" * 3  # written so that this file does not hold it
pytestmark = pytest.mark.exhaustive


@contextmanager
def watched() -> Iterator[list[str]]:
    """Collects the command lines of all processes that hold the mark."""
    found: list[str] = []
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.2):
            lines = (" ".join(each.info["cmdline"] or ()) for each in psutil.process_iter(["cmdline"]))
            found.extend(line for line in lines if MARK in line)

    thread = threading.Thread(target=watch)
    thread.start()
    yield found
    ended.set()
    thread.join()


def holding(root: Path) -> list[Path]:
    """The files below `root` that hold the mark."""
    return [path for path in root.rglob("*") if path.is_file() and MARK.encode() in path.read_bytes()]


def test_no_secret_of_an_address_is_in_any_output_file_tag_or_command_line(
    built_copy: Path, shell: Callable[..., Any], server: str
) -> None:
    """The store is reached with a password, which this server ignores; it is lost while train, evaluate and register run."""
    secret = {
        "MLFLOW_TRACKING_URI": server.replace("//", f"//me:{MARK}@"),
        "DATASET_MIRROR": f"http://me:{MARK}@127.0.0.1:9/a?sig={MARK}#{MARK}",
        "MLFLOW_TRACKING_TOKEN": f"{MARK}token",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    lost = {**secret, "MLFLOW_TRACKING_URI": f"http://me:{MARK}@127.0.0.1:9/x?token={MARK}"}
    printed = []
    with watched() as commands:
        for arguments, variables in (
            (("dvc", "repro", "-f"), secret),
            (("python", "-m", "pipeline", "versions"), secret),
            (("python", "-m", "pipeline", "promote", "1", "staging"), secret),
            (("python", "-m", "pipeline", "history"), secret),
            (("python", "-m", "pipeline", "doctor"), secret),
            (("python", "-m", "pipeline", "ui", "--no-browser"), secret),
            (("python", "-m", "pipeline", "train"), lost),
            (("python", "-m", "pipeline", "evaluate"), lost),
            (("python", "-m", "pipeline", "register"), lost),
            (("python", "-m", "pipeline", "run", "--dataset", "fashion-mnist"), lost),
        ):
            done = shell(*arguments, cwd=built_copy, check=False, **variables)
            printed.append(f"{arguments}: {done.returncode}\n{done.stdout}{done.stderr}")
    text = "\n".join(printed)
    assert "does not answer" in text
    assert [line for line in text.splitlines() if MARK in line] == []
    assert "Traceback" not in text
    assert commands == []
    assert holding(built_copy) == []
    client = MlflowClient(server, server)
    runs = client.search_runs([each.experiment_id for each in client.search_experiments()], run_view_type=ViewType.ALL)
    assert runs
    assert MARK not in str([run.to_dictionary() for run in runs])
