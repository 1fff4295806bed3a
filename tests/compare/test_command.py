"""compare: what it prints, the page it writes, and that page in a real browser with the network off."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from pipeline.compare import command
from pipeline.errors import RegistryError
from pipeline.project import Project
from tests.compare.profiles import profile
from tests.compare.trainings import PLAIN, SWAPPED, Trainings, write_data

WIDE, PHONE = (1280, 900), (390, 844)
TURNED = (0, 0, 2, 2, 2, 1, 1, 0)  # other labels of the same images
Shell = Callable[..., Any]


def written(trainings: Trainings, a: str, b: str) -> Path:
    project = Project.load(trainings.workspace)
    path = command.write(command.between(trainings.client, a, b, project), project)
    assert path is not None
    return path


@pytest.fixture(scope="module")
def page_file(versions: Trainings) -> Path:
    return written(versions, "production", "staging")


def printed(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join(capsys.readouterr().out.split())


def test_it_prints_the_verdict_and_writes_the_page(versions: Trainings, capsys: pytest.CaptureFixture[str]) -> None:
    command.run("production", "2", Project.load(versions.workspace))
    output = printed(capsys)
    assert output.startswith("A: version 1 (production) B: version 2 (staging)")
    assert "Accuracy 37.50 % 75.00 % +37.50 pp" in output
    assert "No clear difference: accuracy 37.50 % → 75.00 %" in output
    assert "only B is correct on 4 and only A on 1" in output
    assert output.endswith("report: reports/compare-1-2.html")
    assert (versions.workspace.root / "reports/compare-1-2.html").exists()


def test_equal_weights_are_reported_as_the_same_model(versions: Trainings, capsys: pytest.CaptureFixture[str]) -> None:
    command.run("1", "production", Project.load(versions.workspace))
    assert "A and B are the same model: equal weights" in printed(capsys)


def test_other_data_is_reported_in_terminal_and_page(trainings: Trainings, capsys: pytest.CaptureFixture[str]) -> None:
    write_data(trainings.workspace, TURNED)
    run = trainings.add(PLAIN)
    command.run("1", run[:8], Project.load(trainings.workspace))
    output = printed(capsys)
    assert "version 1 (production) was trained and evaluated on fashion-mnist" in output
    assert "Accuracy 87.50 % 25.00 % -62.50 pp" in output
    page = (trainings.workspace.root / f"reports/compare-1-{run[:8]}.html").read_text(encoding="utf-8")
    assert "Other data:" in page
    assert "A was trained on fashion-mnist" in page
    assert "How the images differ is not known: no profile on run" in page


def test_drift_of_the_training_data_is_reported_in_the_terminal_and_on_the_page(
    trainings: Trainings, capsys: pytest.CaptureFixture[str]
) -> None:
    write_data(trainings.workspace, TURNED)
    a, b = (trainings.add(PLAIN, training_id=name, dataset_digest=name * 64) for name in "ab")
    for run, shirts in ((a, 500), (b, 800)):
        trainings.client.log_text(run, profile(100, {"shirt": shirts, "bag": 1000 - shirts}), "data/profile.json")
    command.run(a, b, Project.load(trainings.workspace))
    assert "training data differs: class shares PSI 0.39 beyond chance report:" in printed(capsys)
    page = (trainings.workspace.root / f"reports/compare-{a[:8]}-{b[:8]}.html").read_text(encoding="utf-8")
    text = " ".join(re.sub(r"<[^>]+>", " ", page).split())
    assert "class shares 0.415 0.022 0.393" in text
    assert "pixel mean 0.000" in text


def test_an_unknown_version_writes_no_page(trainings: Trainings) -> None:
    with pytest.raises(RegistryError, match="has no version or alias '9'"):
        command.run("1", "9", Project.load(trainings.workspace))
    assert not trainings.workspace.report.parent.exists()


@pytest.mark.parametrize("width", [40, 80, 200])
def test_the_table_fits_the_terminal(
    versions: Trainings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("NO_COLOR", "1")
    command.run("1", "2", Project.load(versions.workspace))
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= width
    assert "\x1b" not in text
    assert "…" not in re.sub(r" … [+-]", "", text)  # nothing is cut
    assert "Calibration error" in text


def test_the_page_holds_all_it_shows_and_escapes_names(page_file: Path) -> None:
    html = page_file.read_text(encoding="utf-8")
    assert page_file.stat().st_size < 5_000_000
    assert not re.search(r"https?://|<script [^>]*src|@import|url\((?!data:)", html)
    assert html.count('<img src="data:image/png;base64,') == 5  # one newly incorrect, four newly correct
    assert "&lt;coat&gt; &amp; &#39;co&#39;" in html
    assert "<coat>" not in html
    text = " ".join(re.sub(r"<[^>]+>", " ", html).split())
    assert "train.epochs 2 5" in text  # what differs, and only that
    assert "train.seed" not in text
    assert "The environment is the same" in text
    assert "c0ffee" * 6 in text
    assert "A correct 2 1 A incorrect 4 1" in text


def test_images_are_named_by_their_files(trainings: Trainings) -> None:
    files = [f"shirt/<b>{row}.png" for row in range(8)]
    write_data(trainings.workspace, files=files)
    path = written(trainings, "1", "2")
    assert "&lt;coat&gt; &amp; &#39;co&#39;" in path.read_text(encoding="utf-8")
    shown = re.findall(r"shirt/&lt;b&gt;(\d)\.png</span>", path.read_text(encoding="utf-8"))
    assert len({*shown}) == 5


def test_where_the_data_is_not_here_the_page_says_so(trainings: Trainings) -> None:
    path = written(trainings, "1", "2")
    assert "not in data/dataset, so its images cannot be shown" in path.read_text(encoding="utf-8")


def test_a_training_elsewhere_differs_in_its_environment(trainings: Trainings) -> None:
    write_data(trainings.workspace)
    environment = {"keras": "3.15.1", "tensorflow": "2.22.0", "numpy": "2.4.0", "processor": "other"}
    run = trainings.add(SWAPPED, training_id="elsewhere", environment=environment, threads=8)
    found = command.between(trainings.client, "1", run, Project.load(trainings.workspace))
    assert found.pair.same_model
    path = written(trainings, "1", run)
    text = " ".join(re.sub(r"<[^>]+>", " ", path.read_text(encoding="utf-8")).split())
    assert "tensorflow 2.21.0 2.22.0 processor – other" in text
    assert "threads used 2 8" in text


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
def test_anyone_can_read_it(readable: Callable[..., None], page_file: Path, size: tuple[int, int], scheme: str) -> None:
    readable(page_file.as_uri(), size, scheme)


@pytest.mark.slow
@pytest.mark.exhaustive
def test_the_classes_sort_with_the_keyboard(page: Page, page_file: Path) -> None:
    page.goto(page_file.as_uri())
    change = page.locator("#classes th", has_text="Change").first
    change.locator("button").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    assert change.get_attribute("aria-sort") == "descending"
    assert page.locator("#classes tbody td:first-child").all_inner_texts() == ["bag", "<coat> & 'co'", "shirt"]


@pytest.mark.slow
def test_a_version_that_the_pipeline_registered_compares_with_its_run(built: Path, built_copy: Path, shell: Shell) -> None:
    """What train, evaluate and register really publish is what compare reads."""
    store = {"MLFLOW_TRACKING_URI": f"sqlite:///{built}/mlflow.db"}
    versions = shell("python", "-m", "pipeline", "versions", cwd=built_copy, **store).stdout
    run = versions.split()[-1]
    output = shell("python", "-m", "pipeline", "compare", "1", run, cwd=built_copy, **store).stdout
    assert "A and B are the same model" in output
    assert f"report: reports/compare-1-{run}.html" in output
    again = shell("python", "-m", "pipeline", "compare", "1", "9", cwd=built_copy, check=False, **store)
    assert (again.returncode, again.stderr.count("\n")) == (1, 1)
    assert again.stderr.startswith("error: digits-classifier has no version or alias '9' (it has 1)")
