"""Great Expectations' own pages, built on request."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from pipeline.dataset import Split, SplitName
from pipeline.errors import ValidationFailedError
from pipeline.params import EXPECTATIONS, ValidateParams
from pipeline.validate import stage
from pipeline.workspace import Workspace
from tests.validate.defects import Splits

Ingested = Callable[[Mapping[SplitName, Split]], Workspace]


@pytest.fixture
def built(ingested: Ingested, splits: Splits, limits: ValidateParams) -> Workspace:
    """A checkout with the pages of data that has a blank image, and one file of an earlier build."""
    splits["test"].images[7] = 200
    workspace = ingested(splits)
    workspace.data_docs.mkdir(parents=True)
    (workspace.data_docs / "old.html").touch()
    with pytest.raises(ValidationFailedError):
        stage.run(limits, workspace, data_docs=True)
    return workspace


def test_the_pages_name_every_expectation_and_show_which_failed(capfd: pytest.CaptureFixture[str], built: Workspace) -> None:
    assert "data docs: reports/data_docs/index.html (" in capfd.readouterr().out
    folder = built.data_docs
    assert not (folder / "old.html").exists()
    pages = {path: path.read_text(encoding="utf-8") for path in folder.rglob("*.html")}
    text = "".join(pages.values())
    assert [name for name in EXPECTATIONS if f"{name}: " not in text] == []
    index = pages[folder / "index.html"]
    links = set(re.findall(r'href="([^"#]+\.html)"', index))
    assert links
    assert all((folder / link).exists() for link in links)
    (failed,) = [page for page in pages.values() if "Status: Failed" in " ".join(re.sub(r"<[^>]+>", " ", page).split())]
    row = failed[: failed.index("no-blank-images: ")].rsplit("<tr", 1)[1]
    assert "text-danger" in row
    passed = failed[: failed.index("no-lost-regions: ")].rsplit("<tr", 1)[1]
    assert "text-success" in passed
    assert str(built.root) not in text


def test_without_the_flag_no_page_is_built(ingested: Ingested, splits: Splits, limits: ValidateParams) -> None:
    workspace = ingested(splits)
    stage.run(limits, workspace)
    assert not Path(workspace.data_docs).exists()
