"""The laboratories: one for each kind of store, made when the first fault needs it."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import results
from tests.faults.laboratory import Laboratory
from tests.faults.warm import warm


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    if not hasattr(os, "pidfd_open"):
        pytest.skip("needs process file descriptors, a matter of Linux")
    with warm(tmp_path_factory.mktemp("warm")) as found:
        yield found


@pytest.fixture(scope="session")
def laboratories(tmp_path_factory: pytest.TempPathFactory, programs: Path) -> dict[str, Laboratory]:
    folder = tmp_path_factory.mktemp("laboratory")
    return {"SQLite": Laboratory(folder / "sqlite", programs, False), "server": Laboratory(folder / "server", programs, True)}


def pytest_sessionfinish() -> None:
    """Rewrite the table after a run of all faults, or of some of all."""
    if os.environ.get("FAULTS") == "all":
        results.rewrite_page()
