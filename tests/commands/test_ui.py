"""`python -m pipeline ui` as a user starts it, and its pages in a real browser."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

import psutil
import pytest

from tests.servers import free_port, postgresql

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.slow
PATIENCE = 30_000  # milliseconds, on a machine that does other things
COLUMNS = ("test/accuracy", "weakest_class", "test/weakest_class_recall", "fit_seconds", "parameters", "train.architecture")


@contextmanager
def serving(checkout: Path, **variables: str) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """The running command, and the address that it prints."""
    command = [sys.executable, "-m", "pipeline", "ui", "--no-browser", "--port", str(free_port())]
    outputs: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "env": {**os.environ, **variables}}
    with subprocess.Popen(command, cwd=checkout, **outputs) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline(), process.stdout.readline()]
        try:
            yield process, lines[1].removeprefix("MLflow UI: ").strip()
        finally:
            process.kill()


@pytest.fixture
def served(built: Path) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    with serving(built) as running:
        yield running


def listening(process: "subprocess.Popen[str]") -> set[str]:
    connections = psutil.Process(process.pid).net_connections("tcp")
    return {each.laddr.ip for each in connections if each.status == psutil.CONN_LISTEN}


def asked(url: str, *headers: tuple[str, str], body: bytes | None = None) -> tuple[int, bytes]:
    request = urllib.request.Request(url, body, {"Content-Type": "application/json", **dict(headers)})  # noqa: S310  # http://
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310  # our own http://
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_it_serves_this_experiments_runs_on_loopback_to_who_has_the_link_until_ctrl_c(
    served: tuple["subprocess.Popen[str]", str],
) -> None:
    process, address = served
    view = "workflowType=machine_learning&viewStateShareKey=trainings"
    matched = re.fullmatch(rf"(http://127\.0\.0\.1:\d+)/\?token=([\w-]{{43}})#/experiments/(\d+)/runs\?{view}", address)
    assert matched
    host, token, experiment = matched.groups()
    question = json.dumps({"experiment_ids": [experiment]}).encode()
    search = f"{host}/api/2.0/mlflow/runs/search"
    for headers in (
        [],
        [("Authorization", "Bearer x")],
        [("Cookie", f"{cookie_name(host)}=x")],
        [("Authorization", "Basic eDp4")],
    ):
        status, answer = asked(search, *headers, body=question)
        assert (status, answer[:13]) == (403, b"Open the link")
    assert asked(f"{host}/?token=x")[0] == asked(f"{host}/ajax-api/2.0/mlflow/experiments/get?experiment_id=0")[0] == 403
    for header in (("Authorization", f"Bearer {token}"), ("Cookie", f"{cookie_name(host)}={token}")):
        status, answer = asked(search, header, body=question)
        assert [run["info"]["status"] for run in json.loads(answer)["runs"]] == ["FINISHED"]
    assert listening(process) == {"127.0.0.1"}
    assert psutil.Process(process.pid).children() == []  # so that nothing stays behind, however it is killed
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 0


def cookie_name(host: str) -> str:
    return f"pipeline-ui-{host.rpartition(':')[2]}"


@pytest.mark.exhaustive
def test_a_killed_one_leaves_no_server_and_a_databases_password_is_in_no_command_line_and_no_output(built: Path) -> None:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    with ExitStack() as stack:
        store = stack.enter_context(postgresql())
        SqlAlchemyStore(store, (built / "mlartifacts").as_uri()).engine.dispose()  # `ui` makes no store
        process, address = stack.enter_context(serving(built, MLFLOW_TRACKING_URI=store))
        password = unquote(urlsplit(store).password or "")
        host = address.partition("/?")[0]
        assert asked(f"{host}/health")[0] == 403
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        commands = [" ".join(each.cmdline()) for each in family]
        assert not [line for line in commands if password in line or quote(password) in line or "token=" in line]
        assert password not in (built / ".cache/mlflow-server.log").read_text()
        process.kill()
        process.wait()
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", urlsplit(host).port or 0)) != 0


@pytest.mark.exhaustive
def test_a_browser_shows_runs_data_sets_report_and_version(
    served: tuple["subprocess.Popen[str]", str], built: Path, open_mlflow: Callable[..., Any], screenshots: Path
) -> None:
    _, address = served
    host = address.split("/?")[0]
    scores = json.loads((built / "reports/metrics.json").read_text())
    with open_mlflow(host) as page:
        page.set_viewport_size({"width": 1800, "height": 1100})
        page.goto(address)
        assert page.url.startswith(f"{host}/#/experiments/")  # the token became a cookie
        run = page.get_by_role("link", name=f"notebook-{training_id(built)[:8]}")
        run.wait_for(timeout=PATIENCE)
        sees_the_table(page, scores)
        page.screenshot(path=screenshots / "mlflow-runs.png")

        opened = f"{host}/{run.get_attribute('href')}"
        page.goto(opened)
        sees_the_description(page)
        page.screenshot(path=screenshots / "mlflow-run.png")

        sees_the_data_sets(page, screenshots)
        page.goto(f"{opened}/model-metrics")
        sees_the_charts(page)
        page.screenshot(path=screenshots / "mlflow-charts.png")

        page.goto(f"{opened}/artifacts/evaluation/report.html")
        sees_the_report(page, scores)
        page.screenshot(path=screenshots / "mlflow-report.png")

        page.goto(f"{host}/#/models/digits-classifier/versions/1")
        page.get_by_text("The gate it passed").wait_for(timeout=PATIENCE)
        page.screenshot(path=screenshots / "mlflow-version.png")


def training_id(built: Path) -> str:
    return str(json.loads((built / "models/training.json").read_text())["training_id"])


def sees_the_data_sets(page: "Page", screenshots: Path) -> None:
    for split, context in (("train", "training"), ("test", "testing")):
        page.get_by_text(f"digits-{split}").first.click()
        page.get_by_text("Array Datasource").wait_for(timeout=PATIENCE)
        page.get_by_text(context, exact=True).first.wait_for(timeout=PATIENCE)
        page.get_by_text("image shape").first.wait_for(timeout=PATIENCE)
        page.screenshot(path=screenshots / f"mlflow-data-{split}.png")
        page.keyboard.press("Escape")


def sees_the_charts(page: "Page") -> None:
    for section in ("test", "test/f1", "test/precision", "test/recall", "train", "validation"):
        page.get_by_text(section, exact=True).first.wait_for(timeout=PATIENCE)


def sees_the_report(page: "Page", scores: dict[str, float]) -> None:
    headline = page.frame_locator("iframe").locator("h1")
    headline.wait_for(timeout=PATIENCE)
    assert f"{100 * scores['accuracy']:.2f}\u00a0%" in headline.inner_text()


def sees_the_table(page: "Page", scores: dict[str, float]) -> None:
    """Check the columns of the saved view, and the run's scores in them."""
    page.get_by_role("button", name="Close").first.click()  # MLflow's assistant opens in a new browser
    page.get_by_text("notebook", exact=True).wait_for(timeout=PATIENCE)  # the last column of the view that fits
    headings = page.locator("[role=columnheader]").all_inner_texts()
    assert set(COLUMNS) <= set(headings)
    assert page.get_by_role("button", name="Trainings").count() == 1
    row = "\n".join(page.locator("[role=row]").all_inner_texts())
    assert f"{scores['accuracy']:.3f}"[:4] in row
    assert f"{scores['weakest_class_recall']:.3f}"[:4] in row


def sees_the_description(page: "Page") -> None:
    """Check the headline of a run, and that its image fits into the column."""
    page.get_by_text("% accuracy", exact=False).wait_for(timeout=PATIENCE)
    page.get_by_text("Show more").first.click(timeout=PATIENCE)
    image = page.locator("img[src*='confused_pairs.svg']")
    image.wait_for(timeout=PATIENCE)
    assert 200 < image.evaluate("(image) => image.naturalWidth") <= 600  # on a laptop


def test_a_taken_port_is_one_line_with_the_way_out(built: Path, shell: Callable[..., Any]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        command = ("python", "-m", "pipeline", "ui", "--no-browser", "--port", str(port))
        done = shell(*command, cwd=built, check=False)
    assert done.returncode == 1
    assert done.stderr == f"error: port {port} on 127.0.0.1 cannot be used (Address already in use): choose one with --port\n"
