"""The report in a real browser, with the network off: it asks for nothing, complains of nothing, and its controls work."""

import importlib.util
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, sync_playwright

from pipeline.evaluate import stage
from pipeline.params import EvaluateParams
from pipeline.workspace import Workspace

pytestmark = pytest.mark.slow
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def report(learned: Workspace, params: EvaluateParams) -> str:
    stage.evaluate(params, learned)
    return learned.report.as_uri()


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    """A page that fails the test if it asks for anything but itself, or says anything on its console."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("needs Chromium: apt install chromium")
    troubles: list[str] = []

    def only_files(route: Route) -> None:
        if route.request.url.startswith("file:"):
            route.continue_()
        else:
            troubles.append(f"asked for {route.request.url}")
            route.abort()

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=QUIET)
        opened = browser.new_context(offline=True).new_page()
        opened.route("**/*", only_files)
        opened.on("console", lambda message: troubles.append(message.text))
        opened.on("pageerror", lambda error: troubles.append(str(error)))
        yield opened
        browser.close()
    assert troubles == []


@pytest.fixture(scope="module")
def axe() -> str:
    """The accessibility checker's script."""
    package = importlib.util.find_spec("axe_playwright_python")
    assert package is not None
    assert package.origin is not None
    return (Path(package.origin).parent / "axe.min.js").read_text(encoding="utf-8")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_anyone_can_read_it(page: Page, report: str, axe: str, size: dict[str, int], scheme: str) -> None:
    page.set_viewport_size({"width": size["width"], "height": size["height"]})
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    page.goto(report)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    top = page.locator("h1").bounding_box()
    assert top is not None
    assert top["y"] < 100
    page.evaluate(axe)
    broken = page.evaluate("axe.run().then((found) => found.violations.map((each) => [each.id, each.nodes[0].html]))")
    assert broken == []


def test_the_table_of_classes_sorts_with_the_keyboard(page: Page, report: str) -> None:
    page.goto(report)
    recall = page.locator("#classes th", has_text="Recall")
    values = "[...document.querySelectorAll('#classes tbody tr')].map((row) => Number(row.cells[2].dataset.value))"
    recall.locator("button").focus()
    page.keyboard.press("Enter")
    assert recall.get_attribute("aria-sort") == "ascending"
    assert page.evaluate(values) == sorted(page.evaluate(values))
    page.keyboard.press("Enter")
    assert recall.get_attribute("aria-sort") == "descending"
    assert page.evaluate(values) == sorted(page.evaluate(values), reverse=True)


def test_a_cell_opens_the_pictures_behind_it(page: Page, report: str) -> None:
    page.goto(report)
    cell = page.locator(".confusion button:not(.right)").first
    cell.focus()
    page.keyboard.press("Enter")
    dialog = page.locator("dialog")
    assert dialog.locator("h2").inner_text() == cell.get_attribute("data-title")
    assert dialog.locator(".tile").count() == min(int(cell.inner_text()), 12)
    assert "source 1" in dialog.locator("figcaption").first.inner_text()  # the test split begins at 1,400
    page.keyboard.press("Escape")
    assert not dialog.is_visible()
