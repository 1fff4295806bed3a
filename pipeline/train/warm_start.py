"""Initial weights from a version in the registry."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from pipeline import environment, provenance, tracking
from pipeline.dataset import Description
from pipeline.errors import TrainingError
from pipeline.provenance import TrainingRecord
from pipeline.tracking import Source
from pipeline.workspace import Workspace

Lineage = Mapping[str, str]


def load(model: Any, wanted: str, data: Description, workspace: Workspace) -> Lineage:
    """Give `model`, fresh from `architectures.build`, the weights of the registered version `wanted`, a number or an alias.

    Returns:
        Where they come from: `model_name`, `version`, `training_id`, `weights_digest`.

    Raises:
        RegistryError: there is no such version, or its files are not available.
        TrainingError: it was made for other images, classes or weights.
    """
    client = tracking.connect(workspace)
    version = tracking.find_version(client, provenance.model_name(data.name), wanted)
    record = tracking.training_record(client, version)
    _check_data(version, record, data)
    with tracking.model_file(client, version) as path:
        _copy_weights(version, record, path, model)
    return {
        "model_name": version.model_name,
        "version": str(version.version),
        "training_id": record.training_id,
        "weights_digest": record.weights_digest,
    }


def _check_data(version: Source, record: TrainingRecord, data: Description) -> None:
    if record.image_shape != data.image_shape:
        expected, found = ("×".join(map(str, shape)) for shape in (record.image_shape, data.image_shape))
        _refuse(version, f"takes images of {expected}, {data.name} has {found}")
    if record.class_names != data.class_names:
        other = sorted({*record.class_names} ^ {*data.class_names})
        _refuse(version, f"has other classes ({', '.join(other[:5])})" if other else "has its classes in another order")


def _copy_weights(version: Source, record: TrainingRecord, path: Path, model: Any) -> None:
    environment.load_tensorflow()
    import keras

    classifier = keras.saving.load_model(path, compile=False, safe_mode=True)
    if provenance.weights_digest(classifier) != record.weights_digest:
        _refuse(version, "has a model file that is not the one that was registered")
    weights = [weight for layer in classifier.layers if layer.name == model.name for weight in layer.get_weights()]
    if [weight.shape for weight in weights] != [weight.shape for weight in model.get_weights()]:
        _refuse(version, f"has architecture {record.architecture}, whose weights do not fit {model.name}")
    model.set_weights(weights)


def _refuse(version: Source, why: str) -> NoReturn:
    raise TrainingError(
        f'train.warm_start: {version.model_name} version {version.version} {why}: choose another version, or "" to start '
        "from scratch"
    )
