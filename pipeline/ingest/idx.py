"""A strict reader of IDX files, plain or gzipped: every byte must be where the format puts it.

Format (https://github.com/cvdfoundation/mnist, "the IDX file format"): two zero bytes, a type code (0x08: unsigned byte),
the number of dimensions, each dimension as a big-endian 32-bit count, then the values in row-major order, and nothing else.

The values stay on disk: those of a plain file are memory-mapped in place, those of a gzip file in a nameless file, to which
no more is unpacked than the header promises.
"""

import gzip
import math
import re
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import SourceError
from pipeline.ingest import arrays
from pipeline.ingest.source import FullError, Source, Stream, check_size, describe_file, given_class_names, unpacked
from pipeline.params import IngestParams

_UINT8 = 0x08
_NAME = re.compile(r"(?:.*[-_])?(train|t10k|test)-(images|labels)[-.]idx[13]-ubyte(?:\.gz)?")


def read(source: Path, params: IngestParams, scratch: Path) -> Source:
    """Return the images of the four files in the folder `source`, with their official test set.

    Raises:
        SourceError: a file is missing or not exactly IDX, or images and labels do not match.
    """
    return read_four(find(source), given_class_names(params, source), scratch)


def is_named(path: Path) -> bool:
    """Return whether `path` is named as one of the four files."""
    return bool(_NAME.fullmatch(path.name))


def find(folder: Path) -> tuple[Path, ...]:
    """Return the training images and labels and the test images and labels in `folder`, under any of their usual names.

    Raises:
        SourceError: a file is missing, or there are two for the same role.
    """
    found: dict[tuple[str, str], list[Path]] = {
        (split, kind): [] for split in ("train", "test") for kind in ("images", "labels")
    }
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
            raise SourceError(f"{folder} has two files of the {split} {kind}, {names}: remove one")
    return tuple(paths[0] for paths in found.values())


def read_four(paths: tuple[Path, ...], names: tuple[str, ...], scratch: Path) -> Source:
    """Return the images of four files, in the order of `find`; without `names`, the numbers are the class names.

    Raises:
        SourceError: a file is not exactly IDX, or images and labels do not match.
    """
    train, test = (_read_pair(paths[at], paths[at + 1], scratch) for at in (0, 2))
    return arrays.to_source({"train": train, "test": test}, names, tuple(map(describe_file, paths)), scratch)


def _read_pair(images: Path, labels: Path, scratch: Path) -> arrays.Part:
    numbers = read_array(labels, 1, scratch)
    return arrays.Part(read_array(images, 3, scratch), numbers, str(images), str(labels))


def read_array(path: Path, dimensions: int, scratch: Path) -> NDArray[np.uint8]:
    """Return the uint8 array in `path`, with `dimensions` axes, none of them empty; `scratch` is for what is unpacked.

    Raises:
        SourceError: the file is missing, not gzip though its name says so, truncated or damaged, has a wrong magic number, or
            holds more or less than its header promises.
        OSError: `scratch` cannot be written.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            shape = _read_shape(stream, path, dimensions)
            if isinstance(stream, gzip.GzipFile):
                return unpacked(stream, np.uint8, shape, scratch, str(path))
            start = stream.tell()
            check_size(path.stat().st_size - start, math.prod(shape), str(path))
            return np.memmap(stream, np.uint8, "r", start, shape)
    except EOFError:
        raise SourceError(f"{path} is truncated: its gzip stream has no end. Get the file again") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise SourceError(f"{path} is not an intact gzip file ({error}). Get the file again") from None
    except FullError:
        raise
    except OSError as error:
        raise SourceError(f"{path} cannot be read ({error.strerror})") from None


def _read_shape(stream: Stream, path: Path, dimensions: int) -> tuple[int, ...]:
    """Return the shape that the header promises."""
    magic = stream.read(4)
    if magic != bytes([0, 0, _UINT8, dimensions]):
        hint = " (it is gzip: its name should end in .gz)" if magic[:2] == b"\x1f\x8b" else ""
        raise SourceError(
            f"{path} starts with the bytes {magic.hex(' ') or '(none)'} instead of 00 00 08 {dimensions:02x}: "
            f"it is not an IDX file of unsigned bytes in {dimensions} dimension{'s' if dimensions > 1 else ''}{hint}"
        )
    sizes = stream.read(4 * dimensions)
    if len(sizes) < 4 * dimensions:
        raise SourceError(f"{path} ends inside its header, after {4 + len(sizes)} bytes. Get the file again")
    shape = tuple(int(size) for size in np.frombuffer(sizes, ">u4"))
    if 0 in shape:
        raise SourceError(f"{path} is empty: its header says {' × '.join(map(str, shape))}")
    return shape
