"""Pictures on a web server, by the command line and real DVC: what `run` sees there decides whether ingest runs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline import dataset, params
from pipeline.commands.run import set_dataset
from pipeline.ingest import remote
from pipeline.workspace import Workspace
from tests.ingest.damage import good_folder
from tests.ingest.shelf import serving

pytestmark = pytest.mark.slow
Shell = Callable[..., Any]


def ran(output: str) -> list[str]:
    return [line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")]


def test_what_changes_there_runs_ingest_and_other_data_sets_never_leave_stale_data(
    new_clone: Callable[[Path], Path], tmp_path: Path, shell: Shell
) -> None:
    project, there = new_clone(tmp_path / "project"), tmp_path / "there"
    workspace, path = Workspace(project, project), project / "params.yaml"
    there.mkdir()
    good_folder(there)

    def again() -> tuple[list[str], dataset.Description]:
        remote.refresh(params.load(path).ingest, workspace)
        said = shell("dvc", "repro", "ingest", cwd=project).stdout
        return ran(said), dataset.describe(project / "data/dataset")

    with serving(there) as shelf:
        command = ("python", "-m", "pipeline", "run", "--dataset", "folder", "--name", "pets", "--url", shelf.url)
        done = shell(*command, cwd=project, check=False)  # noise is no data to validate
        assert ran(done.stdout) == ["ingest", "validate"], done.stderr
        assert f"{shelf.url}: 40 files, " in done.stdout
        assert shell("git", "status", "--porcelain", cwd=project).stdout.split() == ["M", "params.yaml", "??", "dvc.lock"]
        stages, first = again()
        assert (stages, first.name, sum(first.counts.values())) == ([], "pets", 40)

        (there / "cat/99.png").write_bytes((there / "dog/00.png").read_bytes())
        stages, more = again()
        assert (stages, sum(more.counts.values())) == (["ingest"], 41)

        set_dataset(path, "digits")
        assert (params.load(path).ingest.url, again()[1].name) == ("", "digits")

        (there / "cat/99.png").unlink()
        set_dataset(path, "folder", "pets", shelf.url)
        assert again()[1] == first
    assert ran(shell("dvc", "repro", "ingest", cwd=project).stdout) == []  # the listing as it stands; nobody is asked
