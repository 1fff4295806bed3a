"""dvc.yaml lists as deps of a stage the code that can change its outputs: derived here from the imports."""

import ast
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from pipeline import params

PROJECT = Path(__file__).parents[1]
STAGES = ("ingest", "validate", "train", "evaluate", "register")
# From the top down: an import goes to a lower line, or stays within the ground floor, the last but one.
LAYERS: Sequence[set[str]] = (
    {"__main__"},
    {"cli"},
    {"commands"},
    {"sync", "verify", "doctor"},
    {"promotion"},
    {"compare"},
    {"register", "train", "evaluate"},
    {"tracking", "validate"},
    {"ingest"},
    {"project"},
    {"provenance"},
    {
        "params",
        "workspace",
        "dataset",
        "lost",
        "features",
        "baseline",
        "predictions",
        "model_file",
        "environment",
        "process",
        "restore",
        "signing",
    },
    {"scores", "page", "fonts", "errors"},
)
# The ground floor that cannot change what a stage writes into its outputs:
LEFT_OUT = {
    "pipeline/__init__.py": "a docstring",
    "pipeline/environment.py": "quiets libraries",
    "pipeline/errors.py": "only how it fails",
    "pipeline/params.py": "the values themselves are tracked as params",
    "pipeline/process.py": "tells processes apart",
    "pipeline/provenance.py": "records what happened",
    "pipeline/restore.py": "only how it fails",
    "pipeline/signing.py": "says who made it",
    "pipeline/tracking": "shows what happened",
    "pipeline/workspace.py": "where things lie; DVC would miss the output otherwise",
}


def imported(path: Path) -> Iterator[str]:
    """The modules and packages of the project that the file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def place(module: str) -> str | None:
    """Where a module lies, as dvc.yaml names it: a package of `pipeline` as a folder, a module as a file."""
    parts = module.split(".")
    if parts[0] != "pipeline" or len(parts) == 1:
        return None
    package = Path("pipeline") / parts[1]
    if (PROJECT / package).is_dir():
        return str(package)
    return f"{package}.py" if (PROJECT / f"{package}.py").exists() else None


def reached_from(package: str) -> set[str]:
    """The package and all it imports, over as many steps as it takes."""
    found: set[str] = set()
    waiting = [f"pipeline/{package}"]
    while waiting:
        current = waiting.pop()
        if current in found or current in LEFT_OUT:
            continue
        found.add(current)
        files = sorted((PROJECT / current).rglob("*.py")) if (PROJECT / current).is_dir() else [PROJECT / current]
        waiting.extend(filter(None, (place(module) for file in files for module in imported(file))))
    return found


@pytest.fixture(scope="module")
def graph() -> Mapping[str, Any]:
    content: Mapping[str, Any] = params.read_yaml(PROJECT / "dvc.yaml")
    return content


def names(entries: Sequence[Any]) -> list[str]:
    return [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]


@pytest.mark.parametrize("stage", STAGES)
def test_code_deps_are_those_the_imports_say(graph: Mapping[str, Any], stage: str) -> None:
    code = {dep for dep in names(graph["stages"][stage]["deps"]) if dep.startswith("pipeline")}
    assert code == reached_from(stage)


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_runs_its_own_package_with_its_own_params(graph: Mapping[str, Any], stage: str) -> None:
    assert graph["stages"][stage]["cmd"] == f"python -m pipeline {stage}"
    sections = {name.split(".")[0] for name in graph["stages"][stage]["params"]}
    assert sections == ({stage, "evaluate"} if stage == "register" else {stage})  # it judges by what evaluate shows


def test_train_watches_every_param_that_changes_the_result_but_the_recipes_of_other_architectures(
    graph: Mapping[str, Any],
) -> None:
    keys = {f"train.{name}" for name in params.TrainParams.model_fields} - {"train.recipes", "train.keep_checkpoints"}
    assert {*graph["stages"]["train"]["params"]} == keys | {"train.recipes.${train.architecture}"}


def test_stages_never_import_each_other() -> None:
    for stage in STAGES:
        assert {f"pipeline/{other}" for other in STAGES} & reached_from(stage) == {f"pipeline/{stage}"}


def test_imports_only_go_down() -> None:
    layer = {name: number for number, names in enumerate(LAYERS) for name in names}
    assert set(layer) == {path.stem for path in (PROJECT / "pipeline").iterdir() if path.suffix == ".py" or path.is_dir()} - {
        "__init__",
        "__pycache__",
    }
    for path in sorted((PROJECT / "pipeline").rglob("*.py")):
        here = path.relative_to(PROJECT / "pipeline").parts[0].removesuffix(".py")
        for there in {Path(found).stem for module in imported(path) if (found := place(module))} - {here}:
            allowed = layer[there] > layer[here] or {here, there} <= LAYERS[-2]
            assert allowed, f"{path.relative_to(PROJECT)} imports {there}"


def test_what_is_left_out_exists() -> None:
    assert all((PROJECT / path).exists() for path in LEFT_OUT)


def test_every_output_but_the_metrics_is_ignored_by_git(graph: Mapping[str, Any]) -> None:
    """metrics.json is meant to be committed, as the baseline of `dvc metrics diff`."""
    outputs = {
        name
        for stage in graph["stages"].values()
        for kind in ("outs", "metrics", "plots")
        for name in names(stage.get(kind, []))
    }
    ignored = {
        f"{folder}{line}"
        for folder in ("data", "models", "reports")
        for line in (PROJECT / folder / ".gitignore").read_text().split()
    }
    unfinished = {"data/.*.part*", "models/.*.part*", "reports/.*.part*"}  # what a killed stage leaves beside
    others = {"data/downloads", "reports/data_docs", "reports/compare-*.html"}
    assert ignored == outputs - {"reports/metrics.json"} | unfinished | others
