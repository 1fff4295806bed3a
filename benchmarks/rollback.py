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
from pipeline.promotion import examine, rollback
from pipeline.promotion.writer import model_name, open_writer
from pipeline.workspace import Workspace


def main() -> None:
    """Roll back a few times; print and store what the load took and what the rest."""
    environment.prepare()
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with tempfile.TemporaryDirectory() as folder:
        workspace = copy(Workspace.find(), Path(folder))
        client, model = tracking.connect(workspace), model_name(Project.load(workspace))
        versions = sorted({str(each.version) for each in client.search_model_versions(f"name = '{model}'")}, key=int)
        if len(versions) < 2:
            sys.exit(f"{model} has {len(versions)} versions here: register two first, `dvc exp run -S train.seed=1`")
        bring(client, model, versions[0], workspace)
        examine.loads, loading = adding_up(examine.loads)
        rows = []
        for _ in range(runs):
            bring(client, model, versions[1], workspace)
            started, loaded = time.perf_counter(), sum(loading)
            with contextlib.redirect_stdout(io.StringIO()):
                rollback.run("measured", Project.load(workspace))
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


def bring(client: Any, model: str, version: str, workspace: Workspace) -> None:
    """Move a version to production without a gate."""
    with open_writer(client, model, Project.load(workspace)) as writer:
        writer.move(writer.record("force", tracking.find_version(client, model, version), "production", "for the benchmark"))


if __name__ == "__main__":
    main()
