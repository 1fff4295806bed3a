"""What each layer of a network makes of a few pictures, from the first filters to the last feature maps."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Maps = NDArray[np.float32]


@dataclass(frozen=True)
class Step:
    """What a convolution or a pooling answers, after the batch norm and the activation that follow it."""

    name: str
    maps: Maps  # (n, h, w, channels)


@dataclass(frozen=True)
class Insight:
    """The inside of a network, in the order of its layers; both are empty for one without convolutions."""

    filters: Maps  # (h, w, c, filters) of the first convolution
    steps: Sequence[Step]
    of: int  # convolutions and poolings it has; the steps are those that are shown


def look(model: Any, images: NDArray[np.uint8], most: int) -> Insight:
    """Sends `images`, uint8 `(n, h, w, c)`, through the Keras model `model`.

    Of its layers `most` are told, evenly spread, first and last included.
    """
    import keras

    network = _network(model)
    found = list(_tensors(network))
    chosen = np.unique(np.linspace(0, len(found) - 1, min(most, len(found))).round().astype(int)).tolist()
    if not chosen:
        return Insight(np.empty((0, 0, 0, 0), np.float32), [], 0)
    answers = keras.Model(network.inputs[0], [found[place][1] for place in chosen])(images, training=False)
    answers = answers if isinstance(answers, list) else [answers]
    steps = [Step(found[place][0], np.asarray(each, np.float32)) for place, each in zip(chosen, answers, strict=True)]
    return Insight(_first_filters(network), steps, len(found))


def _network(model: Any) -> Any:
    """The model that holds the layers: train wraps its networks in one that ends in probabilities."""
    import keras

    inner = [layer for layer in model.layers if isinstance(layer, keras.Model)]
    return _network(inner[0]) if inner else model


def _tensors(network: Any) -> Iterator[tuple[str, Any]]:
    """Name and output of each convolution and pooling, in the order of the layers; no maps of one pixel, which show nothing."""
    from keras import layers

    kinds = {
        "Convolution": (layers.Conv2D, layers.DepthwiseConv2D, layers.SeparableConv2D),
        "Pooling": (layers.MaxPooling2D, layers.AveragePooling2D),
    }
    counts = dict.fromkeys(kinds, 0)
    for layer in network.layers:
        for kind, types in kinds.items():
            if isinstance(layer, types):
                counts[kind] += 1
                output = _completed(layer.output, network)
                if output.shape[1] != 1 or output.shape[2] != 1:
                    yield f"{kind} {counts[kind]}", output


def _completed(tensor: Any, network: Any) -> Any:
    """`tensor` after the batch norm and the activation that follow it, if they do."""
    from keras import layers

    for layer in network.layers:
        follows = isinstance(layer, layers.BatchNormalization | layers.ReLU | layers.LeakyReLU | layers.Activation)
        if follows and layer.input is tensor:
            tensor = layer.output
    return tensor


def _first_filters(network: Any) -> Maps:
    from keras import layers

    convolutions = [layer for layer in network.layers if isinstance(layer, layers.Conv2D)]
    return np.asarray(convolutions[0].kernel, np.float32) if convolutions else np.empty((0, 0, 0, 0), np.float32)
