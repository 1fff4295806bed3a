"""Initial weights from a version in the registry."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from pipeline import model_file, provenance, tracking
from pipeline.dataset import Description
from pipeline.errors import EvaluationError, TrainingError
from pipeline.provenance import TrainingRecord
from pipeline.tracking import Source, entry
from pipeline.workspace import Workspace

Lineage = Mapping[str, str]


def load(model: Any, wanted: str, data: Description, workspace: Workspace) -> tuple[Lineage, NDArray[np.uint64]]:
    """Give `model`, fresh from `architectures.build`, the weights of the registered version `wanted`, a number or an alias.

    Returns:
        Where they come from: `model_name`, `version`, `training_id`, `weights_digest`; and the digests of the images that
        the version was trained on.

    Raises:
        RegistryError: there is no such version, or its files are not available.
        TrainingError: it was made for other images, classes or weights.
    """
    client = tracking.connect(workspace, create=True)
    version = tracking.find_version(client, provenance.model_name(data.name), wanted)
    record = tracking.training_record(client, version)
    _check_data(version, record, data)
    with tracking.model_folder(client, version) as folder:
        images = entry.training_images(folder, version.name)
        if images is None:
            _refuse(version, f"does not say on which images it was trained (it holds no {entry.IMAGES})")
        _copy_weights(version, record, folder / entry.MODEL, model)
    lineage = {
        "model_name": version.model_name,
        "version": str(version.version),
        "training_id": record.training_id,
        "weights_digest": record.weights_digest,
    }
    return lineage, images


def _check_data(version: Source, record: TrainingRecord, data: Description) -> None:
    if record.image_shape != data.image_shape:
        expected, found = ("×".join(map(str, shape)) for shape in (record.image_shape, data.image_shape))
        _refuse(version, f"takes images of {expected}, {data.name} has {found}")
    if record.class_names != data.class_names:
        other = sorted({*record.class_names} ^ {*data.class_names})
        _refuse(version, f"has other classes ({', '.join(other[:5])})" if other else "has its classes in another order")


def _copy_weights(version: Source, record: TrainingRecord, path: Path, model: Any) -> None:
    try:
        classifier = model_file.load(path)
    except EvaluationError as error:
        _refuse(version, f"has a model file that is refused: {error}")
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
