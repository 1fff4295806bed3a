"""A reader of .npz files: images and labels as arrays, with or without parts for validation and test.

Arrays are named as Keras (x_train), MedMNIST (train_images, val_labels) and others do it; those without a part are training.
Members are unpacked onto disk, not into memory, and no more of them than their header promises. Python objects in them are
refused by their header: nothing is ever unpickled. Images become uint8, 0-255: see `_factor`.
"""

import math
import re
import tempfile
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.dataset import SplitName
from pipeline.errors import SourceError
from pipeline.ingest import source as shared
from pipeline.ingest.folder import is_ignored
from pipeline.ingest.images import Arrays
from pipeline.ingest.preprocessing import refuse_12_bits
from pipeline.ingest.source import FullError, Source, number_classes, unpacked
from pipeline.params import IngestParams

_IMAGES = frozenset({"x", "image", "images", "imgs", "data"})
_LABELS = frozenset({"y", "label", "labels", "target", "targets"})
_BLOCK = 16 * 1024 * 1024  # bytes of images that are converted at once

_Parts = Mapping[SplitName, tuple[str, str]]  # the names of the arrays of images and of labels


def read(source: Path, params: IngestParams, scratch: Path) -> Source:
    """Return the images of the .npz file that `source` is, or of the only one in it.

    Raises:
        SourceError: there is no such file or more than one, it is damaged or lacks an array, or an array is invalid.
    """
    path = _find(source)
    parts, arrays = _read_arrays(path, scratch)
    names = shared.given_class_names(params, source)
    labels = {split: _plain(arrays[y], f"{path}: {y}") for split, (_, y) in parts.items()}
    if any(array.dtype.kind in "US" for array in labels.values()):
        names, labels = _numbered(labels, names, str(path))
    numbering = number_classes(labels["train"], names, f"{path}: {parts['train'][1]}")
    factor = _factor({f"{path}: {x}": arrays[x] for x, _ in parts.values()})
    found = {
        split: Arrays(_converted(arrays[x], factor, scratch), numbering.labels(labels[split], f"{path}: {y}"))
        for split, (x, y) in parts.items()
    }
    files = (shared.describe_file(path),)
    return Source(numbering.names, found["train"], found.get("test"), files, validation=found.get("validation"))


def _find(source: Path) -> Path:
    if source.is_file():
        return source
    paths = sorted(path for path in source.rglob("*.npz") if not is_ignored(path.name))
    if len(paths) != 1:
        names = ", ".join(path.name for path in paths) or "none"
        raise SourceError(f"{source} must hold one .npz file, but holds {names}: put one there, or name it in ingest.source")
    return paths[0]


def _read_arrays(path: Path, scratch: Path) -> tuple[_Parts, Mapping[str, NDArray[Any]]]:
    """Return which arrays there are, and each by its name; images are `(n, height, width, 1 or 3)`."""
    try:
        with zipfile.ZipFile(path) as archive:
            parts = _find_parts([Path(name).stem for name in archive.namelist() if name.endswith(".npy")], path)
            arrays = {name: _read_member(archive, name, name == x, path, scratch) for x, y in parts.values() for name in (x, y)}
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise SourceError(f"{path} is not an intact .npz file ({error}). Get the file again") from None
    except FullError:
        raise
    except OSError as error:
        raise SourceError(f"{path} cannot be read ({error.strerror})") from None
    first = parts["train"][0]
    for x, y in parts.values():
        if len(arrays[x]) != len(arrays[y]):
            raise SourceError(
                f"{path}: {x} holds {len(arrays[x]):,} images, but {y} {len(arrays[y]):,} labels: they do not belong together"
            )
        if arrays[x].shape[1:] != arrays[first].shape[1:]:
            raise SourceError(f"{path}: {first} holds images of {arrays[first].shape[1:]}, {x} of {arrays[x].shape[1:]}")
    return parts, arrays


