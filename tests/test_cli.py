"""The commands, their help, their exit codes, and that the documents speak only of what exists."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline import params

PROJECT = Path(__file__).parents[1]
STAGES = ("ingest", "validate", "train", "evaluate", "register")
COMMANDS = (
    *("run", "versions", "promote", "rollback", "archive", "history", "compare", "doctor", "verify", "sync", "ui"),
    *STAGES,
)
DOCUMENTS = (PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md")), PROJECT / "MLproject", PROJECT / "Makefile")
Shell = Callable[..., Any]


def test_help_lists_every_command(shell: Shell) -> None:
    text = shell("python", "-m", "pipeline", "--help", cwd=PROJECT).stdout
    assert re.findall(r"^│ (\w+) ", text, re.MULTILINE) == list(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_with_an_example(shell: Shell, command: str) -> None:
    text = shell("python", "-m", "pipeline", command, "--help", cwd=PROJECT).stdout
    assert f"Example: python -m pipeline {command}" in text


def test_help_loads_no_heavy_library(shell: Shell) -> None:
    code = """
import runpy, sys
sys.argv = ["pipeline", "--help"]
try:
    runpy.run_module("pipeline", run_name="__main__")
except SystemExit:
    pass
print(sorted({"tensorflow", "keras", "mlflow", "pandas", "great_expectations", "sklearn", "matplotlib"} & set(sys.modules)))
"""
    assert shell("python", "-c", code, cwd=PROJECT).stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    "wrong",
    [
        ["fly"],
        ["ui", "--port", "0"],
        ["ui", "--port", "many"],
        ["run", "--speed", "9"],
        ["compare", "1"],
        ["promote", "1", "nowhere"],
        ["promote", "1", "production", "--force"],
        [],
    ],
)
def test_wrong_usage_exits_2(shell: Shell, wrong: list[str]) -> None:
    assert shell("python", "-m", "pipeline", *wrong, cwd=PROJECT, check=False).returncode == 2


def test_outside_a_checkout_it_says_so_in_one_line(shell: Shell, tmp_path: Path) -> None:
    done = shell("python", "-m", "pipeline", "versions", cwd=tmp_path, check=False, PYTHONPATH=str(PROJECT))
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith("error: no dvc.yaml in ")


def test_a_slip_in_params_stops_a_stage_in_one_line(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "dvc.yaml").touch()
    text = (PROJECT / "tests/params.yaml").read_text()
    (tmp_path / "params.yaml").write_text(text.replace("max_calibration_error", "max_kalibration_error"))
    done = shell("python", "-m", "pipeline", "ingest", cwd=tmp_path, check=False, PYTHONPATH=str(PROJECT))
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "unknown key register.max_kalibration_error (did you mean max_calibration_error?)" in done.stderr


def test_run_refuses_an_unknown_data_set_and_leaves_params_alone(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "dvc.yaml").touch()
    before = (PROJECT / "tests/params.yaml").read_text()
    (tmp_path / "params.yaml").write_text(before)
    command = ("python", "-m", "pipeline", "run", "--dataset", "imagenet")
    done = shell(*command, cwd=tmp_path, check=False, PYTHONPATH=str(PROJECT))
    assert done.returncode == 1
    assert "error: params.yaml: ingest.dataset = 'imagenet': input should be" in done.stderr
    assert (tmp_path / "params.yaml").read_text() == before
    assert sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith(".")) == ["dvc.yaml", "params.yaml"]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_documents_speak_of_commands_and_files_that_exist(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    assert set(re.findall(r"python -m pipeline (\w+)", text)) <= set(COMMANDS)
    targets = set(re.findall(r"^(\w+):", (PROJECT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`make (\w+)", text)) <= targets
    assert all((document.parent / link).exists() for link in re.findall(r"\]\(([\w/.]+\.md)\)", text))
    assert all((PROJECT / path).exists() for path in re.findall(r"pipeline/[\w/]+(?:\.py|/)", text))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_documented_params_exist(document: Path) -> None:
    content = params.read_yaml(PROJECT / "params.yaml")
    for key in re.findall(r"(?:-S |change=|default: )(\w+(?:\.\w+)+)=", document.read_text(encoding="utf-8")):
        value = content
        for part in key.split("."):
            value = value[part]
        assert not isinstance(value, dict)


def test_every_command_is_documented() -> None:
    text = "".join(document.read_text(encoding="utf-8") for document in DOCUMENTS)
    assert all(f"python -m pipeline {command}" in text or f"`{command}`" in text for command in COMMANDS)
