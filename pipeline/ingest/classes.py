"""Class names, and from the numbers in a file to labels 0 … classes - 1."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.dataset import TAKEN_NAMES
from pipeline.errors import SourceError

FILE = "classes.txt"
_MOST = 1000  # a number beyond it is no label


@dataclass(frozen=True)
class Numbering:
    """Which number stands for which class."""

    names: tuple[str, ...]
    first: int = 0  # the number of the first class: EMNIST's letters begin with 1

    def labels(self, numbers: NDArray[Any], where: str) -> NDArray[np.integer[Any]]:
        """`numbers`, any integers `(n,)`, as labels `(n,)`, 0 … classes - 1, of the smallest type that holds them.

        Raises:
            SourceError: one stands for no class; the message names its row.
        """
        last = self.first + len(self.names) - 1
        for row in np.flatnonzero((numbers < self.first) | (numbers > last))[:1]:
            raise SourceError(
                f"{where}: label {numbers[row]} in row {row}; the {len(self.names)} classes are {self.first} … {last}"
            )
        labels: NDArray[np.integer[Any]] = np.subtract(numbers, self.first)
        return labels.astype(np.min_scalar_type(len(self.names)), copy=False)


def given(in_params: tuple[str, ...], folder: Path) -> tuple[str, ...]:
    """The names that the user gave, by label: in params, else in classes.txt, one a line; none where nothing was given.

    Raises:
        SourceError: classes.txt is not UTF-8, or holds a name twice or one that cannot be used.
    """
    path = folder / FILE
    if in_params or not path.is_file():
        return in_params
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise SourceError(f"{path} is not UTF-8 at byte {error.start}: save it as UTF-8 text") from None
    names = tuple(line.strip() for line in lines if line.strip())
    for name in names:
        if names.count(name) > 1:
            raise SourceError(f"{path} holds {name!r} twice: each class once, one a line")
        if not name.isprintable():
            raise SourceError(f"{path} holds {name!r}: no control characters")
    return names


def numbering(numbers: NDArray[Any], names: tuple[str, ...], where: str) -> Numbering:
    """The classes behind the training labels `numbers`, any integers `(n,)`; without `names` each is called by its number.

    Raises:
        SourceError: there is only one class, one is called as none can be, or a number is too large to be a label.
    """
    first = 1 if numbers.min() == 1 else 0
    if not names:
        for row in np.flatnonzero((numbers < 0) | (numbers > _MOST))[:1]:
            raise SourceError(f"{where}: label {numbers[row]} in row {row}; labels are 0 … {_MOST:,}")
        names = tuple(str(number) for number in range(first, int(numbers.max()) + 1))
    return Numbering(usable(names, where), first)


def usable(names: tuple[str, ...], where: str) -> tuple[str, ...]:
    """`names`.

    Raises:
        SourceError: there is but one, or one that is a column of the evaluation's tables already.
    """
    if len(names) < 2:
        raise SourceError(f"{where} holds one class only, {names[0]!r}: a classifier needs two or more")
    for name in sorted(TAKEN_NAMES & {*names}):
        raise SourceError(f"{where} has a class {name!r}, which is a column of the evaluation's tables already: rename it")
    return names
