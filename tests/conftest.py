"""Fixtures for all tests: a clean environment, an empty checkout, and one that `dvc repro` built."""

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from filelock import FileLock

from pipeline import environment, params
from pipeline.train import machine
from pipeline.workspace import Workspace
from tests import servers

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page, Route

pytest_plugins = ["tests.registries"]
PROJECT = Path(__file__).parents[1]
PARAMS = Path(__file__).parent / "params.yaml"  # tests must pass whatever the user tries out in params.yaml
Shell = Callable[..., subprocess.CompletedProcess[str]]
OpenPage = Callable[..., AbstractContextManager["Page"]]
# Variables of the user's shell that would change what a test sees.
_FOREIGN = (
    "MLFLOW_TRACKING_URI",
    "MLFLOW_REGISTRY_URI",
    "MLFLOW_RUN_ID",
    "MLFLOW_EXPERIMENT_ID",
    "DATASET_MIRROR",
    "PIPELINE_SIGNING_KEY",
    "DVC_ROOT",
    "DVC_STAGE",
)
_QUIET_BROWSER = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]


def pytest_configure() -> None:
    """Silence the libraries as the command line does, and handle Ctrl-C, which a background job and its children ignore.

    No test, and no fixture of the session, may reach the store that the user works with.
    """
    for name in set(_FOREIGN) - {"DATASET_MIRROR"}:
        os.environ.pop(name, None)
    environment.prepare()
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Fail on skips where everything is installed, which hide a broken installation; but no kernel can be installed."""
    installable = not hasattr(report, "wasxfail") and "of Linux" not in str(report.longrepr)
    if report.skipped and os.environ.get("FORBID_SKIPS") and installable:
        report.outcome = "failed"


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in _FOREIGN:
        monkeypatch.setenv(name, "")  # so that what the test sets, as MLflow does, is undone too
        monkeypatch.delenv(name)


@pytest.fixture(scope="session", autouse=True)
def _tensorflow_threads(request: pytest.FixtureRequest) -> None:
    """Set TensorFlow's thread count, which is possible only before its first use."""
    if any(item.path.parent.name in ("train", "evaluate") for item in request.session.items):
        machine.prepare(params.load(PARAMS).train)


@pytest.fixture(scope="session")
def fashion_mirror() -> Path:
    """Return a folder that holds fashion-mnist/, for `DATASET_MIRROR`; skip the test if there is none."""
    mirror = os.environ.get("DATASET_MIRROR", "")
    if not mirror or not (Path(mirror) / "fashion-mnist").is_dir():
        pytest.skip("needs the four Fashion-MNIST files: set DATASET_MIRROR to a folder that holds fashion-mnist/")
    return Path(mirror).resolve()


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """Return an empty checkout: params.yaml and dvc.yaml, no outputs."""
    shutil.copy(PROJECT / "dvc.yaml", tmp_path)
    shutil.copy(PARAMS, tmp_path)
    return Workspace(tmp_path, tmp_path)


@pytest.fixture(scope="session")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """Return a function that runs a command as a new user would: `shell("dvc", "repro", cwd=…, VARIABLE=…)`.

    The home folder is empty: no git identity, no settings of any library. The output is captured.
    """
    programs = Path(sys.executable).parent
    new_user = {"HOME": str(tmp_path_factory.mktemp("home")), "GIT_CONFIG_NOSYSTEM": "1", "NO_COLOR": "1"}

    def run(*command: str, cwd: Path, check: bool = True, **variables: str) -> subprocess.CompletedProcess[str]:
        foreign = (*_FOREIGN, *environment.settings(), "FORCE_COLOR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME")
        inherited = {name: value for name, value in os.environ.items() if name not in foreign}
        path = f"{programs}{os.pathsep}{inherited['PATH']}"
        done = subprocess.run(
            command,
            cwd=cwd,
            env={**inherited, **new_user, "PATH": path, **variables},
            capture_output=True,
            text=True,
            check=False,
        )
        if check:
            assert done.returncode == 0, f"{command} exited {done.returncode}:\n{done.stdout}\n{done.stderr}"
        return done

    return run


