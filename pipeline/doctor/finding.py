"""What doctor checks, and what it finds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.project import Project
from pipeline.tracking.lock import Lock


@dataclass(frozen=True)
class Registry:
    """The tracking store, as far as it is about one data set."""

    client: Any  # as `tracking.connect` gives it
    project: Project

    @property
    def model(self) -> str:
        """The registered model."""
        return self.project.model


@dataclass(frozen=True)
class Finding:
    """One problem, as doctor reports it."""

    problem: str  # with the version, run or file
    meaning: str
    remedy: str  # what --fix does, or what to do by hand
    fix: Callable[[Lock], None] | None = field(default=None, compare=False)  # None: no automatic fix


@dataclass(frozen=True)
class Checked:
    """What was checked, and the problems found."""

    what: str  # as in "3 versions"
    findings: Sequence[Finding] = ()


def counted(number: int, noun: str) -> str:
    """Return number and noun, as in "1 version" or "3 versions"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
