"""What a checkout and its store hold, read from the files alone: `python -m tests.faults.facts CHECKOUT DATABASE`, JSON.

No server need answer, and nothing is left open in the test's process.
"""

import hashlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

Facts = Mapping[str, Any]
_SHOWN = ("mlflow.note.content", "mlflow.loggedImages")  # of MLflow's own tags, those that a person sees the lack of
_OUTPUTS = ("data/dataset", "data/validated.json", "models/model.keras", "models/training_images.npy", "reports/metrics.json")


def read(root: Path, database: Path) -> Facts:
    """Everything that may be lost, be there twice, or differ."""
    outputs = {name: _digest(root / name) for name in _OUTPUTS if (root / name).exists()}
    left = [*root.rglob("*.part*"), *root.rglob(".*.part*"), *database.parent.rglob("*.part*")]
    stored = _stored(database) if database.exists() else {"runs": [], "versions": [], "records": [], "pending": []}
    unfinished = sorted({str(path.relative_to(root.parent)) for path in left if ".git" not in path.parts})
    return {"outputs": outputs, "unfinished": unfinished, **stored}


def _digest(path: Path) -> str:
    files = sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
    return hashlib.sha256(b"".join(hashlib.sha256(each.read_bytes()).digest() for each in files)).hexdigest()


def _stored(database: Path) -> Facts:
    import mlflow

    client = mlflow.MlflowClient(uri := f"sqlite:///{database}", uri)
    experiments = [each for each in client.search_experiments() if each.name != "Default"]
    ids = [each.experiment_id for each in experiments if not each.name.endswith("-promotions")]
    runs = [_run(client, each, database) for each in client.search_runs(ids)] if ids else []
    models = client.search_logged_models(ids, max_results=100) if ids else []
    records = [each.experiment_id for each in experiments if each.name.endswith("-promotions")]
    return {
        "runs": runs,
        "pending": [each.model_id for each in models if str(each.status) != "READY"],
        "models": [each.source_run_id for each in models if str(each.status) == "READY"],
        "versions": [_version(client, each) for each in client.search_model_versions()],
        "records": sorted(map(_record, client.search_runs(records))) if records else [],
    }


def _run(client: Any, run: Any, database: Path) -> Facts:
    names = [name for name in run.data.metrics if not name.startswith("system/")]
    history = {name: client.get_metric_history(run.info.run_id, name) for name in names}
    folder = database.parent / ("mlartifacts" if run.info.artifact_uri.startswith("file") else "artifacts")
    path = urlsplit(run.info.artifact_uri).path
    place = Path(path) if run.info.artifact_uri.startswith(("file:", "/")) else folder / path.strip("/")
    return {
        "id": run.info.run_id,
        "training": run.data.tags.get("training_id"),
        "weights": run.data.tags.get("weights_digest"),
        "status": run.info.status,
        "params": dict(run.data.params),
        "inputs": sorted(each.dataset.name for each in run.inputs.dataset_inputs),
        "points": {name: [[each.step, each.timestamp, each.value] for each in points] for name, points in history.items()},
        "tags": sorted(name for name in run.data.tags if not name.startswith("mlflow.") or name in _SHOWN),
        "artifacts": {str(each.relative_to(place)): _digest(each) for each in sorted(place.rglob("*")) if each.is_file()},
    }


def _version(client: Any, found: Any) -> Facts:
    whole = client.get_model_version(found.name, found.version)  # a search leaves the aliases out
    return {
        "number": str(whole.version),
        "weights": whole.tags.get("weights_digest"),
        "run": whole.run_id,
        "tags": sorted(whole.tags),
        "aliases": sorted(whole.aliases),
        "stage": whole.tags.get("stage", ""),
        "described": bool(whole.description),
    }


def _record(run: Any) -> list[str]:
    record, part = "", 1
    while piece := run.data.tags.get(f"record.{part}"):
        record, part = record + piece, part + 1
    content = json.loads(record)
    return [*(str(content.get(name)) for name in ("number", "kind", "version", "target")), run.info.status]


if __name__ == "__main__":
    print(json.dumps(read(Path(sys.argv[1]), Path(sys.argv[2]))))
