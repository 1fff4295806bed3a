"""The stratified, seeded split: every class gives the same share of its pictures to each split.

A few lines of our own rather than scikit-learn's `train_test_split`: they import in no time, allot whole pictures per class
exactly, cut both splits in one pass, and rest on PCG64's raw stream, which NumPy promises never to change
(https://numpy.org/neps/nep-0019-rng-policy.html). So an upgrade does not move pictures between splits.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from pipeline.dataset import SPLITS, Split, SplitName
from pipeline.errors import SourceError
from pipeline.ingest.sources import Source


def cut(source: Source, validation_fraction: float, test_fraction: float, seed: int) -> Mapping[SplitName, Split]:
    """The three splits, each in the order of its source. An official test set stays whole; else one is cut first.

    Raises:
        SourceError: a class has too few pictures to be in every split.
    """
    training, test = source.training, source.test or source.training
    rows = dict(stratified(source.training.labels, 0.0 if source.test else test_fraction, validation_fraction, seed))
    if source.test:
        rows["test"] = np.arange(len(source.test.labels), dtype=np.int32)
    pictures = {"train": training, "validation": training, "test": test}
    splits: dict[SplitName, Split] = {
        name: Split(pictures[name].images[rows[name]], pictures[name].labels[rows[name]], rows[name]) for name in SPLITS
    }
    _refuse_absent_classes(splits, source.class_names)
    return splits


def stratified(
    labels: NDArray[np.int32], test_fraction: float, validation_fraction: float, seed: int
) -> Mapping[SplitName, NDArray[np.int32]]:
    """Rows of each split, int32, ascending, from `labels`, int32 `(n,)`.

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


def _refuse_absent_classes(splits: Mapping[SplitName, Split], class_names: tuple[str, ...]) -> None:
    counts = {name: np.bincount(split.labels, minlength=len(class_names)) for name, split in splits.items()}
    for name in SPLITS:
        for label in np.flatnonzero(counts[name] == 0):
            total = sum(int(count[label]) for count in counts.values())
            raise SourceError(
                f"class {class_names[label]!r} has no picture in the {name} split, {total} in all: "
                "add pictures, or raise ingest.validation_fraction or ingest.test_fraction"
            )
