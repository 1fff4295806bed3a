"""Unpacked bytes in a nameless file, so that memory does not grow with the data; it vanishes with its last user."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

_BLOCK = 1024 * 1024  # bytes


class FullError(OSError):
    """The unpacked bytes cannot be written: not the source's fault."""


class Stream(Protocol):
    """What bytes can be read from."""

    def read(self, size: int = ..., /) -> bytes:
        """At most `size` bytes; none at the end."""


@dataclass(frozen=True)
class Unpacked:
    """A nameless file."""

    file: Any
    size: int  # bytes

    def map(self, dtype: Any, shape: tuple[int, ...], order: Literal["C", "F"] = "C") -> NDArray[Any]:
        """Its content as a read-only array on disk, which outlives the `with` block."""
        return np.memmap(self.file, dtype, "r", 0, shape, order)


@contextmanager
def unpacked(stream: Stream, limit: int, folder: Path) -> Iterator[Unpacked]:
    """Up to `limit` bytes of `stream`, in a file on the disk of `folder`.

    Raises:
        FullError: they cannot be written.
    """
    # Unbuffered: what a full disk leaves in a buffer would fail once more when the file is closed.
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        size = 0
        while block := stream.read(min(_BLOCK, limit - size)):
            try:
                _write(file, block)
            except OSError as error:
                raise FullError(error.errno, error.strerror) from None
            size += len(block)
        yield Unpacked(file, size)


def _write(file: Any, block: bytes) -> None:
    """All of `block`: an unbuffered write may stop short."""
    rest = memoryview(block)
    while rest:
        rest = rest[file.write(rest) :]
