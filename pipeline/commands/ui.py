"""`ui`: the MLflow UI on 127.0.0.1, opened on the runs of this data set."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import webbrowser
from collections.abc import Mapping
from typing import Any

from pipeline import tracking
from pipeline.errors import TrackingError
from pipeline.project import Project
from pipeline.promotion import ledger

_HOST = "127.0.0.1"
_START_SECONDS = 60
# workflowType: a new browser opens in the GenAI mode, which shows no runs.
_VIEW = "/#/experiments/{experiment}/runs?workflowType=machine_learning&viewStateShareKey={view}"


def run(port: int, open_browser: bool, project: Project) -> None:
    """Serve the UI until Ctrl-C; where a tracking server is configured, open that one instead.

    Raises:
        TrackingError: the port is taken, or the server does not start.
    """
    shown = pages(tracking.connect(project.workspace), project)
    uri = tracking.tracking_uri(project.workspace)
    if uri.startswith("http"):
        _show(uri.rstrip("/"), shown, open_browser)
        return
    _check_free(port)
    path = project.workspace.caches / "mlflow-server.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    print("starting the MLflow server …", flush=True)
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri, "--workers", "1", "--host", _HOST]
    command += ["--port", str(port), "--default-artifact-root", project.workspace.artifacts.as_uri()]
    lean = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # 2 processes and 0.5 GB, not 15 and 2.7 GB
    with path.open("wb") as log, subprocess.Popen(command, env=lean, stdout=log, stderr=log) as server:
        try:
            _wait(server, f"http://{_HOST}:{port}/health", project.workspace.shown(path))
            _show(f"http://{_HOST}:{port}", shown, open_browser)
            print(f"log: {project.workspace.shown(path)}\npress Ctrl-C to stop", flush=True)
            server.wait()
        except KeyboardInterrupt:
            print()
        finally:
            server.terminate()


def pages(client: Any, project: Project) -> dict[str, str]:
    """Return title → path on the server: the trainings, and the promotions if there are any."""
    experiment = tracking.experiment_id(client, project.workspace, project.name)
    found = {"MLflow UI": _VIEW.format(experiment=experiment, view=tracking.TRAININGS.key)}
    records = client.get_experiment_by_name(ledger.experiment_name(project.model))
    if records:
        found["promotions"] = _VIEW.format(experiment=records.experiment_id, view=tracking.PROMOTIONS.key)
    return found


def _check_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError as error:
            raise TrackingError(f"port {port} on {_HOST} cannot be used ({error.strerror}): choose one with --port") from None


def _wait(server: "subprocess.Popen[bytes]", health: str, log: str) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(health, timeout=2):  # noqa: S310  # our own http:// address
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise TrackingError(f"the MLflow server did not start within {_START_SECONDS} s: see its log {log}")


def _show(server: str, pages: Mapping[str, str], open_browser: bool) -> None:
    for title, page in pages.items():
        print(f"{title}: {server}{page}", flush=True)
    if open_browser:
        webbrowser.open(server + next(iter(pages.values())))
