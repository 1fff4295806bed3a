"""How long a rollback takes, beside loading libraries and the model: `python -m benchmarks.rollback [RUNS]`.

Works on a copy of this checkout's registry, which needs two versions; checkout and registry are not changed.
"""

import contextlib
import io
import shutil
import sqlite3
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.measure import adding_up, record
from pipeline import environment, tracking
from pipeline.project import Project
from pipeline.promotion import command, gate
from pipeline.promotion.writer import open_writer
from pipeline.workspace import Workspace


def main() -> None:
    """Roll back a few times; print and store what the load took and what the rest."""
    environment.prepare()
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with tempfile.TemporaryDirectory() as folder:
        workspace = copy(Workspace.find(), Path(folder))
        project = Project.load(workspace)
        client, model = tracking.connect(workspace), project.model
        versions = sorted({str(each.version) for each in client.search_model_versions(f"name = '{model}'")}, key=int)
        if len(versions) < 2:
            sys.exit(f"{model} has {len(versions)} versions here: register two first, `dvc exp run -S train.seed=1`")
        move_to_production(client, versions[0], project)
        gate.load, loading = adding_up(gate.load)
        rows = []
        for _ in range(runs):
            move_to_production(client, versions[1], project)
            started, loaded = time.perf_counter(), sum(loading)
            with contextlib.redirect_stdout(io.StringIO()):
                command.rollback("measured", project)
            rows.append((time.perf_counter() - started, sum(loading) - loaded))
    parts = {
        f"whole rollback, median of {runs}": median(total for total, _ in rows),
        "a new process that loads libraries and model and predicts": median(load for _, load in rows),
        "all the rest": median(total - load for total, load in rows),
    }
    for part, seconds in parts.items():
        print(f"{part:<60} {seconds:.2f} s")
    record("rollback", [{"part": part, "seconds": round(seconds, 2)} for part, seconds in parts.items()])


def copy(here: Workspace, folder: Path) -> Workspace:
    """Return a workspace with a copy of the registry; the files of its models are read in place."""
    for path in (here.params, here.root / "dvc.yaml"):
        shutil.copy(path, folder)
    workspace = Workspace(folder, folder)
    with contextlib.closing(sqlite3.connect(here.database)) as database:
        database.execute("vacuum into ?", (str(workspace.database),))
    return workspace


def move_to_production(client: Any, version: str, project: Project) -> None:
    """Move a version to production without a gate."""
    with open_writer(client, project) as writer:
        source = tracking.find_version(client, project.model, version)
        writer.move(writer.record("force", source, "production", "for the benchmark"))


if __name__ == "__main__":
    main()
