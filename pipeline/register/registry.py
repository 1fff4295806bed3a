"""Versions in the MLflow model registry: found by what they are, made once."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Candidate:
    """What identifies a version: the same model on the same data is the same version."""

    model_name: str
    weights_digest: str
    dataset_digest: str


def find_version(client: Any, candidate: Candidate) -> str | None:
    """The number of the version that `candidate` already has, if any."""
    wanted = f"name = '{candidate.model_name}' and tags.weights_digest = '{candidate.weights_digest}'"
    same_weights = client.search_model_versions(wanted)
    numbers = [int(v.version) for v in same_weights if v.tags.get("dataset_digest") == candidate.dataset_digest]
    return str(min(numbers)) if numbers else None


def create_version(
    client: Any, candidate: Candidate, model_id: str, run_id: str, tags: Mapping[str, str], description: str
) -> str:
    """Makes a version from the logged model `model_id`, and the registered model if it is the first.

    Returns:
        The version's number.
    """
    _ensure_registered_model(client, candidate.model_name)
    identity = {"weights_digest": candidate.weights_digest, "dataset_digest": candidate.dataset_digest}
    made = client.create_model_version(
        candidate.model_name,
        source=f"models:/{model_id}",
        run_id=run_id,
        tags={**identity, **tags},
        description=description,
        model_id=model_id,
    )
    return str(made.version)


def _ensure_registered_model(client: Any, name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name, description="Made by the pipeline: every version passed the gate of `register`.")
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
