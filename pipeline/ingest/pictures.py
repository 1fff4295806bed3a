"""Labelled pictures that are read a part at a time: from an array that may lie on disk, or from picture files.

Both answer the same three questions: the labels; the pictures of some rows, in one form; and a key per picture, made from
its content and a seed, that decides into which split it goes.
"""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.ingest import decode
from pipeline.ingest.form import Form

PART_BYTES = 4 * 1024 * 1024  # of pictures in memory at once
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Arrays:
    """Pictures of one size in one array."""

    images: NDArray[np.uint8]  # (n, height, width, 1 or 3), 0-255
    labels: NDArray[np.integer[Any]]  # (n,), 0 … classes - 1

    def read(self, rows: NDArray[np.int32], form: Form) -> NDArray[np.uint8]:
        """The pictures of `rows`, uint8 `(rows, size, size, channels)`."""
        if self.images.shape[1:] == form.shape:
            return self.images[rows]
        return np.stack(on_all_cores(lambda row: form.of_array(self.images[row]), rows))

    def keys(self, rows: NDArray[np.int32], seed: int) -> NDArray[np.uint64]:
        """A random number per picture, uint64 `(rows,)`, equal for equal pictures."""
        numbers = (key_of(np.ascontiguousarray(self.images[row]), seed) for row in rows)
        return np.fromiter(numbers, np.uint64, len(rows))


@dataclass(frozen=True)
class Files:
    """Pictures of any size in a file each."""

    paths: Sequence[Path]
    labels: NDArray[np.integer[Any]]  # (n,), 0 … classes - 1
    digests: Sequence[bytes]  # SHA-256 of each file

    def read(self, rows: NDArray[np.int32], form: Form) -> NDArray[np.uint8]:
        """The pictures of `rows`, uint8 `(rows, size, size, channels)`.

        Raises:
            SourceError: a file is no picture; of several the first is named.
        """
        return np.stack(on_all_cores(lambda row: decode.read(self.paths[row], form), rows))

    def keys(self, rows: NDArray[np.int32], seed: int) -> NDArray[np.uint64]:
        """A random number per file, uint64 `(rows,)`, equal for equal files."""
        return np.fromiter((key_of(self.digests[row], seed) for row in rows), np.uint64, len(rows))


Pictures = Arrays | Files


def key_of(content: Any, seed: int) -> int:
    """64 bits that nobody can tell from random, the same for the same `content` (bytes, or a contiguous array) and seed."""
    return int.from_bytes(hashlib.blake2b(content, digest_size=8, key=seed.to_bytes(4, "big")).digest(), "big")


def in_parts(pictures: Pictures, rows: NDArray[np.int32], form: Form) -> Iterator[NDArray[np.uint8]]:
    """The pictures of `rows` as uint8 `(some, size, size, channels)`, so many at a time as `PART_BYTES` hold."""
    some = max(PART_BYTES // int(np.prod(form.shape)), 4 * (os.cpu_count() or 1))
    for start in range(0, len(rows), some):
        yield pictures.read(rows[start : start + some], form)


def on_all_cores(work: Callable[[_Item], _Result], items: Sequence[_Item] | NDArray[np.int32]) -> list[_Result]:
    """`work` of each item, in order; Pillow and hashlib let other threads run meanwhile."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(work, items))
