"""A strict reader of .npz files that hold x_train, y_train, x_test and y_test, as Keras' data sets come.

Members are unpacked onto disk, not into memory, and no more of them than their header promises. Python objects in them are
refused by their header: nothing is ever unpickled.
"""

import math
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import SourceError
from pipeline.ingest.images import Arrays
from pipeline.ingest.source import FullError, Source, describe_file, given_class_names, number_classes, unpacked
from pipeline.params import IngestParams

_ARRAYS = ("x_train", "y_train", "x_test", "y_test")


def read(source: Path, params: IngestParams, scratch: Path) -> Source:
    """Return the images of the .npz file that `source` is, or of the only one in it.

    Raises:
        SourceError: there is no such file or more than one, it is damaged or lacks an array, or an array is invalid.
    """
    path = _find(source)
    images, numbers, test_images, test_numbers = _read_arrays(path, scratch)
    numbering = number_classes(numbers, given_class_names(params, source), f"{path}: y_train")
    training = Arrays(images, numbering.labels(numbers, f"{path}: y_train"))
    test = Arrays(test_images, numbering.labels(test_numbers, f"{path}: y_test"))
    return Source(numbering.names, training, test, (describe_file(path),))


def _find(source: Path) -> Path:
    if source.is_file():
        return source
    paths = sorted(path for path in source.iterdir() if path.suffix == ".npz")
    if len(paths) != 1:
        names = ", ".join(path.name for path in paths) or "none"
        raise SourceError(f"{source} must hold one .npz file, but holds {names}: put one there, or name it in ingest.source")
    return paths[0]


def _read_arrays(path: Path, scratch: Path) -> tuple[NDArray[Any], ...]:
    """Return x_train, y_train, x_test, y_test: images, uint8 `(n, height, width, 1 or 3)`; labels, any integers `(n,)`."""
    try:
        with zipfile.ZipFile(path) as archive:
            missing = [name for name in _ARRAYS if f"{name}.npy" not in archive.namelist()]
            if missing:
                held = ", ".join(Path(name).stem for name in archive.namelist()) or "nothing"
                raise SourceError(f"{path} has no {', '.join(missing)}, but {held}: rename the arrays, and save it again")
            arrays = tuple(_read_member(archive, name, path, scratch) for name in _ARRAYS)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise SourceError(f"{path} is not an intact .npz file ({error}). Get the file again") from None
    except FullError:
        raise
    except OSError as error:
        raise SourceError(f"{path} cannot be read ({error.strerror})") from None
    for x, y in ((0, 1), (2, 3)):
        if len(arrays[x]) != len(arrays[y]):
            raise SourceError(
                f"{path}: {_ARRAYS[x]} holds {len(arrays[x]):,} images, but {_ARRAYS[y]} {len(arrays[y]):,} labels: "
                "they do not belong together"
            )
    if arrays[0].shape[1:] != arrays[2].shape[1:]:
        raise SourceError(f"{path}: x_train holds images of {arrays[0].shape[1:]}, x_test of {arrays[2].shape[1:]}")
    return arrays


def _read_member(archive: zipfile.ZipFile, name: str, path: Path, scratch: Path) -> NDArray[Any]:
    with archive.open(f"{name}.npy") as stream:
        shape, fortran, dtype = _read_header(stream, f"{path}: {name}")
        (_check_images if name.startswith("x") else _check_labels)(shape, dtype, f"{path}: {name}")
        promised = math.prod(shape) * dtype.itemsize
        with unpacked(stream, promised + 1, scratch) as content:  # one too many: then zipfile checks its CRC too
            if content.size != promised:
                actual = f"only {content.size:,}" if content.size < promised else "more"
                raise SourceError(f"{path}: {name} promises {promised:,} bytes and holds {actual}. Get the file again")
            array = content.map(dtype, shape, "F" if fortran else "C")
    if name.startswith("y"):
        return array.reshape(-1)
    return array[..., np.newaxis] if array.ndim == 3 else array


def _read_header(stream: IO[bytes], where: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return shape, Fortran order and dtype."""
    try:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(stream)
    except (ValueError, SyntaxError) as error:
        reason = " ".join(str(error).split())
        raise SourceError(f"{where} is not a NumPy array ({reason}). Get the file again") from None
    if any(size < 1 for size in shape):
        raise SourceError(f"{where} is empty: its shape is {shape}")
    if dtype.hasobject:
        raise SourceError(f"{where} holds Python objects, which are never unpickled: save it as plain integers")
    return shape, fortran, dtype


def _check_images(shape: tuple[int, ...], dtype: np.dtype[Any], where: str) -> None:
    if dtype != np.uint8:
        raise SourceError(f"{where} holds {dtype}: images must be uint8, 0-255; save it with .astype('uint8')")
    if len(shape) not in (3, 4) or (len(shape) == 4 and shape[3] not in (1, 3)):
        raise SourceError(f"{where} has the shape {shape}: it must be (n, height, width) or (n, height, width, 1 or 3)")


def _check_labels(shape: tuple[int, ...], dtype: np.dtype[Any], where: str) -> None:
    if dtype.kind not in "iu":
        raise SourceError(f"{where} holds {dtype}: labels must be integers; save it with .astype('int64')")
    if len(shape) != 1 and shape[1:] != (1,):
        raise SourceError(f"{where} has the shape {shape}: labels must be (n,)")
