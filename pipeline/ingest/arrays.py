"""From arrays of images and labels, as .npz, IDX and tables of pixels hold them, to uint8 images and labels 0 … classes - 1.

A table of pixels has a label and one column per pixel, as Kaggle's MNIST, Fashion-MNIST and sign language have.

Images are flat squares, or have their channels last or first, in 0-255, 0-1 or 16 bits: see `_factor`. Labels are numbers,
text, or one-hot rows. All of it stays on disk.
"""

import math
import re
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from pipeline import environment
from pipeline.dataset import SPLITS, SourceFile, SplitName
from pipeline.errors import SourceError
from pipeline.ingest.images import Arrays
from pipeline.ingest.preprocessing import refuse_12_bits
from pipeline.ingest.source import FullError, Source, check_class_names, describe_file, label_texts, normal

_BLOCK = 16 * 1024 * 1024  # bytes of images that are converted, or of a table that are read, at once
_LEAST = 50  # columns of pixels


@dataclass(frozen=True)
class Part:
    """The images and labels of one split as they were found, and what to call each in messages."""

    images: NDArray[Any]
    labels: NDArray[Any]
    images_name: str
    labels_name: str


def to_source(parts: Mapping[SplitName, Part], names: tuple[str, ...], files: tuple[SourceFile, ...], scratch: Path) -> Source:
    """Return `parts`, "train" among them, as labelled images; `names` are those of the classes by label, or empty.

    Raises:
        SourceError: images or labels are not what they must be.
        OSError: `scratch` cannot be written.
    """
    images, first = {name: _laid_out(part) for name, part in parts.items()}, parts["train"]
    for name, part in parts.items():
        if len(part.images) != len(part.labels):
            raise SourceError(
                f"{part.images_name} holds {len(part.images):,} images, but {part.labels_name} {len(part.labels):,} labels: "
                "they do not belong together"
            )
        if images[name].shape[1:] != images["train"].shape[1:]:
            raise SourceError(
                f"{first.images_name} holds images of {images['train'].shape[1:]}, {part.images_name} of "
                f"{images[name].shape[1:]}: give all one shape"
            )
    factor = _factor({part.images_name: images[name] for name, part in parts.items()})
    names, labels = _labelled(parts, names)
    found = {name: Arrays(_converted(images[name], factor, scratch), labels[name]) for name in parts}
    return Source(names, found["train"], found.get("test"), files, validation=found.get("validation"))


def check_shape(shape: tuple[int, ...], dtype: np.dtype[Any], where: str) -> tuple[int, ...]:
    """Return `shape` as (n, height, width, 1 or 3), where it can be only one: flat squares of grey, channels first or last."""
    if dtype.kind not in "buif":
        raise SourceError(f"{where} holds {dtype}: images must be numbers, best uint8, 0-255")
    side = math.isqrt(shape[1]) if len(shape) == 2 else 0
    if side > 1 and side * side == shape[1]:
        return shape[0], side, side, 1
    if len(shape) == 3:
        return *shape, 1
    if len(shape) == 4 and shape[3] in (1, 3):
        return shape
    if len(shape) == 4 and shape[1] in (1, 3):
        return shape[0], shape[2], shape[3], shape[1]
    raise SourceError(f"{where} has the shape {shape}: it must be (n, height, width) or (n, height, width, 1 or 3): reshape it")


def _laid_out(part: Part) -> NDArray[Any]:
    shape, array = part.images.shape, part.images
    final = check_shape(shape, array.dtype, part.images_name)
    return np.moveaxis(array, 1, 3) if len(shape) == 4 and final != shape else array.reshape(final)


def _labelled(
    parts: Mapping[SplitName, Part], names: tuple[str, ...]
) -> tuple[tuple[str, ...], Mapping[SplitName, NDArray[np.integer[Any]]]]:
    """Return the class names, and the labels of each part, 0 … classes - 1, of the smallest type that holds them.

    Without `names` the classes are the training labels that there are, in their order; a number between them may be absent.
    """
    found, where = {name: _plain(part) for name, part in parts.items()}, parts["train"].labels_name
    if any(labels.dtype.kind == "U" for labels in found.values()):
        found = {name: labels.astype(str) for name, labels in found.items()}
        names = label_texts(found["train"].tolist(), names, where)
        keys = np.array(names)
    else:
        numbers = found["train"]
        for row in np.flatnonzero(numbers < 0)[:1]:
            raise SourceError(f"{where}: label {numbers[row]} in row {row}; labels are 0 or more: leave out what has none")
        first = int(numbers.min() == 1)  # EMNIST's letters begin with 1
        keys = np.arange(first, first + len(names)) if names else np.unique(numbers)
        names = names or tuple(map(str, keys.tolist()))
        check_class_names(names, where)
    return names, {name: _numbered(labels, keys, parts[name].labels_name) for name, labels in found.items()}


