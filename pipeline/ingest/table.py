"""A reader of tables: a .csv, .tsv or .parquet file with a row per image.

Columns, in any case: `file` (or filename, path, image …), `label` (or class, category), and if wanted `split` (train,
validation, test) and `group` (a person, a series: one group is never in two splits).
Files are named relative to the table.

Parquet may hold the images themselves, as Hugging Face's data sets do (a column of encoded bytes, or of structs of bytes and
path, and class names in the metadata), in one file or in shards named by split, such as train-00000-of-00002.parquet.
"""

import csv
import io
import json
import math
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from pipeline.dataset import SPLITS, SplitName
from pipeline.errors import SourceError
from pipeline.ingest.folder import check_names, digests, is_ignored
from pipeline.ingest.images import Files
from pipeline.ingest.preprocessing import SUFFIXES
from pipeline.ingest.source import (
    FullError,
    Source,
    describe_file,
    given_class_names,
    is_plain,
    label_texts,
    listed,
    normal,
    split_of,
)
from pipeline.params import IngestParams

_SUFFIXES = (".csv", ".tsv", ".parquet")
_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "file": ("file", "filename", "file_name", "filepath", "file_path", "path", "image", "image_path", "img", "images"),
    "label": ("label", "labels", "class", "category", "fine_label"),
    "split": ("split",),
    "group": ("group",),
}
_MAX_CELL = 10_000  # characters


@dataclass(frozen=True)
class _Row:
    where: str  # to be printed: the table and the line
    file: Path
    name: str
    label: str
    split: SplitName | None
    group: str | None


def read(source: Path, params: IngestParams, scratch: Path) -> Source:
    """Return the images that the table in `source` lists, or that it holds.

    Raises:
        SourceError: there is no table or more than one, or it cannot be read, or a row is invalid.
        OSError: something cannot be read, or `scratch` cannot be written.
    """
    tables = _find(source)
    rows = [row for table, split in tables for row in _rows(table, split, scratch)]
    where = " and ".join(str(table) for table, _ in tables[:2])
    if not rows:
        raise SourceError(f"{where} has no rows: add one per image")
    _refuse_repeated(rows)
    _refuse_missing(rows, where)
    _refuse_divided_groups(rows)
    names = label_texts((row.label for row in rows), given_class_names(params, source), where)
    parts = {split: [row for row in rows if (row.split or "train") == split] for split in SPLITS}
    if not parts["train"]:
        raise SourceError(f"{where} has no rows of the train split: set `split` to train for some, or leave the column out")
    files = {split: _files(chosen, names) for split, chosen in parts.items() if chosen}
    digests = tuple(describe_file(table) for table, _ in tables)
    return Source(names, files["train"], files.get("test"), digests, validation=files.get("validation"))


def _find(source: Path) -> Sequence[tuple[Path, SplitName | None]]:
    """Return the tables, with the split that each one's name stands for where there are several."""
    if source.is_file():
        if source.suffix.lower() not in _SUFFIXES:
            raise SourceError(f"ingest.source: {source} is no table: it must be a {', '.join(_SUFFIXES[:-1])} or .parquet file")
        if source.suffix.lower() != ".parquet":
            what = "DVC follows the table only: set ingest.source to its folder, so that it follows the images too"
            print(f"{source}: {what}", file=sys.stderr)
        return [(source, None)]
    check_names(source)
    folders, found = [source], list[Path]()
    while len(folders) == 1 and not found:
        entries = sorted(path for path in folders[0].iterdir() if not is_ignored(path.name))
        found = [path for path in entries if path.suffix.lower() in _SUFFIXES and path.is_file()]
        folders = [path for path in entries if path.is_dir()]
    if len(found) == 1:
        return [(found[0], None)]
    splits = [split_of(path.name.partition(".")[0]) for path in found]
    if found and all(path.suffix.lower() == ".parquet" for path in found) and all(splits):
        return list(zip(found, splits, strict=True))
    names = listed([path.name for path in found]) or "none"
    raise SourceError(
        f"{source} must hold one table (.csv, .tsv or .parquet), but holds {names}: leave one, or name it in ingest.source"
    )


