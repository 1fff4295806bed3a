"""One row per image: where it lies, its label, and what its pixels look like, alone and within its class.

Images are read in chunks of the memory-mapped arrays with integer sums, so that memory stays flat and the values are exact.
Features within a class are relative to its median or mean, because what is usual differs: above and below most sneakers there
are eight empty rows, above a coat none.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.dataset import Dataset, Split, SplitName

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = {
    "split": "str",
    "row": "int32",  # in the split's arrays
    "source_index": "int32",
    "file": "str",  # its name in the source; missing where the images did not come as files
    "label": "int32",
    "class_name": "str",  # empty where the label is unknown
    "height": "int32",  # pixels
    "width": "int32",
    "channels": "int32",
    "dtype": "str",
    "pixel_min": "int32",  # grey levels, 0-255, as all that follow
    "pixel_max": "int32",
    "pixel_mean": "float64",
    "contrast": "float64",  # standard deviation within the image
    "foreground_fraction": "float64",  # share of pixels unlike the corners, by more than FOREGROUND of the image's range
    "digest": "str",  # of the pixels
    "also_in": "str",  # other splits with an image of the same pixels; missing where there is none
    # The next four are missing where the image is blank, its label is unknown, or its class varies more than USUAL allows.
    "contrast_ratio": "float64",  # contrast / the median of the class
    "class_similarity": "float64",  # correlation with the mean image of the class
    "blank_band_share": "float64",  # longest run of rows or columns of one level / all, less the median of the class
    "clipped_share": "float64",  # share of the values at 0 or 255, less the median of the class
    "label_probability": "float64",  # this and the next: see validate/label_issues.py
    "suggested": "str",
    "near_duplicate_of_train": "float64",  # 1 where train holds the same image or a near-duplicate, else 0; missing in train
}
"""Column → pandas type. `table` returns all but the last three, which only validate computes."""

FileNames = Mapping[SplitName, Sequence[str]] | None
FOREGROUND = 0.1
USUAL = {
    "contrast_ratio": (0.05, 0.25, 1),
    "class_similarity": (0.05, 0.2, 1),
    "blank_band_share": (0.95, 0, 0.25),
    "clipped_share": (0.95, 0, 0.25),
}
"""Feature → quantile and its range in a class that it can judge. Photos of clothes, dark and bright ones on any background,
have no common look that an inverted one could be unlike."""
_SIDE = 32  # pixels; larger images are averaged down before they are compared with each other
_CHUNK = 2_048  # images
_CHUNK_BYTES = 4 * 2**20
_DIGEST_BYTES = 8  # 64 bits: among 1,000,000 different images, a chance of 3e-8 that two look equal


def table(data: Dataset, small: NDArray[np.uint8], files: FileNames = None) -> "pd.DataFrame":
    """Return a row per image of the three splits, in their order.

    `small` holds the same images as `shrink` returns them; `files` are their names, None where they did not come as files.
    """
    import pandas as pd

    names = data.description.class_names
    parts = [_of_split(name, split, names, files[name] if files else None) for name, split in data.splits().items()]
    frame = pd.concat(parts, ignore_index=True)
    frame["also_in"] = _also_in(frame)
    labels = judged_labels(frame, len(names))
    judged = labels.notna()
    contrast = frame["contrast"].where(judged)
    correlation = _class_similarity(small, frame["label"].clip(0, len(names) - 1).to_numpy(), len(names))
    similarity = pd.Series(correlation, dtype="float64").round(5).where(judged)  # float32 sums differ between machines
    frame["contrast_ratio"] = contrast / contrast.groupby(labels).transform("median")
    frame["class_similarity"] = similarity
    for column in ("blank_band_share", "clipped_share"):
        own = frame[column].where(judged)
        frame[column] = (own - own.groupby(labels).transform("median")).round(5)
    for column, (share, low, high) in USUAL.items():
        quantile = frame[column].groupby(labels).transform("quantile", share, "higher" if share < 0.5 else "lower")
        frame[column] = frame[column].where(quantile.between(low, high))
    return frame.astype({column: kind for column, kind in COLUMNS.items() if column in frame})[[*COLUMNS][:-3]]


def judged_labels(frame: "pd.DataFrame", classes: int) -> "pd.Series[float]":
    """Return the label of each image, missing where it is unknown or the image blank."""
    return frame["label"].where(frame["label"].between(0, classes - 1) & (frame["contrast"] > 0))


def mark(frame: "pd.DataFrame", pairs: "pd.DataFrame") -> "pd.DataFrame":
    """Return `frame` with the column that marks images of which `pairs` has a duplicate in the training split."""
    import pandas as pd

    leaks = pairs.loc[(pairs["other_split"] == "train") & (pairs["split"] != "train"), ["split", "row"]]
    marked = pd.MultiIndex.from_frame(frame[["split", "row"]]).isin(pd.MultiIndex.from_frame(leaks))
    return frame.assign(near_duplicate_of_train=pd.Series(marked.astype(float)).where(frame["split"] != "train"))


def shrink(images: NDArray[np.uint8], side: int = _SIDE) -> NDArray[np.uint8]:
    """Return images, uint8 `(n, h, w, c)`, averaged in whole blocks to at most `side` pixels; smaller ones as they are."""
    count, height, width, channels = images.shape
    block = -(-max(height, width) // side)
    if block == 1:
        return images
    down, across = min(block, height), min(block, width)
    rows, columns = height // down, width // across
    small = np.empty((count, rows, columns, channels), np.uint8)
    for chunk in _chunks(images):
        blocks = images[chunk, : rows * down, : columns * across].reshape(-1, rows, down, columns, across, channels)
        total = np.zeros((len(blocks), rows, columns, channels), np.uint32)
        for place in np.ndindex(down, across):  # five times as fast as a sum over both axes
            total += blocks[:, :, place[0], :, place[1]]
        small[chunk] = (total / (down * across)).round()
    return small


def unit(images: NDArray[np.uint8], min_contrast: float = 1e-6) -> NDArray[np.float32]:
    """Return images as rows with mean 0 and length 1, float32 `(n, pixels)`; 0 where the contrast is below `min_contrast`."""
    rows = images.reshape(len(images), -1).astype(np.float32)
    rows -= rows.mean(axis=1, keepdims=True)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    least = np.float32(min_contrast * np.sqrt(rows.shape[1]))
    rows *= np.where(length < least, 0, 1 / np.maximum(length, least))
    return rows


def _of_split(name: SplitName, split: Split, class_names: tuple[str, ...], files: Sequence[str] | None) -> "pd.DataFrame":
    import pandas as pd

    count, height, width, channels = split.images.shape
    known = (split.labels >= 0) & (split.labels < len(class_names))
    names = np.array([*class_names, ""], dtype=object)[np.where(known, split.labels, len(class_names))]
    frame = pd.DataFrame({"row": np.arange(count), "source_index": split.source_index, "label": split.labels})
    frame["file"] = pd.Series(files, range(count), dtype="str")
    frame = frame.assign(split=name, class_name=names, height=height, width=width, channels=channels)
    pixels = pd.concat([pd.DataFrame(_of_pixels(split.images[chunk])) for chunk in _chunks(split.images)], ignore_index=True)
    return frame.assign(dtype=str(split.images.dtype), **pixels)


def _chunks(images: NDArray[np.uint8]) -> Iterator[slice]:
    step = max(1, _CHUNK_BYTES // int(np.prod(images.shape[1:])))
    yield from (slice(start, start + step) for start in range(0, len(images), step))


def _of_pixels(images: NDArray[np.uint8]) -> "dict[str, NDArray[np.generic] | list[str]]":
    """Return the pixel columns, each `(n,)`, of images, uint8 `(n, h, w, c)`."""
    rows = np.ascontiguousarray(images).reshape(len(images), -1)
    pixels = rows.shape[1]
    total = rows.sum(axis=1, dtype=np.uint64)
    squares = np.multiply(rows, rows, dtype=np.uint16).sum(axis=1, dtype=np.uint64)  # 255² fits 16 bits
    variance = (pixels * squares - total**2) / pixels**2  # the difference is exact, so never below zero
    return {
        "pixel_min": rows.min(axis=1),
        "pixel_max": rows.max(axis=1),
        "pixel_mean": total / pixels,
        "contrast": np.sqrt(variance),
        "foreground_fraction": _foreground(images),
        "digest": [hashlib.blake2b(row.tobytes(), digest_size=_DIGEST_BYTES).hexdigest() for row in rows],
        "blank_band_share": np.maximum(_blank_rows(images), _blank_rows(images.swapaxes(1, 2))),
        "clipped_share": ((rows == 0) | (rows == 255)).mean(axis=1),
    }


def _foreground(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the share of pixels that differ from the median colour of the corners, for uint8 `(n, h, w, c)`."""
    background = np.median(images[:, [0, 0, -1, -1], [0, -1, 0, -1]], axis=1).astype(np.int16)[:, None, None]
    least = FOREGROUND * np.ptp(images, axis=(1, 2, 3)).astype(np.float32)
    share: NDArray[np.float64] = (np.abs(images - background).max(axis=3) > least[:, None, None]).mean(axis=(1, 2))
    return share


