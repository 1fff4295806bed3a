"""A strict reader of IDX files, plain or gzipped: every byte must be where the format puts it.

Format (https://github.com/cvdfoundation/mnist, "the IDX file format"): two zero bytes, a type code (0x08: unsigned byte),
the number of dimensions, each dimension as a big-endian 32-bit count, then the values in row-major order, and nothing else.

The values stay on disk: those of a plain file are memory-mapped where they lie, those of a gzip file in a nameless file, to
which no more is unpacked than the header promises.
"""

import gzip
import math
import re
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import SourceError
from pipeline.ingest import scratch

_UINT8 = 0x08
_NAME = re.compile(r"(?:.*[-_])?(train|t10k|test)-(images|labels)[-.]idx[13]-ubyte(?:\.gz)?")
ROLES = tuple((split, kind) for split in ("train", "test") for kind in ("images", "labels"))


def find(folder: Path) -> tuple[Path, ...]:
    """The four files of a set in `folder`, in the order of `ROLES`, under any of their usual names.

    Raises:
        SourceError: one is missing, or there are two for the same role.
    """
    found: dict[tuple[str, str], list[Path]] = {role: [] for role in ROLES}
    for path in sorted(folder.iterdir()):
        if name := _NAME.fullmatch(path.name):
            found["train" if name[1] == "train" else "test", name[2]].append(path)
    for (split, kind), paths in found.items():
        if not paths:
            raise SourceError(
                f"{folder} has no {split} {kind}: it needs four files, named as MNIST's, such as "
                f"{'t10k' if split == 'test' else split}-{kind}-idx{3 if kind == 'images' else 1}-ubyte.gz"
            )
        if len(paths) > 1:
            names = " and ".join(path.name for path in paths)
            raise SourceError(f"{folder} has two files of the {split} {kind}, {names}: leave one")
    return tuple(paths[0] for paths in found.values())


def read_pictures(images: Path, labels: Path, folder: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Grey pictures, uint8 `(n, height, width, 1)`, 0-255, and their labels, uint8 `(n,)`, both on disk.

    Args:
        images: Their file.
        labels: Their file.
        folder: Where what is unpacked lies.

    Raises:
        SourceError: a file is no such IDX file, or the counts differ.
    """
    numbers = read(labels, 1, folder)
    pictures = read(images, 3, folder)
    if len(pictures) != len(numbers):
        raise SourceError(
            f"{images} holds {len(pictures):,} pictures, but {labels} {len(numbers):,} labels: they do not belong together"
        )
    return pictures[..., np.newaxis], numbers


def read(path: Path, dimensions: int, folder: Path) -> NDArray[np.uint8]:
    """The uint8 array in `path`, with `dimensions` axes, none of them empty; `folder` is for what is unpacked.

    Raises:
        SourceError: the file is missing, not gzip though its name says so, truncated or damaged, has a wrong magic number, or
            holds more or less than its header promises.
        OSError: `folder` cannot be written.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            shape = _shape(stream, path, dimensions)
            promised = math.prod(shape)
            if isinstance(stream, gzip.GzipFile):
                with scratch.unpacked(stream, promised + 1, folder) as content:  # one too many: then gzip checks its CRC too
                    _must_hold(content.size, promised, shape, path)
                    return content.map(np.uint8, shape)
            start = stream.tell()
            _must_hold(path.stat().st_size - start, promised, shape, path)
            return np.memmap(stream, np.uint8, "r", start, shape)
    except EOFError:
        raise SourceError(f"{path} is truncated: its gzip stream has no end. Get the file again") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise SourceError(f"{path} is not an intact gzip file ({error}). Get the file again") from None
    except scratch.FullError:
        raise
    except OSError as error:
        raise SourceError(f"{path} cannot be read ({error.strerror})") from None


def _shape(stream: scratch.Stream, path: Path, dimensions: int) -> tuple[int, ...]:
    """What the header promises."""
    magic = stream.read(4)
    if magic != bytes([0, 0, _UINT8, dimensions]):
        packed = " (it is gzip: its name should end in .gz)" if magic[:2] == b"\x1f\x8b" else ""
        raise SourceError(
            f"{path} starts with the bytes {magic.hex(' ') or '(none)'} instead of 00 00 08 {dimensions:02x}: "
            f"it is not an IDX file of unsigned bytes in {dimensions} dimension{'s' if dimensions > 1 else ''}{packed}"
        )
    sizes = stream.read(4 * dimensions)
    if len(sizes) < 4 * dimensions:
        raise SourceError(f"{path} ends inside its header, after {4 + len(sizes)} bytes. Get the file again")
    shape = tuple(int(size) for size in np.frombuffer(sizes, ">u4"))
    if 0 in shape:
        raise SourceError(f"{path} is empty: its header says {_times(shape)}")
    return shape


def _must_hold(held: int, promised: int, shape: tuple[int, ...], path: Path) -> None:
    if held != promised:
        said = f"only {held:,}" if held < promised else "more"
        raise SourceError(f"{path} promises {_times(shape)} = {promised:,} bytes and holds {said}. Get the file again")


def _times(shape: tuple[int, ...]) -> str:
    return " × ".join(f"{size:,}" for size in shape)
