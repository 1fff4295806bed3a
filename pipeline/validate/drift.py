"""Drift: how far the pictures of one split are from those of another, figure by figure.

The measure is the population stability index, PSI = Σ (p - q) ln(p / q), because it reads the same for a figure (in deciles)
and for class shares; by custom 0.1 is worth a look and 0.25 a change. Equal populations too have a PSI above 0, of about
χ²(bins - 1) · (1/n + 1/m) (Yurdakul 2018, https://scholarworks.wmich.edu/dissertations/3208): what chance alone exceeds once in
1,000 times is taken off, so that a few hundred pictures raise no false alarm.
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.dataset import SplitName

if TYPE_CHECKING:
    import pandas as pd

FIGURES = ("pixel_mean", "contrast", "fill")
"""The columns of the features that are compared; the darkest and brightest pixel are nearly constant in most data."""
_COMPARED: tuple[tuple[SplitName, SplitName], ...] = (("test", "train"), ("validation", "train"))
_BINS = 10
_CHANCE = 0.001
Counts = NDArray[np.float64]


def drifts(features: "pd.DataFrame", class_names: tuple[str, ...]) -> "pd.DataFrame":
    """PSI beyond chance of every figure and of the class shares, of test and validation against train.

    Returns:
        A frame with `column` (what is compared), `psi`, `chance`, and the PSI beyond chance, 0 or more, in `feature_drift` or
        `class_drift`; the other of the two is missing, and both are where a split or a figure is.
    """
    import pandas as pd

    rows = []
    for split, base in _COMPARED:
        here, there = (features[features["split"] == name] for name in (split, base))
        for figure in FIGURES:
            psi, chance = _psi(*_deciles(here[figure].dropna().to_numpy(), there[figure].dropna().to_numpy()))
            rows.append((f"{figure}, {split} against {base}", psi, chance, max(0.0, psi - chance), np.nan))
        psi, chance = _psi(*_shares(here["label"], there["label"], len(class_names)))
        rows.append((f"class shares, {split} against {base}", psi, chance, np.nan, max(0.0, psi - chance)))
    return pd.DataFrame(rows, columns=["column", "psi", "chance", "feature_drift", "class_drift"])


def _deciles(here: NDArray[np.float64], there: NDArray[np.float64]) -> tuple[Counts, Counts]:
    """How many values lie between the deciles of `there`."""
    if not len(here) or not len(there):
        return np.zeros(0), np.zeros(0)
    edges = np.unique(np.quantile(there, np.arange(1, _BINS) / _BINS))
    one, other = (np.bincount(np.searchsorted(edges, values), minlength=len(edges) + 1) for values in (here, there))
    return one.astype(np.float64), other.astype(np.float64)


def _shares(here: "pd.Series[int]", there: "pd.Series[int]", classes: int) -> tuple[Counts, Counts]:
    """How many pictures each class has, of the classes that both have: an absent one has its own expectation."""
    one, other = (
        np.bincount(labels[labels.between(0, classes - 1)].astype(np.int64), minlength=classes) for labels in (here, there)
    )
    both = (one > 0) & (other > 0)
    return one[both].astype(np.float64), other[both].astype(np.float64)


def _psi(here: Counts, there: Counts) -> tuple[float, float]:
    """The PSI of two rows of counts, and what chance exceeds once in 1,000 times; half a picture is added to each bin."""
    from scipy.special import chdtri

    if not here.sum() or not there.sum():
        return np.nan, np.nan
    one, other = ((counts + 0.5) / (counts + 0.5).sum() for counts in (here, there))
    chance = chdtri(max(1, len(here) - 1), _CHANCE) * (1 / here.sum() + 1 / there.sum())
    return float(((one - other) * np.log(one / other)).sum().round(6)), float(np.round(chance, 6))
