"""The report in a real browser, with the network off: it asks for nothing, complains of nothing, and its controls work."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page

from pipeline.evaluate import stage
from pipeline.params import EvaluateParams
from pipeline.workspace import Workspace

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