@pytest.fixture(scope="session")
def new_clone(shell: Shell) -> Callable[[Path], Path]:
    """Return a function that makes a git repository of the project's files as they are now, without a git identity."""

    def make(folder: Path) -> Path:
        listed = shell("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=PROJECT).stdout
        for name in filter(None, listed.split("\0")):
            if (PROJECT / name).exists():  # it may be deleted, and that not committed yet
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(PROJECT / name, folder / name)
        shutil.copy(PARAMS, folder)
        for name in ("dvc.lock", "reports/metrics.json"):  # made by the user, who may have committed them
            (folder / name).unlink(missing_ok=True)
        shell("git", "init", "-q", "-b", "main", cwd=folder)
        shell("git", "add", "-A", cwd=folder)
        someone = ("-c", "user.name=somebody", "-c", "user.email=somebody@localhost")
        shell("git", *someone, "commit", "-q", "-m", "as it is", cwd=folder)
        return folder

    return make


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory, new_clone: Callable[[Path], Path], shell: Shell) -> Path:
    """Return a checkout in which `dvc repro` has run the whole graph on digits. Read it only; change a `built_copy`."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base  # one for all workers
    folder = shared / "built"
    with FileLock(shared / "built.lock"):
        if not (folder / "dvc.lock").exists():
            new_clone(folder)
            params = folder / "params.yaml"
            params.write_text(params.read_text().replace("dataset: fashion-mnist", "dataset: digits"))
            (shared / "home").mkdir()
            shell("dvc", "repro", cwd=folder, HOME=str(shared / "home"))
    return folder


@pytest.fixture
def built_copy(built: Path, tmp_path: Path) -> Iterator[Path]:
    """Return a copy of `built` that a test may change, without its mlflow.db, which holds absolute paths."""
    folder = tmp_path / "project"
    shutil.copytree(built, folder, ignore=shutil.ignore_patterns("mlflow.db*", "mlartifacts", ".cache", "__pycache__"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the address of an MLflow server on PostgreSQL."""
    with servers.postgresql() as store, servers.mlflow(store, tmp_path_factory.mktemp("artifacts")) as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    """Return Chromium without a network: only 127.0.0.1 resolves."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("needs Chromium: apt install chromium")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=_QUIET_BROWSER)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def open_page(browser: "Browser") -> OpenPage:
    """Return a function that opens a page that may only request addresses that begin with `own`.

    `complaint` selects the console messages that fail the test.
    """

    @contextmanager
    def opened(own: str, complaint: "Callable[[ConsoleMessage], bool]" = lambda _: True) -> "Iterator[Page]":
        problems: list[str] = []

        def only_own(route: "Route") -> None:
            if route.request.url.startswith((own, "data:", "blob:")):
                route.continue_()
            else:
                problems.append(f"asked for {route.request.url}")
                route.abort()

        page = browser.new_context().new_page()
        page.route("**/*", only_own)
        page.on("console", lambda message: problems.append(message.text) if complaint(message) else None)
        page.on("pageerror", lambda error: problems.append(str(error)))
        yield page
        page.context.close()
        assert problems == []

    return opened


@pytest.fixture(scope="module")
def page(open_page: OpenPage) -> "Iterator[Page]":
    """Return a page that fails the module if it requests anything but files, or writes to its console."""
    with open_page("file:") as opened:
        yield opened


@pytest.fixture(scope="session")
def screenshots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder for screenshots: `$SCREENSHOTS`, to look at them, or a temporary one."""
    folder = Path(os.environ.get("SCREENSHOTS") or tmp_path_factory.mktemp("screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def readable(page: "Page", screenshots: Path) -> Callable[[str, tuple[int, int], Any], None]:
    """Return a function that opens a page and takes a screenshot.

    It fails where the page is wider than its window (width, height), begins too low, or axe finds a violation.
    """
    package = importlib.util.find_spec("axe_playwright_python")
    assert package is not None
    assert package.origin is not None
    axe = (Path(package.origin).parent / "axe.min.js").read_text(encoding="utf-8")

    def check(address: str, size: tuple[int, int], scheme: Any) -> None:
        page.set_viewport_size({"width": size[0], "height": size[1]})
        page.emulate_media(color_scheme=scheme)
        page.goto(address)
        page.screenshot(path=screenshots / f"{Path(address).stem}-{size[0]}-{scheme}.png", full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        top = page.locator("h1").bounding_box()
        assert top is not None
        assert top["y"] < 100
        page.evaluate(axe)
        broken = page.evaluate("axe.run().then((found) => found.violations.map((each) => [each.id, each.nodes[0].html]))")
        assert broken == []

    return check
