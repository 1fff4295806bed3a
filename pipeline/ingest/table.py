"""A reader of tables: .csv, .tsv or .parquet files with a row per image, in one table or in one per split.

Columns, in any case: `file` (or filename, path, image, id …), `label` (or class, category), and if wanted `split` (train,
validation, test) and `group` (a person, a series: one group is never in two splits). Files are named relative to their table;
one that is not there is looked for by its name, with or without its suffix, in all folders beside the table.

Tables of several splits are named by them, such as train.csv or train-00000-of-00002.parquet, or lie in folders that are.
Instead of files, Parquet may hold the images, as Hugging Face's data sets do (a column of encoded bytes, or of structs of bytes
and path, and class names in the metadata), and text may hold the pixels, a column each, as Kaggle's MNIST does: see `arrays`.
"""

import csv
import io
import json
import math
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from pipeline.dataset import SPLITS, SplitName
from pipeline.errors import SourceError
from pipeline.ingest import arrays
from pipeline.ingest.folder import check_names, digests, shallowest, walk
from pipeline.ingest.images import Files
from pipeline.ingest.preprocessing import SUFFIXES
from pipeline.ingest.source import (
    TABLES,
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

_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "file": (
        *("file", "filename", "file_name", "filepath", "file_path", "path", "image", "image_path", "image_name", "img"),
        *("images", "image_id", "id"),
    ),
    "label": ("label", "labels", "class", "class_name", "category", "target", "fine_label"),
    "split": ("split",),
    "group": ("group",),
}
_MAX_CELL = 10_000  # characters

_Table = tuple[Path, SplitName | None]
_Rows = Iterator[tuple[str, Sequence[Any]]]  # where a row is ("line 3"), and its cells


@dataclass(frozen=True)
class _Row:
    table: Path
    where: str  # in the table
    file: Path
    name: str
    label: str
    split: SplitName | None
    group: str | None

    def __str__(self) -> str:
        return f"{self.table}, {self.where}"


def read(source: Path, params: IngestParams, scratch: Path) -> Source:
    """Return the images that the tables in `source` list, or that they hold.

    Raises:
        SourceError: there is no table, or it is unclear which, or it cannot be read, or a row is invalid.
        OSError: something cannot be read, or `scratch` cannot be written.
    """
    tables, given = _find(source), given_class_names(params, source)
    root, where = source if source.is_dir() else source.parent, " and ".join(str(table) for table, _ in tables[:2])
    if columns := arrays.pixel_columns(tables[0][0], _COLUMNS["label"]):
        return arrays.read_pixels(tables, columns, given, scratch)
    rows = _located([row for table in tables for row in _rows(table, root, scratch)], root, where)
    _check(rows, root, where)
    names = label_texts((row.label for row in rows), given, where)
    parts = {split: [row for row in rows if (row.split or "train") == split] for split in SPLITS}
    if not parts["train"]:
        raise SourceError(f"{where} has no rows of the train split: set `split` to train for some, or leave the column out")
    files = {split: _files(chosen, names) for split, chosen in parts.items() if chosen}
    described = tuple(describe_file(table) for table, _ in tables)
    return Source(names, files["train"], files.get("test"), described, validation=files.get("validation"))


def is_list(folder: Path) -> bool:
    """Return whether a table in `folder` lists files and labels: then it is meant, not the folders that the files are in."""
    tables = [path for path in shallowest(folder, TABLES) if path.suffix.lower() != ".parquet"]
    headers = [{name.strip().casefold() for name in _read_text(table)[0]} for table in tables]
    return any(all(header & {*_COLUMNS[role]} for role in ("file", "label")) for header in headers)


def _find(source: Path) -> Sequence[_Table]:
    """Return the tables, with the split that the name of each one stands for where there are several."""
    if source.is_file():
        if source.suffix.lower() not in TABLES:
            raise SourceError(f"ingest.source: {source} is no table: it must be a {', '.join(TABLES[:-1])} or .parquet file")
        if source.suffix.lower() != ".parquet":
            what = "DVC follows the table only: set ingest.source to its folder, so that it follows the images too"
            print(f"{source}: {what}", file=sys.stderr)
        return [(source, None)]
    check_names(source)
    found = shallowest(source, TABLES)
    if len(found) == 1:
        return [(found[0], None)]
    splits = [split_of(path.name.partition(".")[0]) or split_of(path.parent.name) for path in found]
    if found and all(splits):
        return list(zip(found, splits, strict=True))
    names = listed([str(path.relative_to(source)) for path in found]) or "none"
    raise SourceError(
        f"{source} must hold one table (.csv, .tsv or .parquet), or one for each split, such as train.csv and test.csv, but "
        f"holds {names}: leave those, or name one in ingest.source"
    )


def _rows(of: _Table, root: Path, scratch: Path) -> Iterator[_Row]:
    """Yield the rows of one table, whose files may still be missing."""
    table, split = of
    header, records = _read_parquet(table, scratch) if table.suffix.lower() == ".parquet" else _read_text(table)
    columns = _choose(header, table)
    for where, record in records:
        cells = {role: record[index] for role, index in columns.items()}
        for role, cell in cells.items():
            if cell is None or str(cell).strip() == "":
                raise SourceError(f"{table}, {where}: `{role}` is empty: fill it in, or remove the row")
            if not isinstance(cell, Path) and (not is_plain(str(cell)) or len(str(cell)) > _MAX_CELL):
                raise SourceError(f"{table}, {where}: `{role}` is {str(cell)[:80]!a}, which cannot be printed: correct it")
        given = split_of(str(cells["split"]).strip(), exact=True) if "split" in cells else split
        if "split" in cells and not given:
            raise SourceError(f"{table}, {where}: split {cells['split']!r} is unknown: use train, validation or test")
        group = str(cells["group"]).strip() if "group" in cells else None
        file, name = _file(cells["file"], table, where, root, scratch)
        yield _Row(table, where, file, name, normal(str(cells["label"])), given, group)


