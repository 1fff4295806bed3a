"""A registered version as another training finds it: its model file, and the record of the training it came from."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import provenance
from pipeline.errors import RegistryError
from pipeline.provenance import TrainingRecord


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
        RegistryError: there is no such version, or its files cannot be had.
    """
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    entry = _find(client, model_name, wanted)
    with tempfile.TemporaryDirectory() as folder:
        try:
            record = download_artifacts(run_id=entry.run_id, artifact_path="provenance/training.json", dst_path=folder)
            model = download_artifacts(f"models:/{model_name}/{entry.version}", dst_path=f"{folder}/model")
        except (MlflowException, OSError) as error:
            reason = " ".join(str(error).split())[:200]
            raise RegistryError(f"the files of {model_name} version {entry.version} cannot be had: {reason}") from None
        (file,) = Path(model).rglob("*.keras")
        yield Registered(model_name, str(entry.version), provenance.read_training(Path(record)), file)


def _find(client: Any, model_name: str, wanted: str) -> Any:
    from mlflow.exceptions import MlflowException

    try:
        if wanted.isdecimal():
            return client.get_model_version(model_name, wanted)
        return client.get_model_version_by_alias(model_name, wanted)
    except MlflowException:
        known = sorted(int(entry.version) for entry in client.search_model_versions(f"name = '{model_name}'"))
        there = f"it has {', '.join(map(str, known))}" if known else "it has none yet"
        raise RegistryError(
            f"{model_name} has no version or alias {wanted!r} ({there}): `python -m pipeline versions` shows them"
        ) from None
