"""Versions as register creates them, and damage to their files in the store."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from pipeline import tracking
from pipeline.register import registry
from pipeline.tracking import Source, manifest
from pipeline.tracking.manifest import MANIFEST

_MLMODEL = """\
flavors:
  keras:
    data: data
    keras_backend: tensorflow
    keras_version: 3.15.1
    save_exported_model: false
  python_function:
    env:
      conda: conda.yaml
      virtualenv: python_env.yaml
    loader_module: mlflow.keras
    python_version: 3.11.7
is_signature_from_type_hint: false
mlflow_version: 3.17.2
utc_time_created: '2026-11-25 05:58:41.068212'
"""
FILES = {"MLmodel": _MLMODEL, "data/keras_module.txt": "keras", "data/model.keras": "weights"}
"""The least that the entry of a model holds; the model file itself is none."""


def register(client: Any, model: str, run_id: str) -> str:
    """Create a version of the run's model without asking the gate, also where there is an equal one; return its number."""
    run = client.get_run(run_id)
    logged = tracking.logged_model(client, run.info.experiment_id, run_id)
    assert logged is not None
    source = Source(f"run {run_id}", run_id, model)
    training = replace(tracking.training_record(client, source), dataset_name=model.removesuffix("-classifier"))
    with tracking.model_folder(client, source) as folder:
        tags = {**registry.tags(training, 0.5), MANIFEST: manifest.of(folder)}
    registry._ensure_registered_model(client, training)
    model_id, uri = logged.model_id, f"models:/{logged.model_id}"
    return str(client.create_model_version(model, uri, run_id, tags=tags, description="", model_id=model_id).version)


def stored_files(client: Any, model: str, version: str) -> Path:
    """Return the folder of a version's files in a store on this machine."""
    return Path(unquote(urlsplit(client.get_model_version_download_uri(model, version)).path))


def alter(folder: Path) -> str:
    """Flip one bit in the middle of a file."""
    path = folder / "data" / "model.keras"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    return "its file data/model.keras was altered"


def remove(folder: Path) -> str:
    (folder / "conda.yaml").unlink()
    return "its file conda.yaml is missing"


def add(folder: Path) -> str:
    (folder / "data" / "sitecustomize.py").touch()
    return "the file data/sitecustomize.py was added"


DAMAGES: tuple[Callable[[Path], str], ...] = (alter, remove, add)
"""Each damages the files in a folder and returns how that is reported."""
