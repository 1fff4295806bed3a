"""`ui`: the MLflow UI on 127.0.0.1, opened on the runs of this data set.

The server runs in this process, on a thread: however the process is killed, no server stays behind, and the address of a
database with its password is on no command line. As MLflow knows no users here, and every user of the machine reaches
127.0.0.1, each request needs the token in the printed link, which becomes a cookie (as Jupyter does).
"""

import html
import logging
import os
import secrets
import socket
import sys
import threading
import time
import webbrowser
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline import environment, tracking
from pipeline.environment import shown_url
from pipeline.errors import TrackingError
from pipeline.project import Project
from pipeline.promotion import ledger
from pipeline.tracking import place
from pipeline.workspace import Workspace, replacing

_HOST = "127.0.0.1"
_LOG = "mlflow-server.log"
_START_SECONDS = 60
_STOP_SECONDS = 3
# workflowType: a new browser opens in the GenAI mode, which shows no runs.
_VIEW = "#/experiments/{experiment}/runs?workflowType=machine_learning&viewStateShareKey={view}"


def run(port: int, open_browser: bool, project: Project) -> None:
    """Serve the UI until Ctrl-C; where a tracking server is configured, open that one instead.

    Raises:
        TrackingError: the port is taken, or the server does not start.
    """
    workspace = project.workspace
    shown = pages(tracking.connect(workspace), project)
    uri = tracking.tracking_uri(workspace)
    if uri.startswith("http"):
        _show({title: f"{shown_url(uri).rstrip('/')}/{page}" for title, page in shown.items()})
        if open_browser:
            webbrowser.open(f"{shown_url(uri).rstrip('/')}/{shown['MLflow UI']}")
        return
    log, token = workspace.caches / _LOG, secrets.token_urlsafe()
    with _listening(port) as opened, _stderr_to(log):
        print("starting the MLflow server …", flush=True)
        with _serving(opened, uri, token, workspace) as server:
            links = {title: f"http://{_HOST}:{port}/?token={token}{page}" for title, page in shown.items()}
            _show(links)
            print(f"log: {workspace.shown(log)}\npress Ctrl-C to stop", flush=True)
            if open_browser:
                webbrowser.open(_forwarding(links["MLflow UI"], workspace.caches / "ui.html"))
            try:
                while server.is_alive():
                    server.join(1)
            except KeyboardInterrupt:
                print()


def pages(client: Any, project: Project) -> dict[str, str]:
    """Return title → what follows the server's address: the trainings, and the promotions if there are any."""
    experiment = tracking.experiment_id(client, project.workspace, project.name)
    found = {"MLflow UI": _VIEW.format(experiment=experiment, view=tracking.TRAININGS.key)}
    records = client.get_experiment_by_name(ledger.experiment_name(project.model))
    if records:
        found["promotions"] = _VIEW.format(experiment=records.experiment_id, view=tracking.PROMOTIONS.key)
    return found


@contextmanager
def _listening(port: int) -> Iterator[socket.socket]:
    with socket.socket() as opened:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            opened.bind((_HOST, port))
        except OSError as error:
            raise TrackingError(f"port {port} on {_HOST} cannot be used ({error.strerror}): choose one with --port") from None
        yield opened


@contextmanager
def _stderr_to(log: Path) -> Iterator[None]:
    """Send what the server writes on stderr to the file `log`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    sys.stderr.flush()
    terminal = os.dup(2)
    with log.open("wb") as file:
        os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(terminal, 2)
        os.close(terminal)


@contextmanager
def _serving(opened: socket.socket, uri: str, token: str, workspace: Workspace) -> Iterator[threading.Thread]:
    """Run MLflow's server for the store `uri` on a thread of this process, until the block ends."""
    from mlflow.server import constants

    artifacts = place.artifact_location(uri) or workspace.artifacts.as_uri()
    os.environ |= {
        constants.BACKEND_STORE_URI_ENV_VAR: uri,
        constants.REGISTRY_STORE_URI_ENV_VAR: uri,
        constants.ARTIFACT_ROOT_ENV_VAR: artifacts,
        constants.ARTIFACTS_DESTINATION_ENV_VAR: artifacts,
        constants.SERVE_ARTIFACTS_ENV_VAR: "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # 1 process and 0.5 GB, not 15 and 2.7 GB
    }
    with environment.loading():
        import uvicorn
        from mlflow.server.fastapi_app import app

    logging.getLogger("mlflow").setLevel(logging.ERROR)  # for the log
    guarded = _Guarded(app, token, f"pipeline-ui-{opened.getsockname()[1]}")
    # No access log: it would hold the token.
    server = uvicorn.Server(uvicorn.Config(guarded, log_config=None, access_log=False, timeout_graceful_shutdown=_STOP_SECONDS))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [opened]}, daemon=True)
    thread.start()
    deadline = time.monotonic() + _START_SECONDS
    while not server.started:
        if time.monotonic() > deadline or not thread.is_alive():
            log = workspace.shown(workspace.caches / _LOG)
            raise TrackingError(f"the MLflow server did not start within {_START_SECONDS} s: see its log {log}")
        time.sleep(0.1)
    try:
        yield thread
    finally:
        server.should_exit = True
        thread.join(2 * _STOP_SECONDS)


def _show(links: Mapping[str, str]) -> None:
    for title, link in links.items():
        print(f"{title}: {link}", flush=True)


def _forwarding(link: str, page: Path) -> str:
    """Return the address of a `page` that leads to `link`: on the command line of a browser others would see the token."""
    with replacing(page) as aside:
        aside.touch(0o600)
        aside.write_text(f'<meta http-equiv="refresh" content="0; url={html.escape(link)}">\n', encoding="utf-8")
    return page.as_uri()


class _Guarded:
    """An ASGI app that answers only those who know the token."""

    def __init__(self, app: Any, token: str, cookie: str) -> None:
        self._app, self._token, self._cookie = app, token, cookie

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        from starlette.requests import HTTPConnection
        from starlette.responses import PlainTextResponse, RedirectResponse, Response

        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        request = HTTPConnection(scope)
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        if self._is_token(request.cookies.get(self._cookie, "")) or self._is_token(bearer):
            await self._app(scope, receive, send)
            return
        response: Response = PlainTextResponse("Open the link that `python -m pipeline ui` printed: it holds a token.", 403)
        if self._is_token(request.query_params.get("token", "")):
            response = RedirectResponse(request.url.path, 303)  # a browser keeps the part behind #
            response.set_cookie(self._cookie, self._token, httponly=True, samesite="lax")
        await response(scope, receive, send)

    def _is_token(self, text: str) -> bool:
        return secrets.compare_digest(text.encode(), self._token.encode())
