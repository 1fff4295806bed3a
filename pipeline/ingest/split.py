"""The stratified, seeded split: every class gives the same share of its pictures to each split.

A known data set never changes, so its rows are allotted exactly (`stratified`). One's own data grows, and a picture that was
once in the test split must stay there: each picture's own content decides (`by_content`), and the shares are then those of a
fair dice, not exact: of 100 pictures at 0.2 it is 20 ± 4, of 10,000 it is 2,000 ± 40.

A few lines of our own rather than scikit-learn's `train_test_split`: they import in no time, cut both splits in one pass, and
rest on PCG64's raw stream, which NumPy promises never to change (https://numpy.org/neps/nep-0019-rng-policy.html), and on
BLAKE2. So an upgrade does not move pictures between splits.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.dataset import SPLITS, SplitName
from pipeline.errors import SourceError
from pipeline.ingest.sources import Source

Rows = Mapping[SplitName, NDArray[np.int32]]
_CODE: Mapping[SplitName, int] = {"train": 0, "validation": 1, "test": 2}
_PART = 2**16  # keys in memory at once


def cut(source: Source, validation_fraction: float, test_fraction: float, seed: int) -> Rows:
    """Rows of each split in `source.pictures(split)`, ascending. An official test set stays whole; else one is cut first.

    Raises:
        SourceError: a class has too few pictures to be in every split.
    """
    labels, test_share = source.training.labels, 0.0 if source.test else test_fraction
    if source.grows:
        rows = dict(by_content(labels, lambda some: source.training.keys(some, seed), test_share, validation_fraction))
    else:
        rows = dict(stratified(labels, test_share, validation_fraction, seed))
    if source.test:
        rows["test"] = np.arange(len(source.test.labels), dtype=np.int32)
    _refuse_absent_classes(source, rows)
    return rows


def stratified(labels: NDArray[np.integer[Any]], test_fraction: float, validation_fraction: float, seed: int) -> Rows:
    """Rows of each split, int32, ascending, from `labels`, integers `(n,)`; whole pictures per class, exactly.

    Args:
        labels: the class of each row.
        test_fraction: share of each class that goes to the test split.
        validation_fraction: share of what is then left of each class that goes to the validation split.
        seed: of the one random key per row that decides who goes where.
    """
    keys = np.random.PCG64(seed).random_raw(len(labels))
    parts: dict[SplitName, list[NDArray[np.intp]]] = {name: [] for name in SPLITS}
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        rows = rows[np.argsort(keys[rows], kind="stable")]
        test = round(test_fraction * len(rows))
        validation = test + round(validation_fraction * (len(rows) - test))
        parts["test"].append(rows[:test])
        parts["validation"].append(rows[test:validation])
        parts["train"].append(rows[validation:])
    return {name: np.sort(np.concatenate(parts[name])).astype(np.int32) for name in SPLITS}


def by_content(
    labels: NDArray[np.integer[Any]],
    keys_of: Callable[[NDArray[np.int32]], NDArray[np.uint64]],
    test_fraction: float,
    validation_fraction: float,
) -> Rows:
    """Rows of each split, int32, ascending; who is in which depends on the picture alone, whatever else there is.

    The upper half of a picture's key says whether it is a test picture, the lower half whether it is for validation. Equal
    pictures have equal keys, so a duplicate never lies in two splits. Where a class is so small that the dice give a split
    none of its pictures, it gets the one with the lowest key; only that one may move when pictures are added.

    Args:
        labels: the class of each row, integers `(n,)`.
        keys_of: rows → a random number per picture, uint64; asked for a part at a time, since all keys would be the largest
            array there is.
        test_fraction: share of each class that goes to the test split; 0 for none at all.
        validation_fraction: share of what is then left of each class that goes to the validation split.
    """
    every = np.arange(len(labels), dtype=np.int32)
    codes = np.full(len(labels), _CODE["train"], np.uint8)
    for start in range(0, len(labels), _PART):
        part = codes[start : start + _PART]
        test, validation = _halves(keys_of(every[start : start + _PART]))
        part[validation < round(validation_fraction * 2**32)] = _CODE["validation"]
        part[test < round(test_fraction * 2**32)] = _CODE["test"]
    for label in range(int(labels.max()) + 1):
        rows = every[labels == label]
        if test_fraction and len(rows) and not np.any(codes[rows] == _CODE["test"]):
            codes[rows[_lowest(_halves(keys_of(rows))[0])]] = _CODE["test"]
        rest = rows[codes[rows] != _CODE["test"]]
        if len(rest) and not np.any(codes[rest] == _CODE["validation"]):
            codes[rest[_lowest(_halves(keys_of(rest))[1])]] = _CODE["validation"]
    return {name: every[codes == code] for name, code in _CODE.items()}


def _halves(keys: NDArray[np.uint64]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Two independent random numbers from each key, 0 … 2³² - 1."""
    return keys >> np.uint64(32), keys & np.uint64(2**32 - 1)


def _lowest(numbers: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Which of `numbers` are the smallest: more than one where pictures are equal."""
    chosen: NDArray[np.bool_] = numbers == numbers.min()
    return chosen


def _refuse_absent_classes(source: Source, rows: Rows) -> None:
    classes = len(source.class_names)
    counts = {name: np.bincount(source.pictures(name).labels[rows[name]], minlength=classes) for name in SPLITS}
    for name in SPLITS:
        for label in np.flatnonzero(counts[name] == 0):
            total = sum(int(count[label]) for count in counts.values())
            raise SourceError(
                f"class {source.class_names[label]!r} has no picture in the {name} split, {total} in all: "
                "add pictures, or raise ingest.validation_fraction or ingest.test_fraction"
            )
