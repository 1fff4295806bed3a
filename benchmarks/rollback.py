"""What a rollback takes beside loading libraries and the model: `python -m benchmarks.rollback [RUNS]`.

Works on a copy of this checkout's registry, which needs two versions; the checkout and its registry stay as they are.
"""

import contextlib
import io
import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from pipeline import environment, tracking
from pipeline.project import Project
from pipeline.promotion import examine, rollback
from pipeline.promotion.writer import model_name, open_writer
from pipeline.workspace import Workspace


def main() -> None:
    """Rolls back a few times, and prints what the load took and what all the rest."""
    environment.prepare()
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with tempfile.TemporaryDirectory() as folder:
        workspace = copy(Workspace.find(), Path(folder))
        client, model = tracking.connect(workspace), model_name(Project.load(workspace))
        versions = sorted({str(each.version) for each in client.search_model_versions(f"name = '{model}'")}, key=int)
        if len(versions) < 2:
            sys.exit(f"{model} has {len(versions)} versions here: register two first, `dvc exp run -S train.seed=1`")
        bring(client, model, versions[0], workspace)
        loading = timed(examine, "loads")
        rows = []
        for _ in range(runs):
            bring(client, model, versions[1], workspace)
            started, loaded = time.perf_counter(), sum(loading)
            with contextlib.redirect_stdout(io.StringIO()):
                rollback.run("measured", Project.load(workspace))
            rows.append((time.perf_counter() - started, sum(loading) - loaded))
    print(f"rollback, {runs} runs, median: {median(total for total, _ in rows):.2f} s, of which")
    print(f"  a fresh process loads libraries and model, and answers  {median(load for _, load in rows):.2f} s")
    print(f"  all the rest                                            {median(total - load for total, load in rows):.2f} s")


def copy(here: Workspace, folder: Path) -> Workspace:
    """A workspace with a copy of the registry; the files of its models are read where they lie."""
    for path in (here.params, here.root / "dvc.yaml"):
        shutil.copy(path, folder)
    workspace = Workspace(folder, folder)
    with contextlib.closing(sqlite3.connect(here.database)) as database:
        database.execute("vacuum into ?", (str(workspace.database),))
    return workspace


def bring(client: Any, model: str, version: str, workspace: Workspace) -> None:
    """Moves a version to production, whatever a gate would say."""
    with open_writer(client, model, Project.load(workspace)) as writer:
        writer.move(writer.record("force", tracking.find_version(client, model, version), "production", "for the benchmark"))


def timed(module: Any, name: str) -> list[float]:
    """Makes calls of the function add their seconds to the list that is returned."""
    seconds: list[float] = []
    function: Callable[..., Any] = getattr(module, name)

    def run(*arguments: Any) -> Any:
        started = time.perf_counter()
        found = function(*arguments)
        seconds.append(time.perf_counter() - started)
        return found

    setattr(module, name, run)
    return seconds


if __name__ == "__main__":
    main()
