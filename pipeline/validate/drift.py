"""Drift: how far the pictures of one split are from those of another, figure by figure.

The measure is the population stability index, PSI = Σ (p - q) ln(p / q), because it reads the same for a figure (in deciles)
and for class shares; by custom 0.1 is worth a look and 0.25 a change. Equal populations too have a PSI above 0, of about
χ²(bins - 1) · (1/n + 1/m) (Yurdakul 2018, https://scholarworks.wmich.edu/dissertations/3208): what chance alone exceeds once in
1,000 times is taken off, so that a few hundred pictures raise no false alarm.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.dataset import SplitName
from pipeline.validate import profile
from pipeline.validate.profile import FIGURES, Profile

if TYPE_CHECKING:
    import pandas as pd

_COMPARED: tuple[SplitName, ...] = ("test", "validation")
_CHANCE = 0.001
_NEW, _GONE = "new, production was not trained on it", "gone, production was trained on it"
_COLUMNS = ["column", "psi", "chance", "feature_drift", "class_drift"]
Counts = NDArray[np.float64]
Row = tuple[str, float, float, float, float]


def drifts(features: "pd.DataFrame", class_names: tuple[str, ...]) -> "pd.DataFrame":
    """PSI beyond chance of every figure and of the class shares, of test and validation against train.

    Returns:
        A frame with `column` (what is compared), `psi`, `chance`, and the PSI beyond chance, 0 or more, in `feature_drift` or
        `class_drift`; the other of the two is missing, and both are where a split or a figure is.
    """
    import pandas as pd

    train = profile.of(_of(features, "train"), class_names)
    rows = [row for split in _COMPARED for row in _rows(_of(features, split), train, class_names, f"{split} against train")]
    return pd.DataFrame(rows, columns=_COLUMNS)


def since(reference: Profile | None, features: "pd.DataFrame", class_names: tuple[str, ...]) -> "pd.DataFrame":
    """The same of train against `reference`, what production was trained on; without rows where there is none."""
    import pandas as pd

    rows = _rows(_of(features, "train"), reference, class_names, "train against production") if reference else []
    return pd.DataFrame(rows, columns=_COLUMNS).astype(dict.fromkeys(_COLUMNS[1:], "float64"))


def class_changes(reference: Profile | None, features: "pd.DataFrame", class_names: tuple[str, ...]) -> "pd.DataFrame":
    """Which classes came and went.

    Returns:
        A row per class of train or of `reference`: `class_name`, and `change` in words, missing where both have it.
    """
    import pandas as pd

    here = _there(_of(features, "train"), class_names) if reference else set()
    before = {name for name, count in reference.classes.items() if count} if reference else set()
    names = [name for name in dict.fromkeys((*class_names, *sorted(before))) if name in here | before]
    changes = [None if name in here & before else _NEW if name in here else _GONE for name in names]
    return pd.DataFrame({"class_name": pd.Series(names, dtype="str"), "change": pd.Series(changes, dtype="str")})


def _of(features: "pd.DataFrame", split: SplitName) -> "pd.DataFrame":
    return features[features["split"] == split]


def _there(pictures: "pd.DataFrame", class_names: tuple[str, ...]) -> set[str]:
    counts = profile.class_counts(pictures, class_names)
    return {*counts.index[counts > 0]}


def _rows(here: "pd.DataFrame", base: Profile, class_names: tuple[str, ...], between: str) -> Iterator[Row]:
    for figure, bins in base.figures.items():
        if figure in FIGURES:  # the profile of another version of this code can hold others
            psi, chance = _psi(profile.counted(profile.values(here, figure), bins.edges), np.array(bins.counts, np.float64))
            yield f"{figure}, {between}", psi, chance, _beyond(psi, chance), np.nan
    psi, chance = _psi(*_shares(profile.class_counts(here, class_names), base))
    yield f"class shares, {between}", psi, chance, np.nan, _beyond(psi, chance)


def _shares(counts: "pd.Series[int]", base: Profile) -> tuple[Counts, Counts]:
    """How many pictures each class has, of the classes that both have: an absent one has its own expectation."""
    both = [name for name in counts.index if counts[name] and base.classes.get(name)]
    one, other = (np.array([of[name] for name in both], np.float64) for of in (counts, base.classes))
    return one, other


def _beyond(psi: float, chance: float) -> float:
    return float(np.maximum(0, psi - chance))  # keeps what is missing missing


def _psi(here: Counts, there: Counts) -> tuple[float, float]:
    """The PSI of two rows of counts, and what chance exceeds once in 1,000 times; half a picture is added to each bin."""
    from scipy.special import chdtri

    if not here.sum() or not there.sum():
        return np.nan, np.nan
    one, other = ((counts + 0.5) / (counts + 0.5).sum() for counts in (here, there))
    chance = chdtri(max(1, len(here) - 1), _CHANCE) * (1 / here.sum() + 1 / there.sum())
    return float(((one - other) * np.log(one / other)).sum().round(6)), float(np.round(chance, 6))
