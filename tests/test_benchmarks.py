"""The rendered results are those of the measured figures, and every benchmark can still be loaded."""

import importlib
import json
from pathlib import Path

import pytest

from benchmarks import render

SCRIPTS = sorted(path.stem for path in render.FOLDER.glob("*.py"))
RESULTS = sorted((render.FOLDER / "results").glob("*.json"))


def test_results_md_is_what_render_makes() -> None:
    assert render.RESULTS.read_text(encoding="utf-8") == render.results(), "run `python -m benchmarks.render`"


def test_the_readmes_table_is_what_render_makes() -> None:
    text = render.README.read_text(encoding="utf-8")
    assert text == render.with_table(text), "run `python -m benchmarks.render`"
    assert text.count(render.START) == text.count(render.END) == 1


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_every_run_names_how_it_was_made_and_has_only_known_figures(path: Path) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    known = {key for name, column in content["columns"].items() for key in (name, *column.get("ratio", ()))} | {"threads"}
    for run in content["runs"]:
        assert run["command"] or run["remark"]
        assert run["machine"]
        assert run["date"]
        assert run["versions"]["python"]
        assert run["figures"]
        assert {key for figures in run["figures"] for key in figures} <= known


def test_figures_are_rendered_with_spread_ratio_and_unit() -> None:
    percent = {"label": "accuracy", "format": "{:.2f} %"}
    assert render._cell({"a": {"mean": 91.479, "sd": 0.171}}, "a", percent) == "91.48 % ± 0.17"
    assert render._cell({"a": {"median": 1.4, "min": 1.25, "max": 1.5}}, "a", {"format": "{:.1f} s"}) == "1.4 s (1.2–1.5)"
    assert render._cell({"a": [1.0, 2.5]}, "a", percent) == "1.00 %, 2.50 %"
    assert render._cell({}, "a", percent) == "–"
    ratio = {"label": "vs. notebook", "ratio": ["slow", "fast"]}
    assert render._cell({"slow": 386.3, "fast": {"mean": 35.8}}, "a", ratio) == "10.8× faster"


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_benchmark_can_be_imported(script: str) -> None:
    importlib.import_module(f"benchmarks.{script}")
