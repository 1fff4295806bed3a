"""One row per picture: where it lies, what it is called, and what its pixels say.

Read in chunks of the memory-mapped arrays with integer sums, so that memory stays flat and the figures are exact.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.dataset import Dataset, Split, SplitName
from pipeline.validate import label_issues, outliers

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = {
    "split": "str",
    "row": "int32",  # in the split's arrays
    "source_index": "int32",
    "label": "int32",
    "class_name": "str",  # empty where the label is no class
    "height": "int32",  # pixels
    "width": "int32",
    "channels": "int32",
    "dtype": "str",
    "pixel_min": "int32",  # grey levels, 0-255, as all that follow
    "pixel_max": "int32",
    "pixel_mean": "float64",
    "contrast": "float64",  # standard deviation within the picture
    "foreground_fraction": "float64",  # share of pixels above FILL_LEVEL
    "digest": "str",  # of the pixels
    "also_in": "str",  # other splits with a picture of the same pixels; missing where there is none
    "contrast_ratio": "float64",  # this and the next two: see outliers.columns
    "class_similarity": "float64",
    "blank_band_share": "float64",
    "label_probability": "float64",  # this and the next: see label_issues.columns
    "suggested": "str",
    "near_duplicate_of_train": "float64",  # 1 where train holds the same picture or a near copy, else 0; missing in train
}
"""Column → pandas type of the frame that `marked` returns."""

FILL_LEVEL = 25  # grey levels: a tenth of the range, above what resizing leaves around a stroke
_CHUNK_BYTES = 4 * 2**20
_DIGEST_BYTES = 8  # 64 bits: among 1,000,000 different pictures, a chance of 3e-8 that two look equal


def table(data: Dataset) -> "pd.DataFrame":
    """The features of every picture of the three splits, in their order, a row each.

    It has the columns and types of `COLUMNS` but for the last, which `marked` adds: near copies take as long to find as all the
    rest, so that the stage looks for them at the same time.
    """
    import pandas as pd

    frames = [_of_split(name, split, data.description.class_names) for name, split in data.splits().items()]
    frame = pd.concat(frames, ignore_index=True)
    frame["also_in"] = _other_splits(frame)
    frame = frame.assign(**outliers.columns(data, frame), **label_issues.columns(data, frame))
    return frame.astype({column: kind for column, kind in COLUMNS.items() if column in frame})


def marked(frame: "pd.DataFrame", pairs: "pd.DataFrame") -> "pd.DataFrame":
    """`frame` as `table` returns it, with the column that says what `pairs`, its near copies, have of train."""
    return frame.assign(near_duplicate_of_train=_copied(frame, pairs))


def _of_split(name: SplitName, split: Split, class_names: tuple[str, ...]) -> "pd.DataFrame":
    import pandas as pd

    count, height, width, channels = split.images.shape
    known = (split.labels >= 0) & (split.labels < len(class_names))
    names = np.array([*class_names, ""], dtype=object)
    frame = pd.DataFrame({"row": np.arange(count), "source_index": split.source_index, "label": split.labels})
    frame = frame.assign(split=name, height=height, width=width, channels=channels, dtype=str(split.images.dtype))
    frame["class_name"] = names[np.where(known, split.labels, len(class_names))]
    return frame.assign(**_of_pixels(split.images))


def _of_pixels(images: NDArray[np.uint8]) -> dict[str, NDArray[np.generic]]:
    """What `_of_chunk` says of each picture of `images`, uint8 `(n, h, w, c)`."""
    parts = [_of_chunk(chunk) for chunk in _chunks(images)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _chunks(images: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    """Copies of a few rows at a time, uint8 `(k, h * w * c)`."""
    pixels = int(np.prod(images.shape[1:]))
    step = max(1, _CHUNK_BYTES // pixels)
    for start in range(0, len(images), step):
        yield np.ascontiguousarray(images[start : start + step]).reshape(-1, pixels)


def _of_chunk(chunk: NDArray[np.uint8]) -> dict[str, NDArray[np.generic]]:
    """The pixel columns, each `(k,)`, of pictures in rows, uint8 `(k, h * w * c)`."""
    pixels = chunk.shape[1]
    total = chunk.sum(axis=1, dtype=np.uint64)
    squares = np.multiply(chunk, chunk, dtype=np.uint16).sum(axis=1, dtype=np.uint64)  # 255² fits 16 bits
    variance = (pixels * squares - total**2) / pixels**2  # the difference is exact, so never below zero
    digests = [hashlib.blake2b(picture, digest_size=_DIGEST_BYTES).hexdigest() for picture in chunk]
    return {
        "pixel_min": chunk.min(axis=1),
        "pixel_max": chunk.max(axis=1),
        "pixel_mean": total / pixels,
        "contrast": np.sqrt(variance),
        "foreground_fraction": (chunk > FILL_LEVEL).sum(axis=1) / pixels,
        "digest": np.array(digests, dtype=object),
    }


def _other_splits(frame: "pd.DataFrame") -> "pd.Series[str]":
    """Per row: the other splits that hold a picture of the same pixels, joined by a comma; missing where there is none."""
    import pandas as pd

    repeated = frame.loc[frame["digest"].duplicated(keep=False), ["digest", "split"]]
    holders: defaultdict[str, set[str]] = defaultdict(set)
    for digest, split in zip(repeated["digest"], repeated["split"], strict=True):
        holders[digest].add(split)
    others = [holders[digest] - {split} for digest, split in zip(repeated["digest"], repeated["split"], strict=True)]
    found = pd.Series([", ".join(sorted(names)) or None for names in others], index=repeated.index, dtype="str")
    return found.reindex(frame.index)


def _copied(frame: "pd.DataFrame", pairs: "pd.DataFrame") -> "pd.Series[float]":
    """Per row outside of train: whether `pairs` has it with a training picture, as 1 or 0."""
    import pandas as pd

    found = pairs.loc[(pairs["other_split"] == "train") & (pairs["split"] != "train"), ["split", "row"]]
    rows = pd.MultiIndex.from_frame(frame[["split", "row"]])
    copied = pd.Series(rows.isin(pd.MultiIndex.from_frame(found)).astype(float), index=frame.index)
    return copied.where(frame["split"] != "train")
