"""Checkouts in which something is about to go wrong: one state after each command, made once and copied for each fault."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests import servers
from tests.faults.facts import Facts
from tests.faults.outage import Proxy

PROJECT = Path(__file__).parents[2]
PARAMS = PROJECT / "tests/params.yaml"
NAME = "few-digits"
_PROMOTE = "python -m pipeline promote"


@dataclass(frozen=True)
class State:
    """A state of a checkout and its store: where it comes from, and the command that leads to it."""

    before: str
    command: str


STATES: Mapping[str, State] = {
    "empty": State("", ""),
    "ingested": State("empty", "dvc repro ingest"),
    "validated": State("ingested", "dvc repro validate"),
    "trained": State("validated", "dvc repro train"),
    "evaluated": State("trained", "dvc repro evaluate"),
    "registered": State("evaluated", "dvc repro"),
    "staged": State("registered", f"{_PROMOTE} 1 staging"),
    "produced": State("staged", f"{_PROMOTE} 1 production"),
    "two": State("produced", "dvc repro"),
    "two staged": State("two", f"{_PROMOTE} 2 staging"),
    "replaced": State("two staged", f"{_PROMOTE} 2 production --force --reason test"),
    "rolled back": State("replaced", "python -m pipeline rollback"),
    "three": State("replaced", "dvc repro"),
    "lost": State("three", "rm mlflow.db"),
    "synced": State("lost", "python -m pipeline sync"),
}
_SEEDS = {"two": 43, "three": 44}  # of the trainings that follow the first
_SETTINGS = {
    "dataset: fashion-mnist": "dataset: npz",
    "source: data/source": "source: data/source.npz",
    'name: ""': f"name: {NAME}",
    "image_size: 28": "image_size: 16",
    "threads: 0": "threads: 1",
    "epochs: 3\n      batch_size: 250": "epochs: 3\n      batch_size: 32",
    "architecture: notebook": "architecture: sprint",
}
_LIMITS = ("baseline_significance", "min_accuracy", "min_class_recall", "max_calibration_error", "min_slice_accuracy")


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    code: int
    output: str
    seconds: float


class Laboratory:
    """A place for one checkout and its store: SQLite in the checkout, or a server behind a proxy."""

    def __init__(self, folder: Path, programs: Path, served: bool) -> None:
        self.place, self._states, self._programs, self._served = folder / "place", folder / "states", programs, served
        self._at_home()
        self.state = ""  # in which it was entered
        self.proxy: Proxy | None = None
        self.seconds: dict[str, float] = {}  # that the command which led to a state took
        self._known: dict[str, Facts] = {}
        self._states.mkdir(parents=True)

    def _at_home(self) -> None:
        self.project = self.place / "project"
        self.database = self.place / "server/mlflow.db" if self._served else self.project / "mlflow.db"
        self.variables: dict[str, str] = {}  # of the user's commands

    def enter(self, state: str) -> None:
        """Put the checkout and its store as they are in `state`."""
        self._at_home()
        self.state = state
        shutil.rmtree(self.place, ignore_errors=True)
        if not (self._states / state).exists():
            self._make(state)
        else:
            subprocess.run(["cp", "-a", "--reflink=auto", self._states / state, self.place], check=True)

    def _make(self, state: str) -> None:
        if state == "empty":
            self._new_checkout()
        else:
            self.enter(STATES[state].before)
            if state in _SEEDS:
                params = self.project / "params.yaml"
                params.write_text(
                    re.sub(r"(?m)^  seed: (?!42.*splits)\d+(?=.*weights)", f"  seed: {_SEEDS[state]}", params.read_text())
                )
            with self.serving():
                done = self.run(
                    STATES[state].command, FAULT=json.dumps({"command": _command(state), "log": str(self.writes(state))})
                )
            assert done.code == 0, done.output
            self.seconds[state] = done.seconds
        subprocess.run(["cp", "-a", "--reflink=auto", self.place, self._states / state], check=True)

    def _new_checkout(self) -> None:
        self.project.mkdir(parents=True)
        (self.place / "server").mkdir()
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=PROJECT, capture_output=True, text=True, check=True).stdout
        unused = ("tests/", "docs/", "benchmarks/")
        for name in filter(lambda name: name and not name.startswith(unused) and (PROJECT / name).exists(), listed.split("\0")):
            (self.project / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(PROJECT / name, self.project / name)
        text = PARAMS.read_text()
        for old, new in _SETTINGS.items():
            assert old in text, old
            text = text.replace(old, new)
        for limit in _LIMITS:
            text = re.sub(rf"{limit}: [\d.]+", f"{limit}: null", text)
        (self.project / "params.yaml").write_text(text)
        _write_images(self.project / "data/source.npz")
        for command in ("init -q -b main", "add -A", "-c user.name=a -c user.email=a@b commit -q -m new"):
            subprocess.run(["git", *command.split()], cwd=self.project, check=True)

    def writes(self, state: str) -> Path:
        """The file with the names of the writes to MLflow on the way to `state`."""
        return self._states / f"{state}.writes"

    @contextmanager
    def serving(self, artifacts: str = "", always: bool = False) -> Iterator[None]:
        """Keep the server up, if the store is one, or `always`; with `artifacts` it is to write files where it cannot."""
        if not (self._served or always):
            yield
            return
        port, folder = servers.free_port(), self.place / "server"
        command = [str(self._programs / "python"), "-m", "mlflow", "server", "--workers", "1", "--port", str(port)]
        command += ["--artifacts-destination", artifacts or (folder / "artifacts").as_uri(), "--host", "127.0.0.1"]
        variables = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        variables["MLFLOW_BACKEND_STORE_URI"] = f"sqlite:///{self.database}"
        with (
            (self.place / "server.log").open("ab") as log,
            subprocess.Popen(command, env=variables, stdout=log, stderr=log, process_group=0) as server,
            Proxy(f"http://127.0.0.1:{port}") as self.proxy,
        ):
            try:
                _wait(f"http://127.0.0.1:{port}/health")
                yield
            finally:
                self.proxy = None
                os.killpg(server.pid, signal.SIGKILL)

    def start(self, command: str, folder: Path | None = None, **variables: str) -> "subprocess.Popen[str]":
        """Start a command of the user's, as the leader of a process group."""
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW", "DVC", "MPL", "KERAS"))
        }
        if self.proxy:
            inherited["MLFLOW_TRACKING_URI"] = self.proxy.address
        inherited |= self.variables
        path = f"{self._programs}{os.pathsep}{Path(shutil.which('python') or '').parent}{os.pathsep}{os.environ['PATH']}"
        return subprocess.Popen(
            shlex.split(command),
            cwd=folder or self.project,
            env={**inherited, "PATH": path, "DVC_SITE_CACHE_DIR": str(self.project / ".cache/dvc"), **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            process_group=0,
        )

    def run(self, command: str, folder: Path | None = None, **variables: str) -> Done:
        """Run a command of the user's to its end."""
        begun = time.monotonic()
        process = self.start(command, folder, **variables)
        output = process.communicate(timeout=300)[0]
        return Done(process.returncode, output, time.monotonic() - begun)

    def set_params(self, **values: object) -> None:
        """Write values into the checkout's params.yaml, each the first of its name."""
        path = self.project / "params.yaml"
        text = path.read_text()
        for name, value in values.items():
            text = re.sub(rf"(?m)^( +{name}: )\S+", rf"\g<1>{value}", text, count=1)
        path.write_text(text)

    def shell(self, line: str) -> Done:
        """Run a line as it stands in a message."""
        return self.run(f"sh -c {shlex.quote(line)}")

    def usual(self, command: str) -> float:
        """Return how many seconds the command takes when nothing goes wrong."""
        return next(
            (self.seconds[state] for state, each in STATES.items() if each.command == command and state in self.seconds), 3.0
        )

    def watched(self, command: str) -> tuple[str, list[str]]:
        """Return the name of the command whose writes are counted, and those that it makes when nothing goes wrong."""
        state = next(state for state, each in STATES.items() if each.command == command and self.writes(state).exists())
        return _command(state), self.writes(state).read_text().splitlines()

    def facts(self) -> Facts:
        """What checkout and store hold now."""
        done = self.run(f"python -m tests.faults.facts {self.project} {self.database}", MLFLOW_LOGGING_LEVEL="CRITICAL")
        assert done.code == 0, done.output
        found: Facts = json.loads(done.output.splitlines()[-1])
        return found

    def expected(self, state: str) -> Facts:
        """What they hold in `state`, where nothing went wrong."""
        if state not in self._known:
            self.enter(state)
            self._known[state] = self.facts()
        return self._known[state]


def _command(state: str) -> str:
    words = STATES[state].command.split()
    return words[3] if words[0] == "python" else words[2] if words[2:] else "register"


def _write_images(path: Path) -> None:
    """Real images: the digits 0, 1 and 2, of 8 × 8 pixels."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    few = np.concatenate([np.flatnonzero(digits.target == label)[:100] for label in range(3)])
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, x_train=(digits.images[few] * 15.9).astype(np.uint8), y_train=digits.target[few])


def _wait(address: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(address, timeout=2):  # noqa: S310  # our own http://
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    raise TimeoutError(address)
