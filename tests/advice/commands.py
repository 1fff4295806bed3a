"""The commands that messages of `pipeline/` advise, as its source has them."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

_PROGRAMS = r"(dvc|python -m|git|mlflow|make|ssh-\w+|chmod|mv|rm) "


def advised(package: Path) -> dict[tuple[str, str], int]:
    """Return (file, command) → line of each command in backticks in a message, `{}` in the place of what a message fills in."""
    found: dict[tuple[str, str], int] = {}
    for path in sorted(package.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for line, text in _texts(tree):
            for command in re.findall(r"`([^`]+)`", text):
                if re.match(_PROGRAMS, command):
                    found.setdefault((path.relative_to(package).as_posix(), command), line)
    return found


def in_backticks(output: str) -> list[str]:
    """Return the commands that a printed message advises, in order."""
    return [command for command in re.findall(r"`([^`]+)`", output) if re.match(_PROGRAMS, f"{command} ")]


def _texts(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield line and text of each string that is no docstring and no part of a longer one."""
    parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)}
    parts -= {id(node) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)}
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(tree):
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr):
            parts.add(id(node.body[0].value))
    for node in ast.walk(tree):
        if id(node) in parts:
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value
        elif isinstance(node, ast.JoinedStr):
            yield node.lineno, "".join(str(v.value) if isinstance(v, ast.Constant) else "{}" for v in node.values)
