"""A version of the registry, or a run of the tracking store, as others find it: its model file and its training's record."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import provenance
from pipeline.errors import RegistryError
from pipeline.provenance import TrainingRecord
from pipeline.tracking import manifest
from pipeline.tracking.manifest import MANIFEST
from pipeline.tracking.models import logged_model
from pipeline.tracking.store import lost_errors

_SHORTEST = 4  # characters of the beginning of a run's id


@dataclass(frozen=True)
class Source:
    """Where a model comes from."""

    name: str  # as people say it: "version 3 (production)", "run 1a2b3c4d"
    run_id: str
    model_name: str
    version: str | None = None  # None: a run, which need not be registered


@dataclass(frozen=True)
class Registered:
    """One version, fetched."""

    model_name: str
    version: str
    record: TrainingRecord
    model: Path  # a .keras file, for as long as `fetched` lasts


@contextmanager
def fetched(client: Any, model_name: str, wanted: str) -> Iterator[Registered]:
    """The version `wanted`, a number or an alias, of the registered model `model_name`; its files lie in a temporary folder.

    Raises:
        RegistryError: there is no such version, or its files cannot be had or are not the ones that were registered.
    """
    source = find_version(client, model_name, wanted)
    record = training_record(client, source)
    with model_file(client, source) as model:
        yield Registered(model_name, str(source.version), record, model)


def find_version(client: Any, model_name: str, wanted: str) -> Source:
    """The version `wanted`, a number or an alias, of the registered model `model_name`, which need not exist.

    Raises:
        RegistryError: there is no such version.
    """
    source = _find_version(client, model_name, wanted)
    if source is None:
        raise RegistryError(
            f"{model_name} has no version or alias {wanted!r} ({_known(client, model_name)}): "
            "`python -m pipeline versions` shows them"
        )
    return source


def find(client: Any, model_name: str, wanted: str) -> Source:
    """The version or the run `wanted` speaks of.

    Args:
        client: As `connect` gives it.
        model_name: The registered model whose versions and aliases are meant; it need not exist.
        wanted: A version, an alias, or the id of a run or its beginning. A version comes before a run.

    Raises:
        RegistryError: nothing is called so, or more than one run begins so.
    """
    source = _find_version(client, model_name, wanted)
    if source:
        return source
    runs = _find_runs(client, wanted)
    if len(runs) == 1:
        return Source(f"run {runs[0][:8]}", runs[0], model_name)
    if runs:
        raise RegistryError(f"more than one run begins with {wanted!r} ({', '.join(runs)} …): give more of its id")
    raise RegistryError(
        f"{model_name} has no version or alias {wanted!r} ({_known(client, model_name)}), and no run begins so: "
        "`python -m pipeline versions` shows versions and runs"
    )


def training_record(client: Any, source: Source) -> TrainingRecord:
    """The record of the training the model comes from.

    Raises:
        RegistryError: the run is gone or has none.
    """
    with artifact(client, source, "provenance/training.json") as path:
        if path is None:
            raise RegistryError(
                f"{source.name} has no provenance/training.json on its run {source.run_id}: it was not trained here"
            )
        return provenance.read_training(path)


@contextmanager
def artifact(client: Any, source: Source, path: str) -> Iterator[Path | None]:
    """The file `path` of the source's run, in a temporary folder; None where the run has no such file.

    Raises:
        RegistryError: the run is gone, or what holds its files does not answer.
    """
    with tempfile.TemporaryDirectory() as folder:
        with _had(source):
            there = path in {file.path for file in client.list_artifacts(source.run_id, str(Path(path).parent))}
            found = Path(client.download_artifacts(source.run_id, path, folder)) if there else None
        yield found


@contextmanager
def model_file(client: Any, source: Source) -> Iterator[Path]:
    """The source's .keras file, in a temporary folder.

    Raises:
        RegistryError: as `model_folder`, or there is no such file.
    """
    with model_folder(client, source) as folder:
        files = list(folder.rglob("*.keras"))
        if len(files) != 1:
            raise RegistryError(f"{source.model_name} {source.name} holds {len(files)} .keras files: it is no model of ours")
        yield files[0]


@contextmanager
def model_folder(client: Any, source: Source) -> Iterator[Path]:
    """All files of the source's model, in a temporary folder; those of a version are the ones that were registered.

    Raises:
        RegistryError: they cannot be had, or are not what the version's manifest says.
    """
    from mlflow.artifacts import download_artifacts

    with tempfile.TemporaryDirectory() as temporary:
        with _had(source):
            folder = Path(download_artifacts(_model_uri(client, source), dst_path=temporary))
            tags = client.get_model_version(source.model_name, source.version).tags if source.version else {}
        if source.version:
            manifest.check(folder, tags.get(MANIFEST, ""), f"{source.model_name} {source.name}")
        yield folder


def _model_uri(client: Any, source: Source) -> str:
    if source.version:
        return f"models:/{source.model_name}/{source.version}"
    model = logged_model(client, client.get_run(source.run_id).info.experiment_id, source.run_id)
    if model is None:
        raise RegistryError(f"{source.name} has no model: its training did not end")
    return f"models:/{model.model_id}"


@contextmanager
def _had(source: Source) -> Iterator[None]:
    """What goes wrong while files are fetched, as one line."""
    lost: tuple[type[Exception], ...] = (*lost_errors(), OSError)
    try:
        yield
    except lost as error:
        reason = " ".join(str(error).split())[:200]
        raise RegistryError(f"the files of {source.model_name} {source.name} cannot be had: {reason}") from None


def _find_version(client: Any, model_name: str, wanted: str) -> Source | None:
    models = client.search_registered_models(f"name = '{model_name}'")
    aliases = {alias: str(version) for model in models for alias, version in model.aliases.items()}
    number = aliases.get(wanted, wanted)
    for entry in client.search_model_versions(f"name = '{model_name}'"):
        if str(entry.version) == number:
            stages = sorted(alias for alias, version in aliases.items() if version == number)
            name = f"version {number}" + (f" ({', '.join(stages)})" if stages else "")
            return Source(name, entry.run_id or "", model_name, number)
    return None


def _find_runs(client: Any, wanted: str) -> list[str]:
    """Ids of runs that begin with `wanted`, at most two; of all experiments, so that a whole id is always found."""
    if len(wanted) < _SHORTEST or not set(wanted) <= set("0123456789abcdef"):
        return []
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    found = client.search_runs(experiments, f"attributes.run_id LIKE '{wanted}%'", max_results=2)
    return [str(run.info.run_id) for run in found]


def _known(client: Any, model_name: str) -> str:
    known = sorted(int(entry.version) for entry in client.search_model_versions(f"name = '{model_name}'"))
    return f"it has {', '.join(map(str, known))}" if known else "it has none yet"
