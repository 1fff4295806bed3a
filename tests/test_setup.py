"""Files around the pipeline: DVC's configuration, the Makefile, the workflows, the links between documents."""

import ast
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline import environment
from tests.conftest import PROJECT, Shell


@pytest.mark.slow
@pytest.mark.parametrize("variables", [{}, environment.settings()], ids=["dvc in a terminal", "dvc called by the pipeline"])
def test_the_users_global_dvc_configuration_is_in_force(
    new_clone: Callable[[Path], Path], shell: Shell, tmp_path: Path, variables: dict[str, str]
) -> None:
    config = tmp_path / "home/.config/dvc/config"
    config.parent.mkdir(parents=True)
    config.write_text("[core]\n    remote = store\n['remote \"store\"']\n    url = s3://bucket/folder\n")
    clone = new_clone(tmp_path / "clone")
    listed = shell("dvc", "remote", "list", cwd=clone, HOME=str(tmp_path / "home"), **variables)
    assert listed.stdout.split() == ["store", "s3://bucket/folder", "(default)"]


@pytest.mark.slow
@pytest.mark.parametrize("home", ["/nonexistent", "/proc"], ids=["no folder", "nothing can be written"])
def test_dvc_needs_no_home_folder(new_clone: Callable[[Path], Path], shell: Shell, tmp_path: Path, home: str) -> None:
    done = shell("dvc", "status", "--json", cwd=new_clone(tmp_path), HOME=home)
    assert "ingest" in json.loads(done.stdout)


def test_the_workflows_are_valid() -> None:
    workflows = sorted((PROJECT / ".github/workflows").glob("*.yml"))
    assert [workflow.name for workflow in workflows] == ["ci.yml", "model-on-pull-request.yml"]
    checker = shutil.which("check-jsonschema", path=Path(sys.executable).parent)
    assert checker
    done = subprocess.run(
        [checker, "--builtin-schema", "vendor.github-workflows", *workflows], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_make_help_names_every_target(shell: Shell) -> None:
    targets = re.findall(r"^\.PHONY: help (.*) setup (.*)$", (PROJECT / "Makefile").read_text(), re.MULTILINE)
    listed = re.findall(r"make ([a-z-]+)  ", shell("make", cwd=PROJECT).stdout)
    assert sorted(listed) == sorted(" ".join(targets[0]).split())


DOCUMENTS = [PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", *sorted((PROJECT / "docs").glob("*.md"))]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_to_files(document: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8"))
    assert [link for link in links if not (document.parent / link).exists()] == []


def test_the_readme_links_every_page_of_the_documentation() -> None:
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    assert [page.name for page in (PROJECT / "docs").glob("*.md") if f"(docs/{page.name})" not in readme] == []


def test_the_tests_that_the_page_on_trust_names_exist() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", (PROJECT / "docs/trust.md").read_text(encoding="utf-8"))
    assert len(named) > 20
    assert [each for each in named if f"def {each[1]}" not in (PROJECT / each[0]).read_text(encoding="utf-8")] == []


def texts_of_the_code() -> Iterator[str]:
    """Yield every string literal of the pipeline, with … for the fields of f-strings."""
    for file in (PROJECT / "pipeline").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                yield "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def test_troubleshooting_quotes_messages_that_the_pipeline_prints() -> None:
    ours, _ = (PROJECT / "docs/troubleshooting.md").read_text(encoding="utf-8").split("## Messages of DVC")
    quoted = [part.strip() for message in re.findall(r"^\| `(.+?)` \|", ours, re.MULTILINE) for part in message.split("…")]
    texts = list(texts_of_the_code())
    assert len(quoted) > 20
    assert [part for part in quoted if not any(part.removeprefix("warning: ") in text for text in texts)] == []
