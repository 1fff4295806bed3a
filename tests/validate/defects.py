"""Defects to inject, and the expectation that each of them fails."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.dataset import Split, SplitName

Splits = dict[SplitName, Split]


def keep(split: Split, rows: NDArray[np.bool_]) -> Split:
    return Split(split.images[rows], split.labels[rows], split.source_index[rows])


def first_of_class(split: Split, count: int) -> NDArray[np.bool_]:
    """Mark the first `count` images of every class."""
    ranks = np.array([np.sum(split.labels[:row] == label) for row, label in enumerate(split.labels)])
    return ranks < count


def label_that_is_no_class(splits: Splits) -> None:
    splits["train"].labels[3] = 10


def class_absent_from_validation(splits: Splits) -> None:
    splits["validation"] = keep(splits["validation"], splits["validation"].labels != 3)


def forty_images(splits: Splits) -> None:
    for name, split in splits.items():
        splits[name] = keep(split, first_of_class(split, 2 if name == "train" else 1))


def shrink_class(splits: Splits, label: int, train: int, others: int) -> None:
    for name, split in splits.items():
        splits[name] = keep(split, (split.labels != label) | first_of_class(split, train if name == "train" else others))


def three_images_in_a_class(splits: Splits) -> None:
    for name, split in splits.items():  # the others are few as well, so that the class is not rare
        splits[name] = keep(split, first_of_class(split, 4 if name == "train" else 1))
    shrink_class(splits, 3, 1, 1)


def most_of_a_class_missing(splits: Splits) -> None:
    shrink_class(splits, 3, 36, 12)


def blank_image(splits: Splits) -> None:
    splits["test"].images[7] = 200


def half_range(splits: Splits) -> None:
    for name, split in splits.items():
        splits[name] = replace(split, images=np.minimum(split.images * 0.6, 127).astype(np.uint8))


def copy_within_train(splits: Splits) -> None:
    splits["train"].images[25] = splits["train"].images[2]


def copy_across_splits(splits: Splits) -> None:
    splits["test"].images[5] = splits["train"].images[5]


def almost_blank_image(splits: Splits) -> None:
    splits["test"].images[7] //= 10


def inverted_image(splits: Splits) -> None:
    splits["validation"].images[20] = 255 - splits["validation"].images[20]


def half_blank(splits: Splits) -> None:
    splits["train"].images[11, 4:] = 128


def black_and_white_image(splits: Splits) -> None:
    bright = splits["train"].images[11] > 128
    for name, split in splits.items():  # others on grey, as photos are
        splits[name] = replace(split, images=(split.images // 2 + 40).astype(np.uint8))
    splits["train"].images[11] = np.where(bright, 255, 0)


def shifted(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """One pixel to the right, and slightly darker."""
    darker: NDArray[np.uint8] = (np.roll(image, 1, axis=1) * np.array([0] + [0.95] * 7)[None, :, None]).astype(np.uint8)
    return darker


def other_label_in_test(splits: Splits) -> None:
    splits["test"].images[5] = splits["train"].images[5]
    splits["test"].labels[5] = (splits["train"].labels[5] + 1) % 10


def shifted_copy_across_splits(splits: Splits) -> None:
    splits["test"].images[0] = shifted(splits["train"].images[0])


def shifted_copy_within_test(splits: Splits) -> None:
    splits["test"].images[14] = shifted(splits["test"].images[3])


def shifted_copy_of_another_class(splits: Splits) -> None:
    splits["train"].images[1] = shifted(splits["train"].images[0])


def brighter_test(splits: Splits) -> None:
    splits["test"] = replace(
        splits["test"], images=np.minimum(splits["test"].images.astype(int) * 5 // 4, 255).astype(np.uint8)
    )


def other_shares_in_test(splits: Splits) -> None:
    train, test = splits["train"], splits["test"]
    splits["train"] = keep(train, (train.labels < 5) | first_of_class(train, 73))
    splits["test"] = keep(test, (test.labels >= 5) | first_of_class(test, 25))


def incorrect_label(splits: Splits) -> None:
    splits["train"].labels[0] = (splits["train"].labels[0] + 3) % 10


IN_THE_DATA: Mapping[str, Callable[[Splits], None]] = {
    "labels-in-range": label_that_is_no_class,
    "classes-all-present": class_absent_from_validation,
    "enough-images": forty_images,
    "enough-images-per-class": three_images_in_a_class,
    "classes-balanced": most_of_a_class_missing,
    "no-blank-images": blank_image,
    "pixel-range-used": half_range,
    "images-unique": copy_within_train,
    "no-image-in-two-splits": copy_across_splits,
    "splits-agree-on-labels": other_label_in_test,
    "no-almost-blank-images": almost_blank_image,
    "no-inverted-images": inverted_image,
    "no-lost-regions": half_blank,
    "no-clipped-images": black_and_white_image,
    "no-near-duplicates-across-splits": shifted_copy_across_splits,
    "no-near-duplicates-within-a-split": shifted_copy_within_test,
    "duplicates-agree-on-class": shifted_copy_of_another_class,
    "features-do-not-drift": brighter_test,
    "class-shares-do-not-drift": other_shares_in_test,
    "no-label-issues": incorrect_label,
}


# What dataset.read already refuses on disk, injected where a change in the code that makes the features would put it.
IN_THE_FEATURES: Mapping[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "columns-present": lambda frame: frame.drop(columns="foreground_fraction"),
    "columns-typed": lambda frame: frame.astype({"foreground_fraction": "float32"}),
    "image-height": lambda frame: frame.assign(height=frame["height"].where(frame["row"] != 5, 7)),
    "image-width": lambda frame: frame.assign(width=frame["width"].where(frame["row"] != 5, 9)),
    "image-channels": lambda frame: frame.assign(channels=frame["channels"].where(frame["row"] != 5, 3)),
    "image-type": lambda frame: frame.assign(dtype=frame["dtype"].where(frame["row"] != 5, "float32")),
    "darkest-pixel-in-range": lambda frame: frame.assign(pixel_min=frame["pixel_min"].where(frame["row"] != 5, -1)),
    "brightest-pixel-in-range": lambda frame: frame.assign(pixel_max=frame["pixel_max"].where(frame["row"] != 5, 256)),
}
