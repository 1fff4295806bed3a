"""Versions in the MLflow model registry: found by their content, created once, with tags to filter by."""

from collections.abc import Mapping
from typing import Any

from pipeline import tracking
from pipeline.provenance import TrainingRecord
from pipeline.tracking import lock

_WAIT = 120  # seconds; a promotion holds the lock while its gate loads a model


def find_version(client: Any, training: TrainingRecord) -> str | None:
    """Return the version with the weights and the data of `training`: the same model on the same data is the same version."""
    first, *repeated = _versions(client, training) or [0]
    if repeated:
        same = f"of the same weights and data as version {first}, which alone is used"
        tracking.warn(f"{training.model_name} has {len(repeated) + 1} versions {same}: delete {', '.join(map(str, repeated))}")
    return str(first) if first else None


def _versions(client: Any, training: TrainingRecord) -> list[int]:
    wanted = f"name = '{training.model_name}' and tags.weights_digest = '{training.weights_digest}'"
    same_weights = client.search_model_versions(wanted)
    return sorted(int(each.version) for each in same_weights if each.tags.get("dataset_digest") == training.dataset_digest)


def tags(training: TrainingRecord, accuracy: float) -> dict[str, str]:
    """Return the tags of a version that people filter by, as in `tags.architecture = 'default'`."""
    return {
        "dataset": training.dataset_name,
        "dataset_digest": training.dataset_digest,
        "weights_digest": training.weights_digest,
        "architecture": training.architecture,
        "test_accuracy": f"{accuracy:.4f}",
        "training_id": training.training_id,
        "git_commit": training.git.commit or "unknown",
    }


def create_version(
    client: Any, training: TrainingRecord, model_id: str, run_id: str, tags: Mapping[str, str], description: str
) -> str:
    """Create a version of the logged model `model_id`, and the registered model with the first; return its number.

    It is made under the model's lock: of two clones that register one model at once, the second finds the version of the first.

    Raises:
        LockedError: another process changes the model, and does not end.
    """
    _ensure_registered_model(client, training)
    with lock.held(client, training.model_name, _WAIT):
        if known := find_version(client, training):
            return known
        client.create_model_version(
            training.model_name,
            source=f"models:/{model_id}",
            run_id=run_id,
            tags=dict(tags),
            description=description,
            model_id=model_id,
        )
        first, *repeated = _versions(client, training)
        for number in repeated:  # MLflow's client repeats a request whose answer was lost
            client.delete_model_version(training.model_name, str(number))
            print(f"deleted version {number}: the request for version {first} was repeated, because its answer was lost")
    return str(first)


def _ensure_registered_model(client: Any, training: TrainingRecord) -> None:
    from mlflow.exceptions import MlflowException

    size = "×".join(map(str, training.image_shape[:2]))
    description = (
        f"Classifies {size} images of {training.dataset_name} into {len(training.class_names)} classes. "
        "Every version passed the gate of `register`; the aliases `staging` and `production` name the versions in use."
    )
    try:
        client.create_registered_model(
            training.model_name, {"dataset": training.dataset_name, "task": "image-classification"}, description
        )
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