def _numbered(labels: NDArray[Any], keys: NDArray[Any], where: str) -> NDArray[np.integer[Any]]:
    """Return the place in `keys` of each label."""
    order = np.argsort(keys)
    places = order[np.minimum(np.searchsorted(keys[order], labels), len(keys) - 1)]
    for row in np.flatnonzero(keys[places] != labels)[:1]:
        known = f"{keys[0]} … {keys[-1]}" if len(keys) > 2 else f"{keys[0]} and {keys[-1]}"
        raise SourceError(
            f"{where}: label {labels[row]} in row {row}; the {len(keys)} classes are {known}: correct it, or name it"
        )
    smallest: NDArray[np.integer[Any]] = places.astype(np.min_scalar_type(len(keys)))
    return smallest


def _plain(part: Part) -> NDArray[Any]:
    """Return labels as integers or text `(n,)`: of columns, one-hot rows, and whole floats."""
    labels, where = part.labels, part.labels_name
    if labels.dtype.kind not in "buifUS" or labels.ndim > 2:
        raise SourceError(f"{where} holds {labels.dtype} {labels.shape}: labels must be integers or text (n,)")
    text = labels.dtype.kind in "US"
    if labels.ndim == 2 and labels.shape[1] > 1:
        one_hot = np.zeros(len(labels), bool) if text else np.all((labels == 0) | (labels == 1), 1) & (labels.sum(1) == 1)
        for row in np.flatnonzero(~one_hot)[:1]:
            raise SourceError(
                f"{where} has the shape {labels.shape}, and row {row} is not one-hot: labels must be (n,) or one-hot"
            )
        return np.asarray(labels.argmax(axis=1))
    labels = labels.reshape(-1)
    if text:
        try:
            return np.array([normal(one) for one in labels.astype(str).tolist()])
        except UnicodeDecodeError:
            raise SourceError(f"{where} has labels of bytes that are not ASCII: save them as str") from None
    for row in np.flatnonzero(~(np.mod(labels, 1) == 0))[:1] if labels.dtype.kind == "f" else ():
        raise SourceError(f"{where} holds {labels.dtype}, {labels[row]} in row {row}: labels must be integers")
    return labels.astype(np.int64) if labels.dtype.kind in "bf" else labels


def _factor(images: Mapping[str, NDArray[Any]]) -> float:
    """Return what brings all images to 0-255: 255 for values 0-1, of any type; 1 for whole numbers; 1/257 for 16 bits."""
    high, whole = 0.0, True
    for where, array in images.items():
        for part in _blocks(array):
            least, most = float(part.min()), float(part.max())
            if not (math.isfinite(least) and math.isfinite(most)):
                raise SourceError(f"{where} holds {array.dtype} with NaN or infinity: images must be 0-255 or 0-1")
            if least < 0:
                raise SourceError(f"{where} holds {array.dtype} from {least:g}: images must be 0-255 or 0-1; undo that")
            high = max(high, most)
            whole = whole and (array.dtype.kind != "f" or bool(np.all(np.mod(part, 1) == 0)))
    where, array = next(iter(images.items()))
    factor = 255.0 if high <= 1 else 1.0 if high <= 255 else 1 / 257
    if (factor < 1 and (array.dtype.kind == "f" or high > 65535)) or (factor == 1 and not whole):
        raise SourceError(f"{where} holds {array.dtype}, with the other parts up to {high:g}: all must be 0-255, or all 0-1")
    if factor < 1:
        refuse_12_bits(np.array([high], np.uint16), where)
    if factor != 1:
        print(f"{where} holds {array.dtype} up to {high:g}: images are multiplied by {'255' if factor > 1 else '1/257'}")
    return factor


