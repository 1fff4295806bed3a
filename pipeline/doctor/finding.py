"""A finding, and what is examined."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.project import Project
from pipeline.promotion.lock import Lock


@dataclass(frozen=True)
class Registry:
    """What belongs to one data set in a tracking store."""

    client: Any  # as `tracking.connect` gives it
    project: Project

    @property
    def model(self) -> str:
        """The registered model."""
        return self.project.model


@dataclass(frozen=True)
class Finding:
    """One defect, as a person is told of it."""

    found: str  # what, with the version, run or file
    means: str
    fix: str  # what --fix does; where it does nothing, the way out
    mend: Callable[[Lock], None] | None = field(default=None, compare=False)  # None: --fix does nothing


@dataclass(frozen=True)
class Examined:
    """What was looked at, and what is wrong with it."""

    what: str  # as in "3 versions"
    findings: Sequence[Finding] = ()


def counted(number: int, noun: str) -> str:
    """How many there are, as in "1 version" or "3 versions"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
