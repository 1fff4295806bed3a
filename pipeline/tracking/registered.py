"""Models by name: a registered version, or a run of the tracking store; its files and its training's record."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import environment, provenance
from pipeline.errors import RegistryError
from pipeline.provenance import TrainingRecord
from pipeline.tracking import entry, manifest
from pipeline.tracking.failures import is_lost
from pipeline.tracking.manifest import MANIFEST
from pipeline.tracking.models import logged_model

_MIN_PREFIX = 4  # characters of a run's id


@dataclass(frozen=True)
class Source:
    """Where a model comes from."""

    name: str  # for people: "version 3 (production)", "run 1a2b3c4d"
    run_id: str
    model_name: str
    version: str | None = None  # None: a run, which need not be registered


def find_version(client: Any, model_name: str, wanted: str) -> Source:
    """Return the version `wanted`, a number or an alias, of `model_name`, which need not exist.

    Raises:
        RegistryError: there is no such version.
    """
    source, known = _look_up(client, model_name, wanted)
    if source is None:
        raise RegistryError(
            f"{model_name} has no version or alias {wanted!r} ({known}): `python -m pipeline versions` shows them"
        )
    return source


def find(client: Any, model_name: str, wanted: str) -> Source:
    """Return the version or the run that `wanted` names: a version, an alias, or a run's id or a prefix of it, in this order.

    Raises:
        RegistryError: nothing has this name, or more than one run has this prefix.
    """
    source, known = _look_up(client, model_name, wanted)
    if source:
        return source
    runs = _find_runs(client, wanted)
    if len(runs) == 1:
        return Source(f"run {runs[0][:8]}", runs[0], model_name)
    if runs:
        raise RegistryError(f"more than one run begins with {wanted!r} ({', '.join(runs)} …): give more of its id")
    raise RegistryError(
        f"{model_name} has no version or alias {wanted!r} ({known}), and no run begins so: "
        "`python -m pipeline versions` shows versions and runs"
    )


def _look_up(client: Any, model_name: str, wanted: str) -> tuple[Source | None, str]:
    """Return the version `wanted`, if there is one, and the existing versions for a message."""
    models = client.search_registered_models(f"name = '{model_name}'")
    aliases = {alias: str(version) for model in models for alias, version in model.aliases.items()}
    entries = {str(entry.version): entry for entry in client.search_model_versions(f"name = '{model_name}'")}
    known = f"it has {', '.join(sorted(entries, key=int))}" if entries else "it has none yet"
    number = aliases.get(wanted, wanted)
    if number not in entries:
        return None, known
    stages = sorted(alias for alias, version in aliases.items() if version == number)
    name = f"version {number}" + (f" ({', '.join(stages)})" if stages else "")
    return Source(name, entries[number].run_id or "", model_name, number), known


def _find_runs(client: Any, prefix: str) -> list[str]:
    """Return at most two ids of runs that begin with `prefix`, in all experiments."""
    if len(prefix) < _MIN_PREFIX or not set(prefix) <= set("0123456789abcdef"):
        return []
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    found = client.search_runs(experiments, f"attributes.run_id LIKE '{prefix}%'", max_results=2)
    return [str(run.info.run_id) for run in found]


def training_record(client: Any, source: Source) -> TrainingRecord:
    """Return the record of the training that made the model.

    Raises:
        RegistryError: the run is gone or has none.
    """
    with artifact(client, source, "provenance/training.json") as path:
        if path is None:
            raise RegistryError(
                f"{source.name} has no provenance/training.json on its run {source.run_id}: this pipeline did not train it"
            )
        return provenance.read_training(path)


@contextmanager
def artifact(client: Any, source: Source, path: str) -> Iterator[Path | None]:
    """Yield the file `path` of the source's run, in a temporary folder; None where the run has no such file.

    Raises:
        RegistryError: the run is gone, or its artifact store does not answer.
    """
    with tempfile.TemporaryDirectory() as folder:
        with _fetching(source):
            exists = path in {file.path for file in client.list_artifacts(source.run_id, str(Path(path).parent))}
            found = Path(client.download_artifacts(source.run_id, path, folder)) if exists else None
        yield found


@contextmanager
def model_folder(client: Any, source: Source) -> Iterator[Path]:
    """Yield a temporary folder with all files of the source's model; those of a version are checked by its manifest.

    Raises:
        RegistryError: they cannot be read, do not match the manifest, or are not what this pipeline logs (see `entry`).
    """
    from mlflow.artifacts import download_artifacts

    with tempfile.TemporaryDirectory() as temporary:
        with _fetching(source):
            folder = Path(download_artifacts(_model_uri(client, source), dst_path=temporary))
            tags = client.get_model_version(source.model_name, source.version).tags if source.version else {}
        if source.version:
            manifest.check(folder, tags.get(MANIFEST, ""), f"{source.model_name} {source.name}")
        entry.check(folder, f"{source.model_name} {source.name}")
        yield folder


def _model_uri(client: Any, source: Source) -> str:
    if source.version:
        return f"models:/{source.model_name}/{source.version}"
    model = logged_model(client, client.get_run(source.run_id).info.experiment_id, source.run_id)
    if model is None:
        raise RegistryError(f"{source.name} has no model: its training did not finish")
    return f"models:/{model.model_id}"


@contextmanager
def _fetching(source: Source) -> Iterator[None]:
    """Turn whatever fails while files are fetched into one line."""
    try:
        yield
    except Exception as error:
        if not is_lost(error):
            raise
        raise RegistryError(
            f"the files of {source.model_name} {source.name} cannot be read ({environment.message(error)}): "
            "`python -m pipeline doctor` says what to do"
        ) from None