def _find_parts(names: list[str], path: Path) -> _Parts:
    """Return the arrays of each split by their names; other arrays are not read."""
    found: dict[tuple[SplitName, str], str] = {}
    for name in names:
        words = {*re.split(r"[-_. ]+", name.casefold())}
        if words & (_IMAGES | _LABELS):
            other = found.setdefault((shared.split_of(name) or "train", "x" if words & _IMAGES else "y"), name)
            if other != name:
                raise SourceError(f"{path} has two arrays of the same role, {other} and {name}: remove one")
    splits = dict.fromkeys(("train", *(split for split, _ in found)))
    missing = [f"{role}_{split}" for split in splits for role in "xy" if (split, role) not in found]
    if missing:
        held = ", ".join(names) or "nothing"
        raise SourceError(f"{path} has no {', '.join(missing)}, but {held}: rename the arrays, and save it again")
    return {split: (found[split, "x"], found[split, "y"]) for split in splits}


def _read_member(archive: zipfile.ZipFile, name: str, is_images: bool, path: Path, scratch: Path) -> NDArray[Any]:
    where = f"{path}: {name}"
    with archive.open(f"{name}.npy") as stream:
        shape, fortran, dtype = _read_header(stream, where)
        if is_images:
            _image_shape(shape, dtype, where)
        promised = math.prod(shape) * dtype.itemsize
        with unpacked(stream, promised + 1, scratch) as content:  # one too many: then zipfile checks its CRC too
            if content.size != promised:
                actual = f"only {content.size:,}" if content.size < promised else "more"
                raise SourceError(f"{where} promises {promised:,} bytes and holds {actual}. Get the file again")
            array = content.map(dtype, shape, "F" if fortran else "C")
    if not is_images:
        return array
    final = _image_shape(shape, dtype, where)
    return np.moveaxis(array, 1, 3) if len(shape) == 4 and final != shape else array.reshape(final)


def _read_header(stream: IO[bytes], where: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return shape, Fortran order and dtype."""
    try:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(stream)
    except (ValueError, SyntaxError, tokenize.TokenError) as error:
        reason = " ".join(str(error).split())
        raise SourceError(f"{where} is not a NumPy array ({reason}). Get the file again") from None
    if not shape or any(size < 1 for size in shape):
        raise SourceError(f"{where} is empty: its shape is {shape}")
    if dtype.hasobject:
        raise SourceError(f"{where} holds Python objects, which are never unpickled: save it as plain integers or text")
    return shape, fortran, dtype


def _image_shape(shape: tuple[int, ...], dtype: np.dtype[Any], where: str) -> tuple[int, ...]:
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


def _plain(labels: NDArray[Any], where: str) -> NDArray[Any]:
    """Return labels as integers or texts `(n,)`: of columns, one-hot rows, and whole floats."""
    if labels.dtype.kind not in "buifUS" or labels.ndim > 2:
        raise SourceError(f"{where} holds {labels.dtype} {labels.shape}: labels must be integers or text (n,)")
    if labels.ndim == 2 and labels.shape[1] > 1:
        text = labels.dtype.kind in "US"
        one_hot = np.zeros(len(labels), bool) if text else np.all((labels == 0) | (labels == 1), 1) & (labels.sum(1) == 1)
        for row in np.flatnonzero(~one_hot)[:1]:
            raise SourceError(
                f"{where} has the shape {labels.shape}, and row {row} is not one-hot: labels must be (n,) or one-hot"
            )
        return np.asarray(labels.argmax(axis=1))
    labels = labels.reshape(-1)
    if labels.dtype.kind == "f":
        for row in np.flatnonzero(~(np.mod(labels, 1) == 0))[:1]:
            raise SourceError(f"{where} holds {labels.dtype}, {labels[row]} in row {row}: labels must be integers")
    return labels.astype(np.int64) if labels.dtype.kind in "bf" else labels


def _numbered(
    labels: Mapping[SplitName, NDArray[Any]], names: tuple[str, ...], where: str
) -> tuple[tuple[str, ...], dict[SplitName, NDArray[Any]]]:
    """Return the class names behind text labels, and the labels as numbers."""
    try:
        texts = {split: [shared.normal(str(text)) for text in array.astype(str).tolist()] for split, array in labels.items()}
    except UnicodeDecodeError:
        raise SourceError(f"{where} has labels of bytes that are not ASCII: save them as str") from None
    names = shared.label_texts(texts["train"], names, where)
    for split, found in texts.items():
        if unknown := sorted({*found} - {*names}):
            raise SourceError(
                f"{where}: the {split} labels {unknown} are not in the training labels: add images, or remove them"
            )
    return names, {split: np.array([names.index(text) for text in found]) for split, found in texts.items()}


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