def _blocks(array: NDArray[Any]) -> list[NDArray[Any]]:
    return np.array_split(array, max(1, min(len(array), array.nbytes // _BLOCK)))


def _converted(array: NDArray[Any], factor: float, scratch: Path) -> NDArray[np.uint8]:
    """Return `array`, times `factor`, as uint8 on disk."""
    if array.dtype == np.uint8 and factor == 1:
        return array
    try:
        with tempfile.TemporaryFile(dir=scratch, buffering=0) as file:
            for part in _blocks(array):
                np.rint(part * np.float64(factor)).astype(np.uint8).tofile(file)
            return np.memmap(file, np.uint8, "r", 0, array.shape)
    except OSError as error:
        raise FullError(error.errno, error.strerror) from None


@dataclass(frozen=True)
class PixelColumns:
    """The columns of a table of pixels by their names."""

    label: str
    pixels: Sequence[str]  # row by row


def pixel_columns(table: Path, labels: Sequence[str]) -> PixelColumns | None:
    """Return the columns of a table of pixels whose label has one of the names `labels`; None if it is another table."""
    if table.suffix.lower() == ".parquet":
        return None
    with table.open(encoding="utf-8-sig", errors="replace") as file:
        line = file.readline().rstrip("\r\n")
    header = [name.strip('"') for name in line.split(delimiter(line))]
    alike: dict[str, list[str]] = defaultdict(list)  # names that differ in their numbers only
    for name in header:
        alike[re.sub("[0-9]+", "0", name)].append(name)
    pixels = max(alike.values(), key=len)
    found = [name for name in header if name.strip().casefold() in labels]
    if len(pixels) < _LEAST or not found:
        return None
    return PixelColumns(found[0], sorted(pixels, key=lambda name: [int(number) for number in re.findall("[0-9]+", name)]))


def delimiter(header: str) -> str:
    """Return what separates the names in the first line of a table."""
    return max(",;\t|", key=header.count)


def read_pixels(
    tables: Sequence[tuple[Path, SplitName | None]], columns: PixelColumns, names: tuple[str, ...], scratch: Path
) -> Source:
    """Return the images in `tables`, one or more of each split; `names` are those of the classes, or empty.

    Raises:
        SourceError: a table has other columns or cells that are no numbers, or its images are not squares.
        FullError: `scratch` cannot be written.
    """
    parts: dict[SplitName, Part] = {}
    for split in SPLITS:
        chosen = [table for table, given in tables if (given or "train") == split]
        if chosen:
            with tempfile.TemporaryFile(dir=scratch) as file:
                labels = np.array([label for table in chosen for label in _copy(table, columns, file)])
                shape = (len(labels), len(columns.pixels))
                pixels = np.memmap(file, np.float32, "r", 0, shape)
            where = " and ".join(map(str, chosen))
            parts[split] = Part(pixels, labels, f"{where}: {columns.pixels[0]} …", f"{where}: {columns.label}")
    return to_source(parts, names, tuple(describe_file(table) for table, _ in tables), scratch)


def _copy(table: Path, columns: PixelColumns, file: IO[bytes]) -> Iterator[str]:
    """Write the pixels of each row into `file`, float32, and yield its label."""
    import pyarrow
    from pyarrow import csv

    with table.open(encoding="utf-8-sig", errors="replace") as text:
        parse = csv.ParseOptions(delimiter=delimiter(text.readline()))
    types = {columns.label: pyarrow.string(), **dict.fromkeys(columns.pixels, pyarrow.float32())}
    convert = csv.ConvertOptions(column_types=types, include_columns=list(types))
    try:
        for batch in csv.open_csv(table, csv.ReadOptions(block_size=_BLOCK), parse, convert):
            label, *pixels = batch.columns
            block = np.stack([column.to_numpy(zero_copy_only=False) for column in pixels], axis=1)
            try:
                file.write(block.tobytes())
            except OSError as error:
                raise FullError(error.errno, error.strerror) from None
            yield from label.to_pylist()
    except (pyarrow.ArrowException, KeyError) as error:
        reason = environment.message(error)
        raise SourceError(f"{table}: {reason}: each row needs a label and {len(columns.pixels):,} numbers") from None
