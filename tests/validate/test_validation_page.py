"""validation.html in a real browser with the network off."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pipeline.dataset import Split, SplitName
from pipeline.errors import ValidationFailedError
from pipeline.params import ValidateParams
from pipeline.validate import stage
from pipeline.workspace import Workspace
from tests import data_sets
from tests.validate import defects

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.slow
WIDE, PHONE = (1280, 900), (390, 844)
LONG = "a class whose name was made by joining all the words that anyone had for it " + "w" * 60


@pytest.fixture(scope="module")
def report(good_splits: Mapping[SplitName, Split], limits: ValidateParams, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The report of data with a blank image, near-duplicates, drift and an incorrect label; one class has a long name."""
    root = tmp_path_factory.mktemp("page")
    splits = {
        name: replace(split, images=split.images.copy(), labels=split.labels.copy()) for name, split in good_splits.items()
    }
    for inject in (defects.brighter_test, defects.blank_image, defects.shifted_copy_within_test, defects.incorrect_label):
        inject(splits)
    workspace = Workspace(root, root)
    workspace.dataset.mkdir(parents=True)
    data_sets.write(workspace.dataset, "digits", (*"012345678", LONG), splits, ())
    with pytest.raises(ValidationFailedError):
        stage.run(limits, workspace)
    return workspace.validation_html.as_uri()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_anyone_can_read_it(readable: Callable[..., None], report: str, size: tuple[int, int], scheme: str) -> None:
    readable(report, size, scheme)


@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_the_verdict_comes_first_and_then_what_failed(page: "Page", report: str, size: tuple[int, int]) -> None:
    page.set_viewport_size({"width": size[0], "height": size[1]})
    page.goto(report)
    verdicts = page.locator(".verdict")
    assert verdicts.all_inner_texts() == ["✗ Failed: 1 of 28 expectations", "! Warned: 3"]
    box = verdicts.first.bounding_box()
    assert box is not None
    assert box["y"] + box["height"] < size[1] / 3
    assert page.locator("h2").first.inner_text() == "✗ no-blank-images"
    broken = page.evaluate("[...document.images].filter((image) => !image.complete || !image.naturalWidth).length")
    assert (page.locator("img").count() > 3, broken) == (True, 0)


def test_on_a_phone_nothing_lies_outside_the_window(page: "Page", report: str) -> None:
    page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
    page.goto(report)
    outside = (
        "[...document.querySelectorAll('main *')].filter((each) => each.getBoundingClientRect().right > innerWidth).length"
    )
    assert page.evaluate(outside) == 0
