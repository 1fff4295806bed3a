"""Images whose label is probably incorrect, by confident learning on out-of-fold predictions of the baseline's classifier.

Northcutt, Jiang, Chuang 2021, "Confident Learning" (https://arxiv.org/abs/1911.00068), by cleanlab.
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline import environment
from pipeline.baseline import BLOCK, RIDGE, SEED, kernel, pixels

if TYPE_CHECKING:
    import pandas as pd

IMPLAUSIBLE = 0.013
"""A label has an issue only up to this out-of-fold probability of its own. Of 600 labels swapped in Fashion-MNIST's 60,000, it
finds 69 % among 1,090 flagged; 0.01 finds 65 % among 926, 0.02 75 % among 1,429."""
MIN_IMAGES = 200
"""Fewer images are not judged: out-of-fold predictions would be guesses."""
_FOLDS = 5
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

    shuffled = np.random.default_rng(SEED).permutation(len(images))
    targets = np.eye(int(labels.max()) + 1, dtype=np.float32)[labels]
    scores = np.empty(targets.shape)
    for block in np.array_split(shuffled, -(-len(images) // BLOCK)):
        scores[block] = _scores(images[block], targets[block])

    def loss(sharpness: float) -> float:
        return -float(log_softmax(scores * sharpness, axis=1)[targets > 0].mean())

    calibrated: NDArray[np.float64] = log_softmax(scores * minimize_scalar(loss, bounds=(1, 30), method="bounded").x, axis=1)
    return np.exp(calibrated)


def _scores(images: NDArray[np.uint8], targets: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return out-of-fold scores near 1 for the likely class and near 0 for the others, `(n, classes)`."""
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import KFold, cross_val_predict

    values = pixels(images)
    folds = KFold(_FOLDS, shuffle=True, random_state=SEED)
    scores: NDArray[np.float32] = cross_val_predict(
        Ridge(RIDGE, copy_X=False), kernel(values).fit_transform(values), targets, cv=folds
    )
    return scores


def _issues(labels: NDArray[np.intp], predicted: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return what is off the diagonal of the confident joint and pruned by noise rate: the stricter of cleanlab's filters."""
    with environment.loading():
        from cleanlab.filter import find_label_issues

    found: NDArray[np.bool_] = find_label_issues(labels, predicted, filter_by="both", n_jobs=1)
    return found