def _blank_rows(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the share of rows in the longest run of rows that all have one colour, for uint8 `(n, h, w, c)`."""
    images = np.ascontiguousarray(images)
    flat = (images == images[:, :, :1]).all(axis=(2, 3))
    follows = (images[:, 1:, 0] == images[:, :-1, 0]).all(axis=2)
    run = longest = flat[:, 0].astype(np.int32)
    for row in range(1, images.shape[1]):
        run = np.where(flat[:, row], np.where(follows[:, row - 1], run, 0) + 1, 0)
        longest = np.maximum(longest, run)
    share: NDArray[np.float64] = longest / images.shape[1]
    return share


def _class_similarity(images: NDArray[np.uint8], labels: NDArray[np.int32], classes: int) -> NDArray[np.float32]:
    """Return each image's correlation with the mean of its class, -1 … 1, float32 `(n,)`."""
    chunks = [slice(start, start + _CHUNK) for start in range(0, len(images), _CHUNK)]
    sums = sum(np.eye(classes, dtype=np.float32)[labels[chunk]].T @ unit(images[chunk]) for chunk in chunks)
    means = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), np.float32(1e-6))
    return np.concatenate([(unit(images[chunk]) * means[labels[chunk]]).sum(axis=1) for chunk in chunks])


def _also_in(frame: "pd.DataFrame") -> "pd.Series[str]":
    """Return per row the other splits that hold an image of the same pixels, joined by a comma; missing where there is none."""
    import pandas as pd

    repeated = frame.loc[frame["digest"].duplicated(keep=False), ["digest", "split"]]
    holders = repeated.groupby("digest")["split"].agg(set).to_dict()
    others = [sorted(holders[digest] - {split}) for digest, split in zip(repeated["digest"], repeated["split"], strict=True)]
    return pd.Series([", ".join(names) or None for names in others], repeated.index, "str").reindex(frame.index)
