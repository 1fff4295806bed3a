"""The stratified, seeded split: every class gives the same share of its images to each split.

A known data set never changes, so its shares are exact (`stratified`). The user's own data grows, and an image that was once in
the test split must stay there: each image's own content decides (`by_content`), so the shares are random: of 100 images at 0.2
it is 20 ± 4, of 10,000 it is 2,000 ± 40.

Not scikit-learn's `train_test_split`: this imports nothing, makes both splits in one pass, and uses PCG64's raw stream, which
NumPy promises never to change (https://numpy.org/neps/nep-0019-rng-policy.html), and BLAKE2. So an upgrade does not move images
between splits.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.dataset import SPLITS, SplitName
from pipeline.errors import SourceError
from pipeline.ingest.images import Files
from pipeline.ingest.source import Source, listed

Rows = Mapping[SplitName, NDArray[np.int32]]
_CODE: Mapping[SplitName, int] = {"train": 0, "validation": 1, "test": 2}
_BATCH = 2**16  # keys in memory at once
_MIN_IMAGES = 50


def cut(source: Source, validation_fraction: float, test_fraction: float, seed: int) -> Rows:
    """Return the rows of each split in `source.images(split)`, ascending; given validation and test sets stay whole.

    Raises:
        SourceError: there are too few images in all, or too few of a class to be in every split.
    """
    labels, test_share = source.training.labels, 0.0 if source.test else test_fraction
    validation_share = 0.0 if source.validation else validation_fraction
    if source.grows:
        _refuse_too_few(source)
        groups = source.training.groups if isinstance(source.training, Files) else None
        rows = dict(by_content(labels, lambda some: source.training.keys(some, seed), test_share, validation_share, groups))
    else:
        rows = dict(stratified(labels, test_share, validation_share, seed))
    for name, images in source.given().items():
        if name != "train":
            rows[name] = np.arange(len(images.labels), dtype=np.int32)
    _refuse_absent_classes(source, rows)
    return rows


def stratified(labels: NDArray[np.integer[Any]], test_fraction: float, validation_fraction: float, seed: int) -> Rows:
    """Return the rows of each split, int32, ascending; the shares per class are exact but for rounding.

    Args:
        labels: the class of each row, integers `(n,)`.
        test_fraction: share of each class that goes to the test split.
        validation_fraction: share of the rest of each class that goes to the validation split.
        seed: of the one random key per row that decides its split.
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
    groups: Sequence[str] | None = None,
) -> Rows:
    """Return the rows of each split, int32, ascending; each image's split depends on its content alone, not on the others.

    The upper half of an image's key decides whether it is a test image, the lower half whether it is for validation. Equal
    images have equal keys, so a duplicate is never in two splits. If a class is so small that a split would get none of its
    images, the one with the lowest key goes there; only that one may move when images are added.

    Args:
        labels: the class of each row, integers `(n,)`.
        keys_of: rows → a random number per image, uint64; called for a batch at a time, since all keys would be the largest
            array in memory.
        test_fraction: share of each class that goes to the test split; 0 for none at all.
        validation_fraction: share of the rest of each class that goes to the validation split; 0 for none at all.
        groups: of each row; its rows have equal keys, and stay together where an image is moved for a small class.
    """
    every = np.arange(len(labels), dtype=np.int32)
    codes = np.full(len(labels), _CODE["train"], np.uint8)
    for start in range(0, len(labels), _BATCH):
        batch = codes[start : start + _BATCH]
        test, validation = _halves(keys_of(every[start : start + _BATCH]))
        batch[validation < round(validation_fraction * 2**32)] = _CODE["validation"]
        batch[test < round(test_fraction * 2**32)] = _CODE["test"]
    members = np.unique(np.array(groups), return_inverse=True)[1] if groups else every

    def move(rows: NDArray[np.int32], split: SplitName) -> None:
        codes[np.isin(members, members[rows]) if groups else rows] = _CODE[split]

    for label in range(int(labels.max()) + 1):
        rows = every[labels == label]
        if test_fraction and len(rows) and not np.any(codes[rows] == _CODE["test"]):
            move(rows[_lowest(_halves(keys_of(rows))[0])], "test")
        rest = rows[codes[rows] != _CODE["test"]]
        if validation_fraction and len(rest) and not np.any(codes[rest] == _CODE["validation"]):
            move(rest[_lowest(_halves(keys_of(rest))[1])], "validation")
    return {name: every[codes == code] for name, code in _CODE.items()}


def _halves(keys: NDArray[np.uint64]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Return two independent random numbers from each key, 0 … 2³² - 1."""
    return keys >> np.uint64(32), keys & np.uint64(2**32 - 1)


def _lowest(numbers: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Return which of `numbers` are the smallest: more than one if images are equal."""
    chosen: NDArray[np.bool_] = numbers == numbers.min()
    return chosen


def _refuse_too_few(source: Source) -> None:
    """Raise SourceError where no classifier can be trained and judged, with what is there and what is needed."""
    given = source.given()
    needed = 4 - len(given)  # of a class in the training images: one for each split that is cut from them
    counts = np.bincount(source.training.labels, minlength=len(source.class_names))
    few = np.flatnonzero((counts > 0) & (counts < needed))
    if len(few):
        classes = listed([f"{source.class_names[label]!r} ({counts[label]})" for label in few])
        which = "class has" if len(few) == 1 else "classes have"
        raise SourceError(
            f"{len(few)} {which} too few images, {classes}; each needs {needed} at least, one for each split: add some, or "
            f"remove {'it' if len(few) == 1 else 'them'}"
        )
    total = sum(len(images.labels) for images in given.values())
    if total < _MIN_IMAGES:
        raise SourceError(
            f"{source.where or 'the source'} has {total} images in all, and {_MIN_IMAGES} are the least that can train and "
            "judge a classifier: add images"
        )


def _refuse_absent_classes(source: Source, rows: Rows) -> None:
    classes, given = len(source.class_names), source.given()
    counts = {name: np.bincount(source.images(name).labels[rows[name]], minlength=classes) for name in SPLITS}
    for name in SPLITS:
        for label in np.flatnonzero(counts[name] == 0):
            total = sum(int(count[label]) for count in counts.values())
            way_out = "add images, or raise ingest.validation_fraction or ingest.test_fraction"
            if name in given and name != "train":
                way_out = f"add some to it, or remove the given {name} split, so that one is cut from the training images"
            elif isinstance(source.training, Files) and source.training.groups is not None:
                way_out = "add groups that have images of it, because a group is never in two splits"
            raise SourceError(
                f"class {source.class_names[label]!r} has no image in the {name} split, {total} in all: {way_out}"
            )
