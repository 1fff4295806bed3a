"""Real servers on loopback for tests: PostgreSQL, and an MLflow server that keeps its store there and its files in a folder."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

_PASSWORD = "only for tests"  # noqa: S105  # of a database that listens on loopback while the tests run
_SECONDS = 90


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def postgresql() -> Iterator[str]:
    """A new PostgreSQL cluster; gives the address of its database, with the password."""
    programs = _postgresql_programs()
    user = "postgres" if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root
    port = free_port()
    with tempfile.TemporaryDirectory() as name:
        folder, secret = Path(name), Path(name) / "password"
        secret.write_text(_PASSWORD)
        if user:
            shutil.chown(folder, user)
            shutil.chown(secret, user)
        log = (folder / "log").open("wb")
        begin = [f"{programs}/initdb", "--pgdata", f"{folder}/data", "--username", "mlflow", "--no-sync"]
        begin += ["--auth", "scram-sha-256", "--pwfile", str(secret)]
        subprocess.run(begin, user=user, cwd=folder, stdout=log, stderr=log, check=True)
        options = ["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-p", str(port), "-k", name]
        with (
            log,
            subprocess.Popen(
                [f"{programs}/postgres", "-D", f"{folder}/data", *options], user=user, cwd=folder, stdout=log, stderr=log
            ) as server,
        ):
            try:
                _wait(server, lambda: _ready(programs, port), folder / "log")
                yield f"postgresql://mlflow:{_PASSWORD.replace(' ', '%20')}@127.0.0.1:{port}/postgres"
            finally:
                server.terminate()


@contextmanager
def mlflow(store: str, folder: Path, *options: str) -> Iterator[str]:
    """An MLflow server over `store`; gives its address.

    It hands files through itself from `folder`, as a team's does, unless `options` say otherwise.
    """
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "2", "--host", "127.0.0.1", "--port", str(port)]
    command += options or ("--artifacts-destination", folder.as_uri())
    environment = {**os.environ, "MLFLOW_BACKEND_STORE_URI": store, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    log = folder.with_name(f"{folder.name}.log")
    with log.open("wb") as words, subprocess.Popen(command, env=environment, stdout=words, stderr=words) as server:
        try:
            _wait(server, lambda: _healthy(port), log)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


@dataclass
class Fault:
    """What is the matter with a server, until it is changed."""

    seconds: float = 0  # until each answer
    status: int = 0  # of each answer; 0: its own
    asked: int = 0  # requests so far


class _Proxy(ThreadingHTTPServer):
    """Passes requests on to `address`, with `fault`, and loses the first answer to a POST of each of `paths`."""

    def __init__(self, address: str, paths: tuple[str, ...], fault: Fault) -> None:
        super().__init__(("127.0.0.1", 0), _Passing)
        self.address, self.paths, self.fault = address, paths, fault
        self.asked: list[str] = []  # of the paths, one for each POST

    def handle_error(self, *_: object) -> None:
        """Print nothing about a client that did not wait."""

    def loses(self, path: str) -> bool:
        """Count the POST to `path`; return whether its answer is to be lost."""
        found = next((each for each in self.paths if path.endswith(each)), None)
        self.asked.extend([found] if found else [])
        return found is not None and self.asked.count(found) == 1


class Forwarding(BaseHTTPRequestHandler):
    """Handles a request by what `answer` makes of it; prints nothing."""

    def do_GET(self) -> None:
        self.answer(b"".join(chunks(self)))

    do_POST = do_PATCH = do_PUT = do_DELETE = do_GET  # noqa: N815  # the names of BaseHTTPRequestHandler

    def answer(self, body: bytes) -> None:
        raise NotImplementedError

    def send(self, status: int, headers: Message, content: bytes) -> None:
        self.send_response(status)
        for name in ("Content-Type", "X-Accel-Buffering"):
            if name in headers:
                self.send_header(name, headers[name])
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def forward(self, address: str, body: bytes) -> tuple[int, Message, bytes]:
        """Return what the server at `address` says."""
        own = ("host", "content-length", "transfer-encoding", "connection")
        headers = {name: value for name, value in self.headers.items() if name.lower() not in own}
        request = urllib.request.Request(f"{address}{self.path}", body or None, headers, method=self.command)  # noqa: S310  # http://
        try:
            answer = urllib.request.urlopen(request, timeout=60)  # noqa: S310
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            return answer.status, answer.headers, answer.read()

    def log_message(self, *_: object) -> None:
        """Print nothing."""


class _Passing(Forwarding):
    server: _Proxy

    def answer(self, body: bytes) -> None:
        fault = self.server.fault
        fault.asked += 1
        time.sleep(fault.seconds)
        found = (fault.status, Message(), b"a page of words") if fault.status else self.forward(self.server.address, body)
        if self.command == "POST" and self.server.loses(self.path):
            self.close_connection = True
        else:
            self.send(*found)


def chunks(request: BaseHTTPRequestHandler) -> Iterator[bytes]:
    """Yields the body of a request."""
    yield request.rfile.read(int(request.headers.get("Content-Length", 0)))
    chunked = "Transfer-Encoding" in request.headers
    while chunked:
        size = int(request.rfile.readline(), 16)
        yield request.rfile.read(size)
        request.rfile.readline()
        chunked = size > 0


@contextmanager
def losing_answers(address: str, *paths: str) -> Iterator[tuple[str, list[str]]]:
    """A proxy that loses the first answer to a POST of each of `paths`; gives its address, and the paths asked for."""
    with _Proxy(address, paths, Fault()) as proxy, _serving(proxy) as own:
        yield own, proxy.asked


@contextmanager
def faulty(address: str = "") -> Iterator[tuple[str, Fault]]:
    """A proxy in front of `address`; gives its own address, and its fault to change. Without `address`, give it a status."""
    fault = Fault()
    with _Proxy(address, (), fault) as proxy, _serving(proxy) as own:
        yield own, fault


@contextmanager
def _serving(proxy: _Proxy) -> Iterator[str]:
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{proxy.server_port}"
    finally:
        proxy.shutdown()


def _postgresql_programs() -> Path:
    """Where Debian keeps them is not on PATH."""
    on_path = shutil.which("initdb")
    found = [*sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb")), *([Path(on_path)] if on_path else [])]
    if not found:
        pytest.skip("needs PostgreSQL: apt install postgresql")
    return found[-1].resolve().parent


def _ready(programs: Path, port: int) -> bool:
    done = subprocess.run([programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)], check=False)
    return done.returncode == 0


def _healthy(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2):
            return True
    except (urllib.error.URLError, OSError):
        return False


def _wait(server: "subprocess.Popen[bytes]", answers: Callable[[], bool], log: Path) -> None:
    deadline = time.monotonic() + _SECONDS
    while not answers():
        assert server.poll() is None, log.read_text(errors="replace")
        assert time.monotonic() < deadline, log.read_text(errors="replace")
        time.sleep(0.2)
