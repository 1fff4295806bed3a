"""Stages and promotions in the MLflow UI, looked at with a real browser: the registry's new and old pages, the records."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pipeline.commands import ui
from pipeline.errors import RefusedError
from pipeline.project import Project
from pipeline.promotion import ledger
from tests import servers, stores
from tests.compare.trainings import MODEL, Trainings
from tests.promotion.checkouts import BETTER, MEDIUM, WEAK, checkout, move_without_gate, promote_to

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.slow, pytest.mark.exhaustive]
PATIENCE = 30_000  # milliseconds, on a machine that does other things
WINDOW: Any = {"width": 1800, "height": 1100}
REASON = "coats | and *bags* <b>"
CARD = "87.50 % accuracy on 80 test images.\n\n### The gate it passed\n\n- accuracy 0.8750 ≥ 0.45"


@dataclass(frozen=True)
class Served:
    candidates: Trainings
    address: str  # of the server
    runs: str  # of the records' table, as `ui` links to a table
    record: str  # the address of the record of the promotion to production


@pytest.fixture(scope="module")
def served(candidates_database: Trainings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Version 2 was in production until 3 replaced it; 1 was refused."""
    workspace = checkout(tmp_path_factory.mktemp("shown"))
    stores.copy(candidates_database.workspace.database, workspace)
    candidates = Trainings(workspace, stores.connect(workspace))
    candidates.client.update_model_version(MODEL, BETTER, CARD)
    move_without_gate(candidates, MEDIUM, "staging", "production")
    move_without_gate(candidates, BETTER, "staging")
    promote_to(candidates, BETTER, "production", REASON)
    with pytest.raises(RefusedError):
        promote_to(candidates, WEAK, "staging")
    move_without_gate(candidates, MEDIUM, "staging")
    table = ui.pages(candidates.client, Project.load(workspace))["promotions"]
    with servers.mlflow(f"sqlite:///{workspace.database}", workspace.root / "served") as address:
        record = f"{table.split('?')[0]}/{ledger.read(candidates.client, MODEL).entries[3].run_id}"
        yield Served(candidates, address, f"{address}{table}", f"{address}{record}")


@pytest.fixture
def page(served: Served, open_mlflow: Callable[[str], Any]) -> "Iterator[Page]":
    with open_mlflow(served.address) as opened:
        opened.set_viewport_size(WINDOW)
        yield opened


def row(page: "Page", name: str) -> str:
    """The text of the table's row that holds `name`."""
    found = page.get_by_role("row").filter(has_text=name)
    found.first.wait_for(timeout=PATIENCE)
    return " ".join(found.first.inner_text().split())


def test_the_table_of_records_shows_who_what_and_why(served: Served, page: "Page", screenshots: Path) -> None:
    page.goto(served.runs)
    page.get_by_role("link", name="4 promote 3 → production").wait_for(timeout=PATIENCE)
    page.get_by_text(REASON).wait_for(timeout=PATIENCE)
    page.screenshot(path=screenshots / "mlflow-promotions.png")
    headings = page.locator("[role=columnheader]").all_inner_texts()
    assert {"Created", "User", "kind", "version", "from", "to", "reason", "failed"} <= set(headings)
    assert page.get_by_role("button", name="Promotions").count() == 1
    text = "\n".join(page.locator("[role=row]").all_inner_texts())
    assert "refusal" in text
    assert "accuracy" in text  # at which it failed


def test_a_record_says_its_gate_and_links_to_the_versions_run(served: Served, page: "Page", screenshots: Path) -> None:
    page.goto(served.record)
    page.get_by_text("staging → production (replaced version 2)", exact=False).wait_for(timeout=PATIENCE)
    page.get_by_text("Show more").first.click()
    page.screenshot(path=screenshots / "mlflow-record.png")
    assert page.locator("p").filter(has_text="Reason: ").inner_text() == f"Reason: {REASON}"
    rules = [line.inner_text().split("\t") for line in page.locator("table tr").all()]
    assert ["accuracy", "0.875", "≥\u00a00.45", "passed", ""] in rules
    assert [rule[3] for rule in rules if rule[0] == "not worse than production"] == ["passed"]
    link = page.get_by_role("link", name="the version's run").get_attribute("href")
    page.goto(f"{served.address}/{link}")
    run_id = served.candidates.client.get_model_version(MODEL, BETTER).run_id
    page.wait_for_url(f"**/experiments/*/runs/{run_id}**", timeout=PATIENCE)
    page.goto(f"{page.url.split('?')[0]}/artifacts/promotion/compare-2-3.html")
    headline = page.frame_locator("iframe").locator("h1")
    headline.wait_for(timeout=PATIENCE)
    page.screenshot(path=screenshots / "mlflow-evidence.png")
    assert headline.inner_text().replace("\u00a0", " ") == "B is better: accuracy 50.00 % → 87.50 %"


def test_the_new_registry_pages_show_aliases_tags_and_description(served: Served, page: "Page", screenshots: Path) -> None:
    page.goto(f"{served.address}/#/models/{MODEL}")
    assert "@ production" in row(page, "Version 3")
    assert "@ staging" in row(page, "Version 2")
    assert "@" not in row(page, "Version 1")
    page.screenshot(path=screenshots / "mlflow-model-new.png")
    page.goto(f"{served.address}/#/models/{MODEL}/versions/{BETTER}")
    page.get_by_text("The gate it passed").wait_for(timeout=PATIENCE)
    assert page.get_by_text("@ production").count() == 1
    assert "production" in row(page, "stage")
    page.screenshot(path=screenshots / "mlflow-version-new.png")


def test_the_old_registry_pages_show_the_stage_field(served: Served, page: "Page", screenshots: Path) -> None:
    page.goto(f"{served.address}/#/models/{MODEL}")
    page.get_by_label("New model registry UI").click(timeout=PATIENCE)
    page.get_by_role("button", name="Disable").click()
    page.get_by_role("columnheader", name="Stage").wait_for(timeout=PATIENCE)
    page.screenshot(path=screenshots / "mlflow-model-old.png")
    for number, stage in {WEAK: "None", MEDIUM: "Staging", BETTER: "Production"}.items():
        assert f" {stage}" in row(page, f"Version {number}")
    page.goto(f"{served.address}/#/models/{MODEL}/versions/{BETTER}")
    page.get_by_text("The gate it passed").wait_for(timeout=PATIENCE)
    assert page.get_by_text("Production", exact=True).first.is_visible()
    page.screenshot(path=screenshots / "mlflow-version-old.png")
