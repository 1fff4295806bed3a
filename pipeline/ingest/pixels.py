"""Tables of pixels: a label and one column per pixel, as Kaggle's MNIST, Fashion-MNIST and sign language come."""

import re
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from pipeline.dataset import SPLITS, SplitName
from pipeline.errors import SourceError
from pipeline.ingest import arrays
from pipeline.ingest.source import FullError, Source, describe_file

_LEAST = 50  # columns of pixels
_BLOCK = 16 * 1024 * 1024  # bytes of text read at once


@dataclass(frozen=True)
class Columns:
    """The columns of a table of pixels by their names."""

    label: str
    pixels: Sequence[str]  # row by row


def columns(table: Path, labels: Sequence[str]) -> Columns | None:
    """Return the columns of a table of pixels whose label has one of the names `labels`; None if it is another table."""
    if table.suffix.lower() == ".parquet":
        return None
    with table.open(encoding="utf-8-sig", errors="replace") as file:
        line = file.readline().rstrip("\r\n")
    header = [name.strip('"') for name in line.split(delimiter(line))]
    alike: dict[str, list[str]] = defaultdict(list)  # names that differ in their numbers only
    for name in header:
        alike[re.sub("[0-9]+", "0", name)].append(name)
    pixels = max(alike.values(), key=len)
    found = [name for name in header if name.strip().casefold() in labels]
    if len(pixels) < _LEAST or not found:
        return None
    return Columns(found[0], sorted(pixels, key=lambda name: [int(number) for number in re.findall("[0-9]+", name)]))


def delimiter(header: str) -> str:
    """Return what separates the names in the first line of a table."""
    return max(",;\t|", key=header.count)


def read(tables: Sequence[tuple[Path, SplitName | None]], columns: Columns, names: tuple[str, ...], scratch: Path) -> Source:
    """Return the images in `tables`, one or more of each split; `names` are those of the classes, or empty.

    Raises:
        SourceError: a table has other columns or cells that are no numbers, or its images are not squares.
        FullError: `scratch` cannot be written.
    """
    parts: dict[SplitName, arrays.Part] = {}
    for split in SPLITS:
        chosen = [table for table, given in tables if (given or "train") == split]
        if chosen:
            with tempfile.TemporaryFile(dir=scratch) as file:
                labels = np.array([label for table in chosen for label in _copy(table, columns, file)])
                shape = (len(labels), len(columns.pixels))
                pixels = np.memmap(file, np.float32, "r", 0, shape)
            where = " and ".join(map(str, chosen))
            parts[split] = arrays.Part(pixels, labels, f"{where}: {columns.pixels[0]} …", f"{where}: {columns.label}")
    return arrays.to_source(parts, names, tuple(describe_file(table) for table, _ in tables), scratch)


def _copy(table: Path, columns: Columns, file: IO[bytes]) -> Iterator[str]:
    """Write the pixels of each row into `file`, float32, and yield its label."""
    import pyarrow
    from pyarrow import csv

    with table.open(encoding="utf-8-sig", errors="replace") as text:
        parse = csv.ParseOptions(delimiter=delimiter(text.readline()))
    types = {columns.label: pyarrow.string(), **dict.fromkeys(columns.pixels, pyarrow.float32())}
    convert = csv.ConvertOptions(column_types=types, include_columns=list(types))
    try:
        for batch in csv.open_csv(table, csv.ReadOptions(block_size=_BLOCK), parse, convert):
            label, *pixels = batch.columns
            block = np.stack([column.to_numpy(zero_copy_only=False) for column in pixels], axis=1)
            try:
                file.write(block.tobytes())
            except OSError as error:
                raise FullError(error.errno, error.strerror) from None
            yield from label.to_pylist()
    except (pyarrow.ArrowException, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        raise SourceError(f"{table}: {reason}: each row needs a label and {len(columns.pixels):,} numbers") from None
