"""The report in a real browser, with the network off: it asks for nothing, complains of nothing, and its controls work."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page

from pipeline import dataset
from pipeline.dataset import Split
from pipeline.evaluate import stage
from pipeline.params import EvaluateParams
from pipeline.workspace import Workspace
from tests.evaluate.conftest import Trained

WIDE, PHONE = (1280, 900), (390, 844)


@pytest.fixture(scope="module")
def report(learned: Workspace, params: EvaluateParams) -> str:
    stage.evaluate(params, learned)
    return learned.report.as_uri()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "scheme"),
    [
        (PHONE, "light"),
        pytest.param(PHONE, "dark", marks=pytest.mark.exhaustive),
        pytest.param(WIDE, "light", marks=pytest.mark.exhaustive),
        pytest.param(WIDE, "dark", marks=pytest.mark.exhaustive),
    ],
    ids=["phone-light", "phone-dark", "wide-light", "wide-dark"],
)
def test_anyone_can_read_it(readable: Callable[..., None], report: str, size: tuple[int, int], scheme: str) -> None:
    readable(report, size, scheme)


@pytest.mark.slow
@pytest.mark.exhaustive
def test_images_are_sharp_on_a_retina_screen_and_never_enlarged(page: Page, report: str) -> None:
    page.set_viewport_size({"width": WIDE[0], "height": WIDE[1]})
    page.goto(report)
    sizes = page.evaluate(
        "[...document.querySelectorAll('.scroll > img')].map((image) => [image.naturalWidth, image.clientWidth])"
    )
    assert len(sizes) == 5
    assert all(pixels >= 2 * shown for pixels, shown in sizes)


@pytest.mark.slow
@pytest.mark.exhaustive
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


@pytest.mark.slow
@pytest.mark.exhaustive
def test_the_matrix_shows_counts_or_percents_of_the_true_class(page: Page, report: str) -> None:
    page.goto(report)
    row = page.locator(".confusion tbody tr").nth(8)  # "eight", the class that is most often mistaken
    counts = [int(text) for text in row.locator("button").all_inner_texts()]
    page.get_by_label("percent of the true class").press("Space")
    percents = [float(text) for text in row.locator("button").all_inner_texts()]
    assert percents == [pytest.approx(100 * count / sum(counts), abs=0.05) for count in counts]
    assert len(counts) > 2


@pytest.mark.slow
def test_a_cell_opens_the_images_behind_it(page: Page, report: str) -> None:
    page.goto(report)
    cell = page.locator(".confusion button:not(.correct)").first
    cell.focus()
    page.keyboard.press("Enter")
    dialog = page.locator("dialog")
    assert dialog.locator("h2").inner_text() == cell.get_attribute("data-title")
    assert dialog.locator(".tile").count() == min(int(cell.inner_text()), 12)
    assert "source 1" in dialog.locator("figcaption").first.inner_text()  # the test split begins at 1,400
    page.keyboard.press("Escape")
    assert not dialog.is_visible()


LONG = "An item that somebody described at length in a folder name of precisely 85 characters"
SCRIPTS = (LONG, "猫", "کتاب\u200cها", "😀 happy", "<img src=x onerror=alert(1)>", "w" * 200, "한국어", "C++", "C#", "label")


@pytest.mark.slow
@pytest.mark.parametrize("size", [PHONE, pytest.param(WIDE, marks=pytest.mark.exhaustive)], ids=["phone", "wide"])
def test_names_of_any_length_and_script_stay_on_the_page(
    readable: Callable[..., None], page: Page, trained: Trained, params: EvaluateParams, size: tuple[int, int]
) -> None:
    test = dataset.read(trained.workspace.dataset).test
    trained.test_on(test, SCRIPTS, ["deep/" * 50 + f"{row}.png" for row in range(len(test))])
    stage.evaluate(params, trained.workspace)
    readable(trained.workspace.report.as_uri(), size, "light")
    headings = page.locator(".confusion thead th, .confusion tbody th")
    assert headings.first.get_attribute("title") is None
    assert page.locator(".confusion th span").first.get_attribute("title") == LONG
    boxes = headings.evaluate_all("(all) => all.map((each) => [each.clientWidth, each.clientHeight])")
    assert max(width for width, _ in boxes) <= 200
    assert max(height for _, height in boxes) <= 180
    assert page.locator("details").inner_text().startswith("Some class names have no font")


@pytest.mark.slow
def test_a_heat_map_names_the_cell_that_is_pointed_at_and_opens_its_images(
    page: Page, trained: Trained, params: EvaluateParams, build_model: Callable[..., Any]
) -> None:
    labels, rows = np.repeat(np.arange(40, dtype=np.int32), 2), np.arange(80, dtype=np.int32)
    trained.test_on(Split(np.zeros((80, 8, 8, 1), np.uint8), labels, rows), tuple(f"kind {n}" for n in range(40)))
    trained.save(build_model(classes=40, bias=[0.0] * 7 + [9.0] + [0.0] * 32))  # predicts 7 whatever it sees
    stage.evaluate(params, trained.workspace)
    page.goto(trained.workspace.report.as_uri())
    box = page.locator(".heat-map img").bounding_box()
    assert box is not None
    at = {"x": box["width"] * 7.5 / 40, "y": box["height"] * 30.5 / 40}
    page.locator(".heat-map img").hover(position=at)  # type: ignore[arg-type]
    assert page.locator(".heat-map output").inner_text() == "kind 30, predicted kind 7: 2"
    page.locator(".heat-map img").click(position=at)  # type: ignore[arg-type]
    assert page.locator("dialog h2").inner_text() == "kind 30, predicted kind 7: 2"
    assert page.locator("dialog .tile").count() == 2
    page.keyboard.press("Escape")
    page.locator(".heat-map img").hover(position={"x": 1, "y": 1})
    assert page.locator(".heat-map output").inner_text() == ""
