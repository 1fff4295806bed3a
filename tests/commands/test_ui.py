"""`python -m pipeline ui` as a person starts it, looked at with a real browser."""

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

pytestmark = pytest.mark.slow
_QUIET_BROWSER = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def served(built: Path) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """The running command, and the address it prints."""
    command = [sys.executable, "-m", "pipeline", "ui", "--no-browser", "--port", str(free_port())]
    with subprocess.Popen(command, cwd=built, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline(), process.stdout.readline()]
        try:
            yield process, lines[1].removeprefix("MLflow UI: ").strip()
        finally:
            process.kill()


def listening(process: "subprocess.Popen[str]") -> set[str]:
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    return {c.laddr.ip for p in family for c in p.net_connections("tcp") if c.status == psutil.CONN_LISTEN}


def test_it_serves_this_experiments_runs_on_loopback_only(served: tuple["subprocess.Popen[str]", str]) -> None:
    process, address = served
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/#/experiments/\d+/runs\?workflowType=machine_learning", address)
    host, experiment = address.split("/#")[0], address.split("/")[5]
    question = json.dumps({"experiment_ids": [experiment]}).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{host}/api/2.0/mlflow/runs/search", question, headers)  # noqa: S310  # our own http://
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310  # our own http://
        runs = json.load(answer)["runs"]
    assert [run["info"]["status"] for run in runs] == ["FINISHED"]
    assert listening(process) == {"127.0.0.1"}


def test_a_browser_shows_the_runs_and_the_report(
    served: tuple["subprocess.Popen[str]", str], tmp_path: Path, built: Path
) -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("needs Chromium: apt install chromium")

    def page(address: str, words: str) -> str:
        """What the browser shows once it shows `words`."""
        shown = ""
        for attempt in range(3):
            command = [chromium, *_QUIET_BROWSER, f"--user-data-dir={tmp_path}/{attempt}", "--virtual-time-budget=30000"]
            done = subprocess.run([*command, "--dump-dom", address], capture_output=True, text=True, timeout=120, check=False)
            shown = done.stdout
            if words in shown:
                break
        return shown

    _, address = served
    training_id = json.loads((built / "models/training.json").read_text())["training_id"]
    assert f"notebook-{training_id[:8]}" in page(address, "notebook-")
    model = f"{address.split('/#')[0]}/#/models/digits-classifier/versions/1"
    assert "The gate it passed" in page(model, "The gate it passed")


def test_ctrl_c_ends_it_and_its_server(served: tuple["subprocess.Popen[str]", str]) -> None:
    process, _ = served
    family = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 0
    deadline = time.monotonic() + 15
    while any(child.is_running() for child in family) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(child.is_running() for child in family)


def test_a_taken_port_is_one_line_with_the_way_out(built: Path, shell: Callable[..., Any]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        command = ("python", "-m", "pipeline", "ui", "--no-browser", "--port", str(port))
        done = shell(*command, cwd=built, check=False)
    assert done.returncode == 1
    assert done.stderr == f"error: port {port} on 127.0.0.1 cannot be used (Address already in use): choose one with --port\n"
