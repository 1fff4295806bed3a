"""A strict reader of .npz files that hold x_train, y_train, x_test and y_test, as Keras' data sets come.

Members are unpacked onto disk, not into memory, and no more of them than their header promises. Python objects in them are
refused by their header: nothing is ever unpickled.
"""

import math
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import SourceError
from pipeline.ingest import scratch

_ARRAYS = ("x_train", "y_train", "x_test", "y_test")


@dataclass(frozen=True)
class _Header:
    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]


def find(source: Path) -> Path:
    """The .npz file that `source` is, or the only one in it.

    Raises:
        SourceError: there is none, or more than one.
    """
    if source.is_file():
        return source
    paths = sorted(path for path in source.iterdir() if path.suffix == ".npz")
    if len(paths) != 1:
        names = ", ".join(path.name for path in paths) or "none"
        raise SourceError(f"{source} must hold one .npz file, but holds {names}: put one there, or name it in ingest.source")
    return paths[0]


def read(path: Path, folder: Path) -> tuple[NDArray[Any], ...]:
    """x_train, y_train, x_test, y_test: pictures, uint8 `(n, height, width, 1 or 3)`, 0-255; labels, any integers `(n,)`.

    Args:
        path: The file.
        folder: Where what is unpacked lies.

    Raises:
        SourceError: the file is damaged, lacks an array, or one is not what it should be.
        OSError: `folder` cannot be written.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            lacking = [name for name in _ARRAYS if f"{name}.npy" not in archive.namelist()]
            if lacking:
                held = ", ".join(Path(name).stem for name in archive.namelist()) or "nothing"
                raise SourceError(f"{path} has no {', '.join(lacking)}, but {held}: name the arrays so, and save it again")
            arrays = tuple(_member(archive, name, path, folder) for name in _ARRAYS)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise SourceError(f"{path} is not an intact .npz file ({error}). Get the file again") from None
    except scratch.FullError:
        raise
    except OSError as error:
        raise SourceError(f"{path} cannot be read ({error.strerror})") from None
    for x, y in ((0, 1), (2, 3)):
        if len(arrays[x]) != len(arrays[y]):
            raise SourceError(
                f"{path}: {_ARRAYS[x]} holds {len(arrays[x]):,} pictures, but {_ARRAYS[y]} {len(arrays[y]):,} labels: "
                "they do not belong together"
            )
    if arrays[0].shape[1:] != arrays[2].shape[1:]:
        raise SourceError(f"{path}: x_train holds pictures of {arrays[0].shape[1:]}, x_test of {arrays[2].shape[1:]}")
    return arrays


def _member(archive: zipfile.ZipFile, name: str, path: Path, folder: Path) -> NDArray[Any]:
    with archive.open(f"{name}.npy") as stream:
        header = _header(stream, f"{path}: {name}")
        (_check_pictures if name.startswith("x") else _check_labels)(header, f"{path}: {name}")
        promised = math.prod(header.shape) * header.dtype.itemsize
        with scratch.unpacked(stream, promised + 1, folder) as content:  # one too many: then zipfile checks its CRC too
            if content.size != promised:
                said = f"only {content.size:,}" if content.size < promised else "more"
                raise SourceError(f"{path}: {name} promises {promised:,} bytes and holds {said}. Get the file again")
            array = content.map(header.dtype, header.shape, "F" if header.fortran else "C")
    if name.startswith("y"):
        return array.reshape(-1)
    return array[..., np.newaxis] if array.ndim == 3 else array


def _header(stream: IO[bytes], where: str) -> _Header:
    try:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(stream)
    except (ValueError, SyntaxError) as error:
        reason = " ".join(str(error).split())
        raise SourceError(f"{where} is no NumPy array ({reason}). Get the file again") from None
    if any(size < 1 for size in shape):
        raise SourceError(f"{where} is empty: its shape is {shape}")
    if dtype.hasobject:
        raise SourceError(f"{where} holds Python objects, which are never unpickled: save it as plain integers")
    return _Header(shape, fortran, dtype)


def _check_pictures(header: _Header, where: str) -> None:
    if header.dtype != np.uint8:
        raise SourceError(f"{where} holds {header.dtype}: pictures must be uint8, 0-255; save it with .astype('uint8')")
    if len(header.shape) not in (3, 4) or (len(header.shape) == 4 and header.shape[3] not in (1, 3)):
        raise SourceError(f"{where} has the shape {header.shape}: it must be (n, height, width) or (n, height, width, 1 or 3)")


def _check_labels(header: _Header, where: str) -> None:
    if header.dtype.kind not in "iu":
        raise SourceError(f"{where} holds {header.dtype}: labels must be integers; save it with .astype('int64')")
    if len(header.shape) != 1 and header.shape[1:] != (1,):
        raise SourceError(f"{where} has the shape {header.shape}: labels must be (n,)")
