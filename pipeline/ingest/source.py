"""What every reader returns, and what readers share: names, labels, the names of splits, and unpacking to disk."""

import math
import re
import tempfile
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.dataset import SourceFile, SplitName
from pipeline.errors import SourceError
from pipeline.ingest.images import Images
from pipeline.params import IngestParams
from pipeline.workspace import sha256

CLASSES_FILE = "classes.txt"
TABLES = (".csv", ".tsv", ".parquet")
_BLOCK = 1024 * 1024  # bytes
_MAX_NAME = 200  # characters
_SPLIT_WORDS: dict[str, SplitName] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}


@dataclass(frozen=True)
class Source:
    """Labelled images as a reader found them; they stay on disk until they are needed."""

    class_names: tuple[str, ...]
    training: Images
    test: Images | None  # the official test set; without one, `split` takes one from `training`
    files: tuple[SourceFile, ...]
    where: str = ""  # to be printed
    grows: bool = True  # the user's own, to which images may be added
    validation: Images | None = None  # the given validation set; without one, `split` takes one from `training`

    def images(self, split: SplitName) -> Images:
        """Return the images that `split` is taken from."""
        given = {"train": None, "validation": self.validation, "test": self.test}[split]
        return given or self.training

    def given(self) -> Mapping[SplitName, Images]:
        """Return the images by the split that they were given for; "train" is cut where another one is missing."""
        parts: dict[SplitName, Images | None] = {"train": self.training, "validation": self.validation, "test": self.test}
        return {name: images for name, images in parts.items() if images}


def split_of(name: str, *, exact: bool = False) -> SplitName | None:
    """Return the split that `name` stands for, such as Training, valid or seg_test; with `exact`, of whole names only."""
    words = [name.casefold()] if exact else [name.casefold(), *re.split(r"[-_. ]+", name.casefold())]
    found = {_SPLIT_WORDS[word] for word in words if word in _SPLIT_WORDS}
    return found.pop() if len(found) == 1 else None


def listed(names: Sequence[str], separator: str = ", ", most: int = 20) -> str:
    """Return up to `most` of `names`, and how many more there are."""
    more = len(names) - most
    return separator.join(names[:most]) + (f" and {more:,} more" if more > 0 else "")


def is_plain(name: str) -> bool:
    """Return whether `name` is Unicode on one line, without control characters; all else that people use is fine.

    Not `str.isprintable`, which refuses the blanks of macOS screenshots, Persian's joiners, and emoji newer than this Python.
    """
    return not any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in name)


def normal(name: str) -> str:
    """Return a class name in NFC, so that one from macOS and one from Linux are equal where they look equal."""
    return unicodedata.normalize("NFC", name).strip()


def label_texts(texts: Iterable[str], names: tuple[str, ...], where: str) -> tuple[str, ...]:
    """Return the class names behind text labels: `names` where given, else the texts in order; numbers as numbers.

    Raises:
        SourceError: a text is not among `names`, or the names cannot be used.
    """
    found = sorted({*texts}, key=lambda text: (0, int(text), "") if re.fullmatch(r"[0-9]{1,18}", text) else (1, 0, text))
    if unknown := sorted({*found} - {*names}) if names else []:
        raise SourceError(
            f"{where} has labels that class_names or {CLASSES_FILE} do not name: {listed(unknown)}. Add them there, or correct "
            f"them; the classes are {listed(names)}"
        )
    check_class_names(names or tuple(found), where)
    return names or tuple(found)


def describe_file(path: Path) -> SourceFile:
    """Return name, size and digest of the file at `path`."""
    return SourceFile(path.name, path.stat().st_size, sha256(path))


def check_class_names(names: tuple[str, ...], where: str) -> None:
    """Raise SourceError if there is only one class, or a name that cannot be used."""
    for name in names:
        if not is_plain(name) or not name.strip() or len(name) > _MAX_NAME:
            raise SourceError(f"{where} has a class {name!a}: rename it to 1 to {_MAX_NAME} characters on one line")
    if len(names) < 2:
        raise SourceError(f"{where} holds only one class, {names[0]!r}: a classifier needs two or more")


def given_class_names(params: IngestParams, source: Path) -> tuple[str, ...]:
    """Return the user's class names by label: from params, else from classes.txt, one per line; empty if there are none.

    Raises:
        SourceError: classes.txt is not UTF-8, or holds a name twice or one with control characters.
    """
    path = (source.parent if source.is_file() else source) / CLASSES_FILE
    if params.class_names or not path.is_file():
        return tuple(map(normal, params.class_names))
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise SourceError(f"{path} is not UTF-8 at byte {error.start}: save it as UTF-8 text") from None
    names = tuple(normal(line) for line in lines if line.strip())
    for name in names:
        if names.count(name) > 1:
            raise SourceError(f"{path} holds {name!r} twice: write each class once, one per line")
        if not is_plain(name):
            raise SourceError(f"{path} holds {name!r}: remove the control characters")
    return names


class FullError(OSError):
    """The unpacked bytes cannot be written: not the source's fault."""


class Stream(Protocol):
    """Anything that bytes can be read from."""

    def read(self, size: int = ..., /) -> bytes:
        """Return at most `size` bytes; none at the end."""


def unpacked(
    stream: Stream, dtype: Any, shape: tuple[int, ...], scratch: Path, where: str, order: Literal["C", "F"] = "C"
) -> NDArray[Any]:
    """Return the array in `stream` from a nameless file on the disk of `scratch`, so that memory does not grow with the data.

    Raises:
        SourceError: the stream holds more or less than `shape` promises; no more is unpacked.
        FullError: the file cannot be written.
    """
    promised = math.prod(shape) * np.dtype(dtype).itemsize
    # Unbuffered: what a full disk leaves in a buffer would fail once more when the file is closed.
    with tempfile.TemporaryFile(dir=scratch, buffering=0) as file:
        size = 0
        while block := stream.read(min(_BLOCK, promised + 1 - size)):  # one too many: then gzip and zipfile check their CRC
            rest = memoryview(block)
            try:
                while rest:  # an unbuffered write may stop short
                    rest = rest[file.write(rest) :]
            except OSError as error:
                raise FullError(error.errno, error.strerror) from None
            size += len(block)
        check_size(size, promised, where)
        return np.memmap(file, dtype, "r", 0, shape, order)


def check_size(held: int, promised: int, where: str) -> None:
    """Raise SourceError unless as many bytes are held as were promised."""
    if held != promised:
        actual = f"only {held:,}" if held < promised else "more"
        raise SourceError(f"{where} promises {promised:,} bytes and holds {actual}. Get the file again")
