"""Pictures whose label is probably wrong: confident learning on cheap out-of-fold predictions.

Northcutt, Jiang, Chuang 2021, "Confident Learning" (https://arxiv.org/abs/1911.00068), by cleanlab. The predictions come from
ridge regression on random features (Rahimi, Recht 2007, "Random Features for Large-Scale Kernel Machines"): a fold's normal
equations are those of all pictures less its own, so that five folds cost one pass over the pictures and five small solves.
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline import environment
from pipeline.dataset import Dataset
from pipeline.validate.near_duplicates import small

if TYPE_CHECKING:
    import pandas as pd

FOLDS = 5
IMPLAUSIBLE = 0.01
"""A label is suspected up to this out-of-fold probability of its own. Of 600 labels swapped in Fashion-MNIST's 60,000 it finds
69 %, among 1,111 suspects; at least 0.95 for the suggested class found 55 %, among 1,040."""
MIN_PICTURES = 200
"""Of fewer pictures nothing is said: out-of-fold predictions would be guesses."""
_SIDE = 16  # pixels; at 28 Fashion-MNIST is not told better, and the features cost four times as much
_FEATURES = 1_000  # 87 % of Fashion-MNIST right out of fold; 2,000 give 88 % at four times the cost
_RIDGE = 1e-3  # of the mean diagonal of the normal equations
_CHUNK = 4_096  # pictures
_SEED = 0
_DECIMALS = 4
Matrix = NDArray[np.float32]


def columns(data: Dataset, features: "pd.DataFrame") -> "dict[str, pd.Series[float] | pd.Series[str]]":
    """The columns `label_probability` and `suggested`.

    Args:
        data: the pictures.
        features: their frame so far, with `label` and `contrast`.

    Returns:
        label_probability  out-of-fold probability of the given label, 0 … 1; missing where there is none to be had
        suggested          the likely class where the label is suspected; missing elsewhere
    """
    import pandas as pd

    usable = features["label"].between(0, data.description.classes - 1) & (features["contrast"] > 0)
    rows = np.flatnonzero(usable)
    present, labels = np.unique(features["label"].to_numpy()[rows], return_inverse=True)
    probability = np.full(len(features), np.nan)
    suggested = np.full(len(features), None, dtype=object)
    if len(rows) >= MIN_PICTURES and len(present) > 1:
        predicted = probabilities(
            np.concatenate([small(split.images, _SIDE) for split in data.splits().values()])[rows], labels
        )
        names = np.array(data.description.class_names, dtype=object)[present]
        wrong = _suspected(labels, predicted)
        probability[rows] = predicted[np.arange(len(rows)), labels].round(_DECIMALS)
        suggested[rows[wrong]] = names[predicted[wrong].argmax(axis=1)]
    return {
        "label_probability": pd.Series(probability, index=features.index),
        "suggested": pd.Series(suggested, index=features.index, dtype="str"),
    }


def probabilities(images: NDArray[np.uint8], labels: NDArray[np.intp]) -> NDArray[np.float64]:
    """Out-of-fold class probabilities, float64 `(n, classes)`, of uint8 `(n, h, w, c)` labelled 0 … classes - 1."""
    folds = np.random.default_rng(_SEED).permutation(len(images)) % FOLDS
    projection = _projection(int(np.prod(images.shape[1:])))
    targets = np.eye(int(labels.max()) + 1, dtype=np.float32)[labels]
    grams, sums = _normal_equations(images, targets, folds, projection)
    weights = [_solved(sum(grams) - grams[fold], sum(sums) - sums[fold]) for fold in range(FOLDS)]
    return _calibrated(_scores(images, folds, projection, np.stack(weights)), labels)


def _projection(pixels: int) -> Matrix:
    """Random weights with their offsets in the last row, and a last column that makes a constant of every picture."""
    drawn = np.random.default_rng(_SEED).standard_normal((pixels + 1, _FEATURES), dtype=np.float32)
    drawn[:-1] *= np.float32(2 / np.sqrt(pixels))
    constant = np.zeros((pixels + 1, 1), np.float32)
    constant[-1] = 1
    return np.hstack([drawn, constant])


def _lifted(images: NDArray[np.uint8], projection: Matrix) -> Matrix:
    """Random features with a constant, float32 `(n, _FEATURES + 1)`."""
    flat = images.reshape(len(images), -1) * np.float32(1 / 127.5) - np.float32(1)
    lifted = flat @ projection[:-1]
    lifted += projection[-1]
    return np.maximum(lifted, 0, out=lifted)


def _normal_equations(
    images: NDArray[np.uint8], targets: Matrix, folds: NDArray[np.intp], projection: Matrix
) -> tuple[list[Matrix], list[Matrix]]:
    """XᵀX and XᵀY of each fold."""
    grams, sums = [], []
    for fold in range(FOLDS):
        rows = np.flatnonzero(folds == fold)
        gram = np.zeros((_FEATURES + 1, _FEATURES + 1), np.float32)
        total = np.zeros((_FEATURES + 1, targets.shape[1]), np.float32)
        for start in range(0, len(rows), _CHUNK):
            chunk = rows[start : start + _CHUNK]
            lifted = _lifted(images[chunk], projection)
            gram += lifted.T @ lifted
            total += lifted.T @ targets[chunk]
        grams.append(gram)
        sums.append(total)
    return grams, sums


def _solved(gram: Matrix, total: Matrix) -> Matrix:
    """Ridge weights; in float64, because normal equations square the condition number."""
    exact = gram.astype(np.float64)
    exact[np.diag_indices_from(exact)] += _RIDGE * np.trace(exact) / len(exact)
    return np.linalg.solve(exact, total).astype(np.float32)


def _scores(images: NDArray[np.uint8], folds: NDArray[np.intp], projection: Matrix, weights: Matrix) -> Matrix:
    scores = np.empty((len(images), weights.shape[2]), np.float32)
    for fold in range(FOLDS):
        rows = np.flatnonzero(folds == fold)
        for start in range(0, len(rows), _CHUNK):
            chunk = rows[start : start + _CHUNK]
            scores[chunk] = _lifted(images[chunk], projection) @ weights[fold]
    return scores


def _calibrated(scores: Matrix, labels: NDArray[np.intp]) -> NDArray[np.float64]:
    """Softmax of the scores at the sharpness that makes the labels likeliest."""
    from scipy.special import log_softmax

    logs = [log_softmax(scores.astype(np.float64) * sharpness, axis=1) for sharpness in (2, 4, 6, 8, 10, 12, 16)]
    best = max(logs, key=lambda log: float(log[np.arange(len(labels)), labels].mean()))
    likely: NDArray[np.float64] = np.exp(best)
    return likely


def _suspected(labels: NDArray[np.intp], predicted: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Off the diagonal of the confident joint, and pruned by noise rate as well: the stricter of cleanlab's filters."""
    with environment.loading():
        from cleanlab.filter import find_label_issues

    found: NDArray[np.bool_] = find_label_issues(labels, predicted, filter_by="both", n_jobs=1)
    implausible: NDArray[np.bool_] = predicted[np.arange(len(labels)), labels] <= IMPLAUSIBLE
    return found & implausible
