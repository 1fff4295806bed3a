"""The profile of a training split: what later data is compared with. Small, and of equal data always the same bytes."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, TypeAdapter, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from pipeline.errors import DatasetError

if TYPE_CHECKING:
    import pandas as pd

FIGURES = ("pixel_mean", "contrast", "fill")
"""The columns of the features that are compared; the darkest and brightest pixel are nearly constant in most data."""
_BINS = 10
_STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True, config=_STRICT)
class Bins:
    """How the values of one figure lie."""

    edges: tuple[float, ...]  # the deciles, each once, rising
    counts: tuple[int, ...]  # pictures below the first edge, between each two, above the last

    @model_validator(mode="after")
    def edges_and_counts_belong_together(self) -> Self:
        """One count more than edges, and these rise."""
        if len(self.counts) != len(self.edges) + 1 or list(self.edges) != sorted({*self.edges}) or min(self.counts) < 0:
            raise ValueError("edges must rise, and have one count more than there are edges")
        return self


@dataclass(frozen=True, config=_STRICT)
class Profile:
    """What the pictures of one split are like, and how many there are of each class."""

    figures: Mapping[str, Bins]
    classes: Mapping[str, int]  # class name → pictures; 0 where the split has none


@dataclass(frozen=True, config=_STRICT)
class Reference(Profile):
    """The profile of a data set's training split, as profile.json says it."""

    dataset: str
    dataset_digest: str


def of(pictures: "pd.DataFrame", class_names: tuple[str, ...]) -> Profile:
    """The profile of one split's rows of the features; values that are missing and labels that are no class are left out."""
    figures = {figure: _bins(values(pictures, figure)) for figure in FIGURES}
    return Profile(figures, dict(zip(class_names, class_counts(pictures, class_names).tolist(), strict=True)))


def values(pictures: "pd.DataFrame", figure: str) -> NDArray[np.float64]:
    """What is there of the column `figure`, `(n,)`."""
    there: NDArray[np.float64] = pictures[figure].dropna().to_numpy(np.float64)
    return there


def counted(there: NDArray[np.float64], edges: tuple[float, ...]) -> NDArray[np.float64]:
    """How many values lie between `edges`, `(len(edges) + 1,)`."""
    return np.bincount(np.searchsorted(edges, there), minlength=len(edges) + 1).astype(np.float64)


def class_counts(pictures: "pd.DataFrame", class_names: tuple[str, ...]) -> "pd.Series[int]":
    """Pictures per class name, in the order of `class_names`."""
    return pictures["class_name"].value_counts().reindex(list(class_names), fill_value=0)


def _bins(there: NDArray[np.float64]) -> Bins:
    if not len(there):
        return Bins((), (0,))
    edges = tuple(np.unique(np.quantile(there, np.arange(1, _BINS) / _BINS)).tolist())
    return Bins(edges, tuple(counted(there, edges).astype(int).tolist()))


def as_json(profile: Profile, dataset: str, digest: str) -> str:
    """The content of profile.json."""
    figures = {name: {"edges": bins.edges, "counts": bins.counts} for name, bins in profile.figures.items()}
    content: dict[str, Any] = {"dataset": dataset, "dataset_digest": digest, "figures": figures, "classes": profile.classes}
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def read(path: Path, shown: str) -> Reference | None:
    """The profile in `path`; None where there is no such file.

    Args:
        path: A profile.json.
        shown: What messages call it.

    Raises:
        DatasetError: it is not what `as_json` makes.
    """
    if not path.exists():
        return None
    try:
        return TypeAdapter(Reference).validate_json(path.read_bytes())
    except ValidationError as error:
        raise DatasetError(
            f"{shown} is not a profile that validate wrote ({error.errors()[0]['msg']}): "
            "delete it; `python -m pipeline run` fetches it again"
        ) from None
