"""A strict reader of gzipped IDX files: every byte must be where the format puts it.

Format (https://github.com/cvdfoundation/mnist, "the IDX file format"): two zero bytes, a type code (0x08: unsigned byte),
the number of dimensions, each dimension as a big-endian 32-bit count, then the values in row-major order, and nothing else.
"""

import gzip
import math
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import SourceError

_UINT8 = 0x08
_CHUNK = 1024 * 1024  # bytes: memory follows what a file holds, not what its header promises


def read_pictures(images: Path, labels: Path, classes: int) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Grey pictures, uint8 `(n, height, width, 1)`, 0-255, and their labels, int32 `(n,)`, 0 … classes - 1.

    Raises:
        SourceError: a file is no such IDX file, the counts differ, or a label names no class.
    """
    pictures, numbers = read(images, dimensions=3), read(labels, dimensions=1)
    if len(pictures) != len(numbers):
        raise SourceError(
            f"{images} holds {len(pictures):,} pictures, but {labels} {len(numbers):,} labels: they do not belong together"
        )
    for row in np.flatnonzero(numbers >= classes)[:1]:
        raise SourceError(f"{labels}: label {numbers[row]} in row {row}; the {classes} classes are 0 … {classes - 1}")
    return pictures[..., np.newaxis], numbers.astype(np.int32)


def read(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """The uint8 array in `path`, with `dimensions` axes, none of them empty.

    Raises:
        SourceError: the file is missing, not gzip, truncated or damaged, has a wrong magic number, or holds more or less
            than its header promises.
    """
    try:
        with gzip.open(path) as stream:
            return _parse(stream, path, dimensions)
    except EOFError:
        raise SourceError(f"{path} is truncated: its gzip stream has no end. Get the file again") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise SourceError(f"{path} is not an intact gzip file ({error}). Get the file again") from None
    except OSError as error:
        raise SourceError(f"{path} cannot be read ({error.strerror})") from None


def _parse(stream: gzip.GzipFile, path: Path, dimensions: int) -> NDArray[np.uint8]:
    magic = stream.read(4)
    if magic != bytes([0, 0, _UINT8, dimensions]):
        raise SourceError(
            f"{path} starts with the bytes {magic.hex(' ') or '(none)'} instead of 00 00 08 {dimensions:02x}: "
            f"it is not an IDX file of unsigned bytes in {dimensions} dimension{'s' if dimensions > 1 else ''}"
        )
    sizes = stream.read(4 * dimensions)
    if len(sizes) < 4 * dimensions:
        raise SourceError(f"{path} ends inside its header, after {4 + len(sizes)} bytes. Get the file again")
    shape = tuple(int(size) for size in np.frombuffer(sizes, ">u4"))
    promised = math.prod(shape)
    if promised == 0:
        raise SourceError(f"{path} is empty: its header says {_times(shape)}")
    content = _read_at_most(stream, promised + 1)
    if len(content) != promised:
        held = f"only {len(content):,}" if len(content) < promised else "more"
        raise SourceError(f"{path} promises {_times(shape)} = {promised:,} bytes and holds {held}. Get the file again")
    return np.frombuffer(content, np.uint8).reshape(shape)


def _read_at_most(stream: gzip.GzipFile, limit: int) -> bytearray:
    """Up to `limit` bytes; asking for one too many is also what makes gzip check its CRC."""
    content = bytearray()
    while chunk := stream.read(min(_CHUNK, limit - len(content))):
        content += chunk
    return content


def _times(shape: tuple[int, ...]) -> str:
    return " × ".join(f"{size:,}" for size in shape)
