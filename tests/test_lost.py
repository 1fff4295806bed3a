"""The notice that the registry lacks what reports/registration.json names."""

import json
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from pipeline import lost
from pipeline.workspace import Workspace, write_text

LACKS = "the registry lacks version 2 of toys-classifier, which reports/registration.json names: "


@pytest.fixture
def registered(workspace: Workspace) -> Workspace:
    """A checkout whose last model became version 2, without a store."""
    content = {"model_name": "toys-classifier", "version": "2", "weights_digest": "abc"}
    write_text(workspace.registration, json.dumps(content))
    return workspace


def add(database: Path, stage: str = "None", digest: str = "abc") -> None:
    with closing(sqlite3.connect(database)) as opened, opened:
        opened.execute("create table model_versions (name, version, current_stage)")
        opened.execute("create table model_version_tags (name, version, key, value)")
        opened.execute("insert into model_versions values ('toys-classifier', 2, ?)", (stage,))
        opened.execute("insert into model_version_tags values ('toys-classifier', 2, 'weights_digest', ?)", (digest,))


def test_a_lost_database_is_noticed_with_the_way_that_helps(registered: Workspace) -> None:
    assert lost.notice(registered) == f"{LACKS}`dvc repro -s -f register` registers it again"
    write_text(registered.registry / "toys-classifier/version-2.json", "{}")
    assert lost.notice(registered) == f"{LACKS}`python -m pipeline sync` publishes it again"


@pytest.mark.parametrize(
    ("stage", "digest", "lacks"),
    [("None", "abc", False), ("Production", "abc", False), ("Deleted_Internal", "abc", True), ("None", "of another", True)],
)
def test_a_version_counts_where_it_is_the_same_model(registered: Workspace, stage: str, digest: str, lacks: bool) -> None:
    add(registered.database, stage, digest)
    assert lost.notice(registered).startswith(LACKS) is lacks


@pytest.mark.parametrize(
    "content", ['{"version": null}', "[]", "{", '{"model_name": "x/../y", "version": "1", "weights_digest": ""}', "[" * 10**5]
)
def test_where_nothing_was_registered_nothing_is_said(registered: Workspace, content: str) -> None:
    write_text(registered.registration, content)
    assert lost.notice(registered) == ""


def test_a_database_that_cannot_be_read_is_for_others_to_report(registered: Workspace) -> None:
    registered.database.write_text("no database, whatever its name says" * 100)
    assert lost.notice(registered) == ""


@contextmanager
def answering(status: int, body: str, delay: float = 0) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            time.sleep(delay)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(
    ("status", "body", "lacks"),
    [
        (200, '{"model_version": {}}', False),
        (404, '{"error_code": "RESOURCE_DOES_NOT_EXIST"}', True),
        (404, "<html>another server</html>", False),
        (401, "", False),
        (500, "RESOURCE_DOES_NOT_EXIST", False),
    ],
)
def test_a_server_is_asked_for_the_version(
    registered: Workspace, status: int, body: str, lacks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with answering(status, body) as address:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        assert lost.notice(registered).startswith(LACKS) is lacks


def test_a_server_that_is_slow_or_away_costs_no_time(registered: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(404, "RESOURCE_DOES_NOT_EXIST", delay=1) as address:
        for uri in (address, "http://127.0.0.1:9", "http://[", "postgresql://host/db"):
            monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
            start = time.monotonic()
            assert lost.notice(registered) == ""
            assert time.monotonic() - start < 0.5


def test_no_library_is_loaded(registered: Workspace) -> None:
    code = "import runpy, sys; runpy.run_module('pipeline.lost', run_name='__main__'); print(sorted({m.split('.')[0] for m in "
    code += "sys.modules} & {'mlflow', 'numpy', 'pydantic', 'typer', 'tensorflow'}))"
    environment = {"PYTHONPATH": str(Path(__file__).parents[1]), "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=registered.root, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [f"note: {LACKS}`dvc repro -s -f register` registers it again", "[]"]