def _choose(header: Sequence[str], table: Path) -> Mapping[str, int]:
    """Return the index of the column of each role; "split" and "group" may be absent."""
    lower = [name.strip().casefold() for name in header]
    columns = {}
    for role, names in _COLUMNS.items():
        found = [lower.index(name) for name in names if name in lower]
        if found:
            columns[role] = found[0]
        elif role in ("file", "label"):
            numbers = "its first line has numbers: put one with names above it, " if header[0].isdecimal() else ""
            raise SourceError(
                f"{table} has no column `{role}`, but {listed([*header])}: {numbers}name the columns file, label and, if "
                "wanted, split and group, or label and one column per pixel; or move the table away"
            )
    others = [name for index, name in enumerate(header) if index not in columns.values()]
    if others:
        print(f"{table}: columns that are not used: {listed(others)}", file=sys.stderr)
    return columns


def _file(cell: Any, table: Path, where: str, root: Path, scratch: Path) -> tuple[Path, str]:
    """Return the path behind the cell of a file, and its name to be printed."""
    if isinstance(cell, Path):  # unpacked from the table
        return cell, str(cell.relative_to(scratch))
    path = PurePosixPath(str(cell).strip().replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or str(cell)[1:2] == ":":
        raise SourceError(f"{table}, {where}: file {str(cell)!r} leaves {table.parent}: name files relative to the table")
    return table.parent / path, str((table.parent / path).relative_to(root))


def _read_text(table: Path) -> tuple[Sequence[str], _Rows]:
    """Return the header, and the rows with their line numbers, of text separated by commas, semicolons or tabs."""
    try:
        text = table.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SourceError(f"{table} is not UTF-8 at byte {error.start}: save it as UTF-8 text") from None
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=arrays.delimiter(text.partition("\n")[0]), strict=True)
    header = next(reader, [""])

    def records() -> _Rows:
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


def _read_parquet(table: Path, scratch: Path) -> tuple[Sequence[str], _Rows]:
    """Return the column names, and the rows, in which images are paths of files that are unpacked as they are read."""
    import pyarrow
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(table)
    except (pyarrow.ArrowException, OSError) as error:
        raise SourceError(f"{table} is not an intact Parquet file ({_first_line(error)}). Get the file again") from None
    schema = file.schema_arrow
    classes = _class_names(schema.metadata or {}, table)

    def records() -> _Rows:
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


def _located(rows: Sequence[_Row], root: Path, where: str) -> Sequence[_Row]:
    """Return `rows` with the files that are not where the table says found by their names, where only one fits."""
    missing = {index for index, row in enumerate(rows) if not row.file.is_file()}
    places: dict[str, list[Path]] = defaultdict(list)
    for path in walk(root) if missing else ():
        if path.suffix.lower() in SUFFIXES:
            places[path.name].append(path)
            places[path.stem].append(path)
    fitting = {index: places[rows[index].file.name] for index in missing}
    unclear = [_unclear(rows[index], fitting[index], root) for index in sorted(missing) if len(fitting[index]) != 1]
    if unclear:
        raise SourceError(
            f"{where} names {len(unclear):,} of {len(rows):,} files that do not exist: {listed(unclear)}. Add them, or correct "
            "the rows"
        )
    if missing:
        print(f"{where}: {len(missing):,} of {len(rows):,} files are found by their names in {root}", file=sys.stderr)
    found = {index: path for index, [path] in fitting.items()}
    return [
        replace(row, file=found[index], name=str(found[index].relative_to(root))) if index in found else row
        for index, row in enumerate(rows)
    ]


def _unclear(row: _Row, places: Sequence[Path], root: Path) -> str:
    which = f" (which of {listed([str(path.relative_to(root)) for path in places])}?)" if places else ""
    return f"{row.name} in {row.where}{which}"


def _check(rows: Sequence[_Row], root: Path, where: str) -> None:
    """Raise SourceError if there are no rows, or a file is in two of them or a link out, or a group is in two given splits."""
    if not rows:
        raise SourceError(f"{where} has no rows: add one per image")
    first: dict[Path, _Row] = {}
    splits: dict[str, set[SplitName]] = defaultdict(set)
    for row in rows:
        other = first.setdefault(row.file, row)
        if other is not row:
            raise SourceError(f"{row}: {row.name} is already in {other.where}: remove one of the rows")
        if row.file.is_relative_to(root) and not row.file.resolve().is_relative_to(root.resolve()):
            raise SourceError(f"{row.file} is a link that leaves {root}: copy what it points to")
        if row.group is not None and row.split is not None:
            splits[row.group].add(row.split)
            if len(splits[row.group]) > 1:
                both = " and ".join(name for name in SPLITS if name in splits[row.group])
                raise SourceError(f"{row}: group {row.group!r} is in {both}: give all rows of a group one split")


def _files(rows: Sequence[_Row], names: tuple[str, ...]) -> Files:
    """Return the files of `rows`, in their order, as labelled images."""
    numbers = {name: number for number, name in enumerate(names)}
    labels = np.array([numbers[row.label] for row in rows], np.int32)
    paths = [row.file for row in rows]
    groups = [row.group for row in rows if row.group is not None]
    return Files(paths, [row.name for row in rows], labels, digests(paths), groups or None)
