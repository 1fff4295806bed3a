"""Images whose label is probably incorrect, and a baseline for models: both by one simple classifier.

Labels are judged by confident learning on its out-of-fold predictions:
Northcutt, Jiang, Chuang 2021, "Confident Learning" (https://arxiv.org/abs/1911.00068), by cleanlab. The classifier is
ridge regression on an approximate kernel map (Williams, Seeger 2001, "Using the Nyström Method to Speed Up Kernel Machines").
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline import environment

if TYPE_CHECKING:
    import pandas as pd

IMPLAUSIBLE = 0.013
"""A label has an issue only up to this out-of-fold probability of its own. Of 600 labels swapped in Fashion-MNIST's 60,000, it
finds 69 % among 1,090 flagged; 0.01 finds 65 % among 926, 0.02 75 % among 1,429."""
MIN_IMAGES = 200
"""Fewer images are not judged: out-of-fold predictions would be guesses."""
SIDE = 16  # pixels; at 28, Fashion-MNIST is not classified better, and the features cost four times as much
_FOLDS = 5
_FEATURES = 500  # 86 % of Fashion-MNIST correct out of fold; 1,000 give 87 % at three times the cost
_RIDGE = 0.3
_BLOCK = 40_000  # images predicted together at most, so that memory stays flat
_SEED = 0
_DECIMALS = 4


def columns(
    images: NDArray[np.uint8], labels: "pd.Series[float]", class_names: tuple[str, ...]
) -> "dict[str, pd.Series[float] | pd.Series[str]]":
    """Return the columns `label_probability` and `suggested`.

    Args:
        images: uint8 `(n, h, w, c)`, small.
        labels: The label of each, missing where it is not to be judged.
        class_names: By label.

    Returns:
        label_probability  out-of-fold probability of the given label, 0 … 1; missing where it is not judged
        suggested          the likely class where the label has an issue; missing elsewhere
    """
    import pandas as pd

    rows = np.flatnonzero(labels.notna())
    present, given = np.unique(labels.to_numpy()[rows].astype(np.intp), return_inverse=True)
    probability = np.full(len(labels), np.nan)
    suggested = np.full(len(labels), None, dtype=object)
    if len(rows) >= MIN_IMAGES and len(present) > 1:
        predicted = probabilities(images[rows], given)
        own = predicted[np.arange(len(rows)), given]
        issues = _issues(given, predicted) & (own <= IMPLAUSIBLE)
        probability[rows] = own.round(_DECIMALS)
        suggested[rows[issues]] = np.array(class_names, dtype=object)[present][predicted[issues].argmax(axis=1)]
    return {"label_probability": pd.Series(probability), "suggested": pd.Series(suggested, dtype="str")}


def probabilities(images: NDArray[np.uint8], labels: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return out-of-fold class probabilities, float64 `(n, classes)`, of uint8 `(n, h, w, c)` labelled 0 … classes - 1."""
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    shuffled = np.random.default_rng(_SEED).permutation(len(images))
    targets = np.eye(int(labels.max()) + 1, dtype=np.float32)[labels]
    scores = np.empty(targets.shape)
    for block in np.array_split(shuffled, -(-len(images) // _BLOCK)):
        scores[block] = _scores(images[block], targets[block])

    def loss(sharpness: float) -> float:
        return -float(log_softmax(scores * sharpness, axis=1)[targets > 0].mean())

    calibrated: NDArray[np.float64] = log_softmax(scores * minimize_scalar(loss, bounds=(1, 30), method="bounded").x, axis=1)
    return np.exp(calibrated)


CLASSIFIER = "kernel ridge (Nystroem)"
"""What people read as the name of the classifier."""


def predict(images: NDArray[np.uint8], labels: NDArray[np.int32], test: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Return the classes that the classifier, fitted on `images`, predicts for `test`, `(n,)`.

    Args:
        images: uint8 `(n, h, w, c)`, small, of the training split; of more than `_BLOCK`, so many at random are used.
        labels: The class of each.
        test: Images of the same size.
    """
    from sklearn.linear_model import Ridge

    rows = np.random.default_rng(_SEED).permutation(len(images))[:_BLOCK]
    pixels, classes = _pixels(images[rows]), np.unique(labels[rows])
    kernel = _kernel(pixels)
    targets = (labels[rows, None] == classes).astype(np.float32)
    ridge = Ridge(_RIDGE, copy_X=False).fit(kernel.fit_transform(pixels), targets)
    blocks = np.array_split(test, max(1, -(-len(test) // _BLOCK)))
    scores = [ridge.predict(kernel.transform(_pixels(block))).reshape(len(block), -1) for block in blocks]
    predicted: NDArray[np.int32] = classes[np.concatenate(scores).argmax(axis=1)].astype(np.int32)
    return predicted


def _scores(images: NDArray[np.uint8], targets: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return out-of-fold scores near 1 for the likely class and near 0 for the others, `(n, classes)`."""
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import KFold, cross_val_predict

    pixels = _pixels(images)
    folds = KFold(_FOLDS, shuffle=True, random_state=_SEED)
    scores: NDArray[np.float32] = cross_val_predict(
        Ridge(_RIDGE, copy_X=False), _kernel(pixels).fit_transform(pixels), targets, cv=folds
    )
    return scores


def _pixels(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    return images.reshape(len(images), -1).astype(np.float32) / np.float32(255)


def _kernel(pixels: NDArray[np.float32]) -> Any:
    from sklearn.kernel_approximation import Nystroem

    spread = pixels.var(axis=0).sum()  # the mean squared distance from the mean image
    return Nystroem(gamma=1 / (spread or 1), n_components=min(_FEATURES, len(pixels)), random_state=_SEED)


def _issues(labels: NDArray[np.intp], predicted: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return what is off the diagonal of the confident joint and pruned by noise rate: the stricter of cleanlab's filters."""
    with environment.loading():
        from cleanlab.filter import find_label_issues

    found: NDArray[np.bool_] = find_label_issues(labels, predicted, filter_by="both", n_jobs=1)
    return found
