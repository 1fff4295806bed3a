"""Temperature scaling: one number, fitted on the validation split, that makes probabilities as sure as they are correct.

Source: Guo et al. 2017, https://arxiv.org/abs/1706.04599. It changes no prediction, only its probability.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.dataset import Split

_LIMIT = 4.0  # the temperature lies between 1/4 and 4
_PRIOR = 0.3  # standard deviation of its logarithm around 0: a few dozen images, all predicted correctly, prove little
_BATCH = 100  # images: at 224×224 pixels, 500 take 0.8 GB more than training does


def calibrate(network: Any, split: Split, flip_averaging: bool) -> float:
    """Divide the logits of `network`, a `keras.Model` from uint8 images to logits, by the temperature that fits `split`.

    Kernel and bias of its last layer, "logits", are divided, so the temperature is part of the weights and of their digest.

    Returns:
        The temperature: above 1 the network was too sure, below 1 not sure enough.
    """
    parts = [split.images[first : first + _BATCH] for first in range(0, len(split), _BATCH)]
    logits = np.concatenate([_logits(network, part, flip_averaging) for part in parts])
    temperature = fitted(logits, split.labels)
    layer = network.get_layer("logits")
    layer.set_weights([weight / np.float32(temperature) for weight in layer.get_weights()])
    return temperature


def _logits(network: Any, images: NDArray[np.uint8], flip_averaging: bool) -> NDArray[np.float64]:
    """Return logits as the classifier averages them; the log-softmax that it takes first moves all classes alike."""
    views = [images, images[:, :, ::-1]] if flip_averaging else [images]
    logits: NDArray[np.float64] = np.mean([np.asarray(network(view, training=False), np.float64) for view in views], axis=0)
    return logits


def fitted(logits: NDArray[np.float64], labels: NDArray[np.int32]) -> float:
    """Return the temperature with the highest likelihood of `labels` `(n,)` for `logits` `(n, classes)`, given _PRIOR."""
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    rows = np.arange(len(labels))

    def cost(logarithm: float) -> float:
        likelihood = log_softmax(logits / np.exp(logarithm), axis=1)[rows, labels].sum()
        return float(logarithm**2 / (2 * _PRIOR**2) - likelihood)

    best = minimize_scalar(cost, bounds=(-np.log(_LIMIT), np.log(_LIMIT)), method="bounded")
    return round(float(np.exp(best.x)), 4)