def _rows(table: Path, split: SplitName | None, scratch: Path) -> Iterator[_Row]:
    """Yield the rows of one table."""
    if table.suffix.lower() == ".parquet":
        header, records = _read_parquet(table, scratch)
    else:
        header, records = _read_text(table)
    columns = _choose(header, table)
    for line, record in records:
        cells = {role: record[index] for role, index in columns.items()}
        yield _row(table, f"{table}, {line}", cells, split)


def _choose(header: Sequence[str], table: Path) -> Mapping[str, int]:
    """Return the index of the column of each role; "split" and "group" may be absent."""
    lower = [name.strip().casefold() for name in header]
    columns = {}
    for role, names in _COLUMNS.items():
        found = [lower.index(name) for name in names if name in lower]
        if found:
            columns[role] = found[0]
        elif role in ("file", "label"):
            raise SourceError(
                f"{table} has no column `{role}`, but {listed([*header])}: name the columns file, label and, if wanted, split "
                "and group"
            )
    others = [name for index, name in enumerate(header) if index not in columns.values()]
    if others:
        print(f"{table}: columns that are not used: {listed(others)}", file=sys.stderr)
    return columns


def _row(table: Path, where: str, cells: Mapping[str, Any], split: SplitName | None) -> _Row:
    """Return a checked row, whose file may still be missing."""
    for role, cell in cells.items():
        if cell is None or str(cell).strip() == "":
            raise SourceError(f"{where}: `{role}` is empty: fill it in, or remove the row")
        if not isinstance(cell, Path) and (not is_plain(str(cell)) or len(str(cell)) > _MAX_CELL):
            raise SourceError(f"{where}: `{role}` is {str(cell)[:80]!a}, which cannot be printed: correct it")
    if "split" in cells:
        split = split_of(str(cells["split"]).strip(), exact=True)
        if not split:
            raise SourceError(f"{where}: split {cells['split']!r} is unknown: use train, validation or test")
    label, group = normal(str(cells["label"])), str(cells["group"]).strip() if "group" in cells else None
    file = cells["file"]
    if isinstance(file, Path):  # unpacked from the table
        return _Row(where, file, str(file.relative_to(file.parents[1])), label, split, group)
    path = PurePosixPath(str(file).strip().replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or str(file)[1:2] == ":":
        raise SourceError(f"{where}: file {str(file)!r} leaves {table.parent}: name files relative to the table")
    return _Row(where, table.parent / path, str(path), label, split, group)


def _read_text(table: Path) -> tuple[Sequence[str], Iterator[tuple[str, Sequence[str]]]]:
    """Return the header, and the rows with their line numbers, of text separated by commas, semicolons or tabs."""
    try:
        text = table.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SourceError(f"{table} is not UTF-8 at byte {error.start}: save it as UTF-8 text") from None
    first = text.partition("\n")[0]
    delimiter = "\t" if table.suffix.lower() == ".tsv" else max(",;\t|", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    header = next(reader, [])

    def records() -> Iterator[tuple[str, Sequence[str]]]:
        try:
            for record in reader:
                if record and len(record) != len(header):
                    raise SourceError(
                        f"{table}, line {reader.line_num}: {len(record)} cells, but {len(header)} columns: correct the line"
                    )
                if any(cell.strip() for cell in record):
                    yield f"line {reader.line_num}", record
        except csv.Error as error:
            raise SourceError(f"{table}, line {reader.line_num}: {error}: correct the line") from None

    return header, records()


def _read_parquet(table: Path, scratch: Path) -> tuple[Sequence[str], Iterator[tuple[str, Sequence[Any]]]]:
    """Return the column names, and the rows, in which images are paths of files that are unpacked as they are read."""
    import pyarrow
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(table)
    except (pyarrow.ArrowException, OSError) as error:
        raise SourceError(f"{table} is not an intact Parquet file ({_first_line(error)}). Get the file again") from None
    schema = file.schema_arrow
    classes = _class_names(schema.metadata or {}, table)

    def records() -> Iterator[tuple[str, Sequence[Any]]]:
        number = 0
        try:
            for batch in file.iter_batches(batch_size=64):
                for record in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                    cells = [_cell(cell, classes.get(name)) for name, cell in zip(schema.names, record, strict=True)]
                    yield f"row {number}", [_unpacked(cell, number, scratch / table.name) for cell in cells]
                    number += 1
        except FullError:
            raise
        except (pyarrow.ArrowException, OSError) as error:
            raise SourceError(f"{table} is not an intact Parquet file ({_first_line(error)}). Get the file again") from None

    return schema.names, records()


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def _class_names(metadata: Mapping[bytes, bytes], table: Path) -> Mapping[str, Sequence[str]]:
    """Return the names of the classes by column, as Hugging Face writes them."""
    try:
        features = json.loads(metadata.get(b"huggingface", b"{}")).get("info", {}).get("features", {})
        return {name: feature["names"] for name, feature in features.items() if feature.get("_type") == "ClassLabel"}
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise SourceError(f"{table}: its Hugging Face metadata cannot be read ({error}): save the table again") from None


def _cell(cell: Any, classes: Sequence[str] | None) -> Any:
    """Return the class name behind a number, a whole float as an integer, and NaN as nothing."""
    if isinstance(cell, float) and math.isnan(cell):
        return None
    if isinstance(cell, int) and classes is not None:
        return classes[cell] if 0 <= cell < len(classes) else None
    return int(cell) if isinstance(cell, float) and cell.is_integer() else cell


def _unpacked(cell: Any, number: int, folder: Path) -> Any:
    """Return the path of the file that the bytes of an image are written to; other cells as they are."""
    name = cell.get("path") if isinstance(cell, dict) else None
    content = cell.get("bytes") if isinstance(cell, dict) else cell
    if not isinstance(content, bytes):
        return name if isinstance(cell, dict) else cell
    suffix = PurePosixPath(name or "").suffix.lower()
    path = folder / f"{number}{suffix if suffix in SUFFIXES else ''}"
    try:
        folder.mkdir(exist_ok=True)
        path.write_bytes(content)
    except OSError as error:
        raise FullError(error.errno, error.strerror) from None
    return path


def _refuse_repeated(rows: Sequence[_Row]) -> None:
    first: dict[Path, _Row] = {}
    for row in rows:
        other = first.setdefault(row.file, row)
        if other is not row:
            raise SourceError(
                f"{row.where}: {row.name} is already in {other.where.rpartition(', ')[2]}: remove one of the rows"
            )


def _refuse_missing(rows: Sequence[_Row], where: str) -> None:
    missing = [row for row in rows if not row.file.is_file()]
    if missing:
        names = listed([f"{row.name} in {row.where.rpartition(', ')[2]}" for row in missing])
        raise SourceError(
            f"{where} names {len(missing):,} of {len(rows):,} files that do not exist: {names}. Add them, or remove the rows"
        )
    for row in rows:
        root = row.file.parents[len(PurePosixPath(row.name).parts) - 1]
        if not row.file.resolve().is_relative_to(root.resolve()):
            raise SourceError(f"{row.file} is a link that leaves {root}: copy what it points to")


def _refuse_divided_groups(rows: Iterable[_Row]) -> None:
    """Raise SourceError for a group in two given splits."""
    splits: dict[str, set[SplitName]] = defaultdict(set)
    for row in rows:
        if row.group is not None and row.split is not None:
            splits[row.group].add(row.split)
            if len(splits[row.group]) > 1:
                both = " and ".join(name for name in SPLITS if name in splits[row.group])
                raise SourceError(f"{row.where}: group {row.group!r} is in {both}: give all rows of a group one split")


def _files(rows: Sequence[_Row], names: tuple[str, ...]) -> Files:
    """Return the files of `rows`, in their order, as labelled images."""
    numbers = {name: number for number, name in enumerate(names)}
    labels = np.array([numbers[row.label] for row in rows], np.int32)
    paths = [row.file for row in rows]
    groups = [row.group for row in rows if row.group is not None]
    return Files(paths, [row.name for row in rows], labels, digests(paths), groups or None)
