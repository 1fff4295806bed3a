"""Drift: how far the images of one data set or split are from those of another, feature by feature.

A profile holds the histogram of each feature and the images per class: small, and enough to compare data with a data set that
is no longer at hand. The measure is the population stability index, PSI = Σ (p - q) ln(p / q), because it reads the same for a
feature (in deciles) and for class shares; by custom, 0.1 deserves a look and 0.25 is a change. Equal populations have a PSI
above 0 too, of about χ²(bins - 1) · (1/n + 1/m) (Yurdakul 2018, https://scholarworks.wmich.edu/dissertations/3208). What chance
alone exceeds once in 1,000 times is subtracted, so that a few hundred images raise no false alarm.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from pipeline.dataset import Description
from pipeline.errors import DatasetError

if TYPE_CHECKING:
    import pandas as pd

RANGES = {"pixel_mean": 256, "contrast": 128, "foreground_fraction": 1}
"""Feature → upper end of its range, which begins at 0. The darkest and the brightest pixel are nearly constant in most data."""
CLASS_SHARES = "class shares"
_BINS = 256
_CHANCE = 0.001
Counts = NDArray[np.int64]
Count = Annotated[int, Field(ge=0)]
Histogram = Annotated[tuple[Count, ...], Field(min_length=_BINS, max_length=_BINS)]  # images per bin of the feature's range


@dataclass(frozen=True, config=ConfigDict(extra="forbid", allow_inf_nan=False))
class Profile:
    """What the images of one split are like; profile.json holds that of the training split."""

    dataset: str
    dataset_digest: str
    features: Mapping[str, Histogram]
    classes: Mapping[str, Count]  # class name → images; 0 where the split has none


@dataclass(frozen=True)
class Drift:
    """How far one feature, or the class shares, lie from those of another profile; NaN where a profile has no images."""

    name: str
    psi: float
    chance: float  # the PSI that equal populations exceed once in 1,000 times

    @property
    def beyond_chance(self) -> float:
        """PSI less what chance explains, 0 or more."""
        return float(np.maximum(0, self.psi - self.chance))  # unlike `max`, NaN stays NaN


def profile(images: "pd.DataFrame", description: Description) -> Profile:
    """Return the profile of one split's rows of the features; missing values and unknown labels are left out."""
    counts = images["class_name"].value_counts().reindex(list(description.class_names), fill_value=0)
    features = {}
    for name, end in RANGES.items():
        histogram, _ = np.histogram(images[name].dropna(), _BINS, (0, end))
        features[name] = tuple(histogram.tolist())
    return Profile(description.name, description.digest, features, {str(name): int(count) for name, count in counts.items()})


def between(profile: Profile, base: Profile) -> tuple[Drift, ...]:
    """Return the drift from `base` of each feature that both have, in the deciles of `base`, and of the class shares.

    Shares are taken over the classes that both have; classes that are new or gone are up to the caller.
    """
    features = [name for name in base.features if name in profile.features]
    classes = [name for name, count in base.classes.items() if count and profile.classes.get(name)]
    shares = (np.array([one.classes[name] for name in classes], np.int64) for one in (profile, base))
    return (
        *(_drift(name, *_in_deciles(profile.features[name], base.features[name])) for name in features),
        _drift(CLASS_SHARES, *shares),
    )


def as_json(profile: Profile) -> str:
    """Return the content of profile.json: equal profiles give equal bytes."""
    return json.dumps(asdict(profile), ensure_ascii=False, allow_nan=False) + "\n"


def read(path: Path) -> Profile:
    """Return the profile in `path`.

    Raises:
        DatasetError: the file is missing or is not what `as_json` makes.
    """
    try:
        return TypeAdapter(Profile).validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error.strerror
        raise DatasetError(f"{path.name} is not a profile written by validate ({reason})") from None


def _in_deciles(here: tuple[int, ...], base: tuple[int, ...]) -> tuple[Counts, Counts]:
    """Merge the bins of both histograms so that each holds about a tenth of `base`."""
    below = np.cumsum(base)
    starts = np.unique([0, *(np.searchsorted(below, np.arange(1, 10) * below[-1] / 10) + 1)])
    starts = starts[starts < len(base)]
    return np.add.reduceat(here, starts), np.add.reduceat(base, starts)


def _drift(name: str, here: Counts, base: Counts) -> Drift:
    """Compare two rows of counts; half an image is added to each bin."""
    from scipy.special import chdtri

    if not here.sum() or not base.sum():
        return Drift(name, np.nan, np.nan)
    p, q = ((counts + 0.5) / (counts + 0.5).sum() for counts in (here, base))
    chance = chdtri(max(1, len(here) - 1), _CHANCE) * (1 / here.sum() + 1 / base.sum())
    return Drift(name, float(((p - q) * np.log(p / q)).sum().round(6)), float(np.round(chance, 6)))
