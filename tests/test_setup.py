"""Files around the pipeline: DVC's configuration, the Makefile, the workflows, the links between documents."""

import ast
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
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


def test_a_clone_with_windows_line_ends_in_its_configuration_has_none(
    shell: Shell, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    files = (".gitattributes", "setup/dvc", "Makefile", ".ci/run", "params.yaml", "pipeline/cli.py")
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(PROJECT / name, tmp_path / name)
    shell("git", "init", "-q", cwd=tmp_path)
    shell("git", "add", "-A", cwd=tmp_path)
    shell("git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "all", cwd=tmp_path)
    clone = tmp_path_factory.mktemp("windows")
    shell("git", "-c", "core.autocrlf=true", "-c", "core.eol=crlf", "clone", "-q", str(tmp_path), str(clone), cwd=clone)
    assert [name for name in files if b"\r" in (clone / name).read_bytes()] == []


@pytest.mark.parametrize(
    ("home", "caches"), [("/proc", ".cache/uv .cache/pip"), ("home", "")], ids=["not writable", "writable"]
)
def test_what_set_up_downloads_lies_in_the_checkout_only_where_home_cannot_be_written(
    shell: Shell, tmp_path: Path, home: str, caches: str
) -> None:
    shutil.copy(PROJECT / "Makefile", tmp_path)
    (tmp_path / "more.mk").write_text("include Makefile\nshow:\n\t@echo $$UV_CACHE_DIR $$PIP_CACHE_DIR\n")
    (tmp_path / "home").mkdir()
    done = shell("make", "--no-print-directory", "-f", "more.mk", "show", cwd=tmp_path, HOME=str(tmp_path / home))
    assert done.stdout.split() == [str(tmp_path / name) for name in caches.split()]


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
    targets = re.findall(r"^\.PHONY: help (.*) setup (.*) moved$", (PROJECT / "Makefile").read_text(), re.MULTILINE)
    listed = re.findall(r"make ([a-z-]+)  ", shell("make", cwd=PROJECT).stdout)
    assert sorted(listed) == sorted(" ".join(targets[0]).split())


@pytest.fixture
def set_up(tmp_path: Path) -> Path:
    """A checkout whose .venv was set up there, without its packages."""
    (folder := tmp_path / "it's here").mkdir()
    for name in ("Makefile", "requirements.lock"):
        shutil.copy(PROJECT / name, folder)
    shutil.copytree(PROJECT / "setup", folder / "setup")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", ".venv"], cwd=folder, check=True)
    with (folder / ".venv/pyvenv.cfg").open("a") as file:
        file.write("relocatable = true\n")
    for name in (".ready-requirements.lock", "bin/dvc"):
        (folder / ".venv" / name).touch()
    return folder


def activated(folder: Path) -> str:
    command = ["sh", "-c", '. .venv/bin/activate && echo "$VIRTUAL_ENV" && command -v python']
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


def make(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["make", "-s", "setup", *arguments], cwd=folder, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


@pytest.mark.parametrize("move", [Path.rename, partial(shutil.copytree, symlinks=True)], ids=["moved", "copied"])
def test_an_environment_that_was_moved_or_copied_is_set_up_for_its_place(set_up: Path, move: Callable[..., object]) -> None:
    assert make(set_up) == ""
    other = set_up.with_name("over there, 100%")
    move(set_up, other)
    assert make(other) == "the checkout was moved or copied: setting up .venv for this place\n"
    assert activated(other).splitlines() == [f"{other}/.venv", f"{other}/.venv/bin/python"]
    assert "relocatable = true" in (other / ".venv/pyvenv.cfg").read_text()
    assert make(other) == ""


def test_a_link_to_the_environment_of_another_checkout_was_not_moved(set_up: Path, tmp_path: Path) -> None:
    (set_up / ".venv").rename(tmp_path / "shared")
    (set_up / ".venv").symlink_to(tmp_path / "shared")
    assert make(set_up) == ""


def test_an_environment_that_names_its_old_place_in_every_program_is_set_up_again(set_up: Path) -> None:
    settings = set_up / ".venv/pyvenv.cfg"
    settings.write_text(settings.read_text().replace("relocatable = true", ""))
    said = make(set_up.rename(set_up.with_name("there")), "PYTHON=/nonexistent/python3")
    assert "/nonexistent/python3" in said


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
