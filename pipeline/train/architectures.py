"""The networks by name. Each takes uint8 pictures: rescaling is inside, so a saved model needs nothing beside it."""

from collections.abc import Callable, Mapping
from typing import Any

from pipeline.errors import TrainingError
from pipeline.params import TrainParams

Shape = tuple[int, int, int]


def build(params: TrainParams, shape: Shape, classes: int) -> Any:
    """The untrained network `params.architecture`, a `keras.Model` from uint8 `(n, *shape)` to softmax `(n, classes)`.

    Raises:
        TrainingError: pictures of this shape are too small for it.
    """
    architecture, smallest = _ARCHITECTURES[params.architecture]
    if min(shape[:2]) < smallest:
        raise TrainingError(
            f"train.architecture {params.architecture} takes pictures of {smallest}×{smallest} pixels at least, "
            f"these are {shape[0]}×{shape[1]}: raise ingest.image_size"
        )
    return architecture(params, shape, classes)


def _notebook(params: TrainParams, shape: Shape, classes: int) -> Any:
    """The CNN of the well-known notebook: 225,034 parameters and 2.6 million multiply-adds at 28×28×1."""
    from keras import Sequential, layers

    return Sequential(
        [
            layers.Input(shape, dtype="uint8", name="images"),
            layers.Rescaling(1 / 255, name="rescaling"),
            layers.Conv2D(32, 3, activation="relu", name="conv_1"),
            layers.MaxPooling2D(name="pool_1"),
            layers.Conv2D(64, 3, activation="relu", name="conv_2"),
            layers.MaxPooling2D(name="pool_2"),
            layers.Flatten(name="flatten"),
            layers.Dense(128, activation="relu", name="dense"),
            layers.Dropout(params.dropout, seed=params.seed, name="dropout"),
            layers.Dense(classes, activation="softmax", name="probabilities"),
        ],
        name="notebook",
    )


# Name → (builder, smallest height and width in pixels).
_ARCHITECTURES: Mapping[str, tuple[Callable[[TrainParams, Shape, int], Any], int]] = {"notebook": (_notebook, 10)}
