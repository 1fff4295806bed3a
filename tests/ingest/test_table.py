"""Tables of files and labels, and of images themselves."""

import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
from PIL import Image
from pyarrow import parquet

from pipeline import dataset
from pipeline.errors import SourceError
from pipeline.ingest import stage
from pipeline.workspace import Workspace
from tests.ingest.test_own_data import IMAGES, LABELS, files, source, wanted, workspace

__all__ = ["source", "workspace"]  # fixtures
NAMES = ("ant", "bee", "cat")
ROWS = [[f"images/{number:02}.png", NAMES[label]] for number, label in enumerate(LABELS)]


def put_images(source: Path) -> None:
    (source / "images").mkdir(parents=True)
    for number, image in enumerate(IMAGES):
        Image.fromarray(image).save(source / f"images/{number:02}.png")


def put_table(
    source: Path, rows: Sequence[Sequence[object]], header: str = "file,label", name: str = "labels.csv", separator: str = ","
) -> None:
    lines = [header.replace(",", separator), *(separator.join(map(str, row)) for row in rows)]
    (source / name).write_text("\n".join(lines) + "\n", encoding="utf-8")


def ingest(workspace: Workspace, **changed: object) -> dataset.Dataset:
    stage.run(wanted("csv", **changed), workspace)
    return dataset.read(workspace.dataset)


def check_rows(data: dataset.Dataset, workspace: Workspace) -> None:
    """Check that every image has its own label and file name."""
    for name, split in data.splits().items():
        for image, label, file in zip(split.images[..., 0], split.labels, files(workspace)[name], strict=True):
            number = int(Path(file).stem)
            assert np.array_equal(image, IMAGES[number])
            assert label == LABELS[number]


@pytest.mark.parametrize(
    ("header", "name", "separator"),
    [("file,label", "a.csv", ","), ("Image_Path, Class", "a.tsv", "\t"), ("\ufefffilename,category", "a.CSV", ";")],
)
def test_a_table_lists_files_and_labels(workspace: Workspace, source: Path, header: str, name: str, separator: str) -> None:
    put_images(source)
    put_table(source, ROWS, header, name, separator)
    data = ingest(workspace)
    assert data.description.class_names == NAMES
    assert sum(data.description.counts.values()) == 60
    check_rows(data, workspace)
    assert ingest(workspace, source=f"data/source/{name}").description.digest == data.description.digest


def test_numbers_are_classes_in_their_order(workspace: Workspace, source: Path) -> None:
    put_images(source)
    put_table(source, [[file, (2, 10, 1)[NAMES.index(label)]] for file, label in ROWS])
    assert ingest(workspace).description.class_names == ("1", "2", "10")


def test_given_splits_are_used(workspace: Workspace, source: Path) -> None:
    put_images(source)
    splits = ["train"] * 40 + ["Valid"] * 8 + ["testing"] * 12
    put_table(source, [[*row, split] for row, split in zip(ROWS, splits, strict=True)], "file,label,split")
    data = ingest(workspace)
    assert data.description.counts == {"train": 40, "validation": 8, "test": 12}
    check_rows(data, workspace)
    assert files(workspace)["validation"] == tuple(file for file, _ in ROWS[40:48])


def test_a_group_is_never_in_two_splits(workspace: Workspace, source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put_images(source)
    for seed in range(8):
        put_table(source, [[*row, f"person {number // 6}", 30] for number, row in enumerate(ROWS)], "file,label,group,age")
        ingest(workspace, seed=seed)
        groups = [{int(Path(file).stem) // 6 for file in names} for names in files(workspace).values()]
        assert sum(map(len, groups)) == len(set.union(*groups)) == 10
    assert "labels.csv: columns that are not used: age" in capsys.readouterr().err


def encoded(number: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(IMAGES[number]).save(stream, "PNG")
    return stream.getvalue()


def put_parquet(path: Path, rows: Sequence[int], *, structs: bool = True, features: str | None = None) -> None:
    """Write images and numeric labels as Hugging Face does."""
    cells = [{"bytes": encoded(row), "path": f"{row:02}.png"} if structs else encoded(row) for row in rows]
    table = pyarrow.table({"image": cells, "label": [int(LABELS[row]) for row in rows]})
    described = {"info": {"features": {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": NAMES}}}}
    metadata = features or json.dumps(described)
    parquet.write_table(table.replace_schema_metadata({"huggingface": metadata}), path)


@pytest.mark.parametrize("structs", [True, False])
def test_parquet_with_images_takes_class_names_from_its_metadata(workspace: Workspace, source: Path, structs: bool) -> None:
    put_parquet(source / "pets.parquet", range(60), structs=structs)
    data = ingest(workspace)
    assert data.description.class_names == NAMES
    for split in data.splits().values():
        assert np.array_equal(split.images[..., 0], IMAGES[split.source_index])
        assert np.array_equal(split.labels, LABELS[split.source_index])
    assert files(workspace)["train"][0].startswith("pets.parquet/")


def test_shards_named_by_split_are_read_together(workspace: Workspace, source: Path) -> None:
    (source / "data").mkdir()
    put_parquet(source / "data/train-00000-of-00002.parquet", range(30))
    put_parquet(source / "data/train-00001-of-00002.parquet", range(30, 48))
    put_parquet(source / "data/test-00000-of-00001.parquet", range(48, 60))
    data = ingest(workspace)
    assert data.description.counts["test"] == 12
    assert np.array_equal(data.test.images[..., 0], IMAGES[48:])
    for split in (data.train, data.validation):
        assert np.array_equal(split.images[..., 0], IMAGES[split.source_index])


def test_parquet_may_list_files(workspace: Workspace, source: Path) -> None:
    put_images(source)
    table = {"file": [file for file, _ in ROWS], "label": [label for _, label in ROWS]}
    parquet.write_table(pyarrow.table(table), source / "labels.parquet")
    check_rows(ingest(workspace), workspace)


@pytest.mark.parametrize("names", [("train.csv", "Test.csv"), ("train/metadata.csv", "test/metadata.csv")])
def test_tables_named_by_split_are_read_together(workspace: Workspace, source: Path, names: tuple[str, str]) -> None:
    for name, rows in zip(names, (range(48), range(48, 60)), strict=True):
        folder = (source / name).parent
        (folder / "images").mkdir(parents=True, exist_ok=True)
        for row in rows:
            Image.fromarray(IMAGES[row]).save(folder / f"images/{row:02}.png")
        put_table(folder, [ROWS[row] for row in rows], name=Path(name).name)
    data = ingest(workspace)
    assert data.description.counts["test"] == 12
    check_rows(data, workspace)
    assert files(workspace)["test"][0] == str(Path(names[1]).parent / "images/48.png")


def test_files_are_found_by_their_names_where_only_one_fits(
    workspace: Workspace, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put_images(source)
    put_table(source, [[Path(file).stem, label] for file, label in ROWS], "id,category")
    check_rows(ingest(workspace), workspace)
    assert "labels.csv: 60 of 60 files are found by their names in" in capsys.readouterr().err
    (source / "more").mkdir()
    Image.fromarray(IMAGES[0]).save(source / "more/05.png")
    with pytest.raises(SourceError, match=r"names 1 of 60 files that .*: 05 in line 7 .*images/05.png, more/05.png"):
        ingest(workspace)


def put_pixels(source: Path, name: str, rows: Sequence[int], header: Sequence[str]) -> None:
    lines = [",".join(header), *(",".join(map(str, (LABELS[row] * 2, *IMAGES[row].ravel(), row))) for row in rows)]
    (source / name).write_text("\n".join(lines) + "\n")


PIXELS = ("label", *(f"pixel{number}" for number in range(64)), "row")


def test_a_table_of_pixels_is_read_with_the_labels_that_there_are(workspace: Workspace, source: Path) -> None:
    put_pixels(source, "train.csv", range(48), PIXELS)
    put_pixels(source, "test.csv", range(48, 60), PIXELS)
    data = ingest(workspace)
    assert data.description.class_names == ("0", "2", "4")
    assert np.array_equal(data.test.images[..., 0], IMAGES[48:])
    for split in (data.train, data.validation):
        assert np.array_equal(split.images[..., 0], IMAGES[split.source_index])
        assert np.array_equal(split.labels, LABELS[split.source_index])


def test_pixels_named_by_row_and_column_are_put_there(workspace: Workspace, source: Path) -> None:
    names = np.array([f"{row}x{column}" for row in range(1, 9) for column in range(1, 9)])
    put_pixels(source, "a.csv", range(60), ("Class", *names, "row"))
    expected = ingest(workspace).train.images
    lines = [line.split(",") for line in (source / "a.csv").read_text().splitlines()]
    order = [0, *(1 + np.random.default_rng(0).permutation(64)), 65]
    (source / "a.csv").write_text("\n".join(";".join(line[at] for at in order) for line in lines))
    assert np.array_equal(ingest(workspace).train.images, expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("label,", "digit,"), "has no column `file`, but digit, pixel0, .*or label and one column"),
        (lambda text: text.partition("\n")[2], "its first line has numbers: put one with names above it"),
        (lambda text: text.replace("\n2,", "\n2,x", 1), r"a.csv: .*conversion error to float.*: each row needs a label and 64"),
        (lambda text: text.replace("\n2,", "\n2,,", 1), r"a.csv: .*: each row needs a label and 64 numbers"),
        (lambda text: text.replace("\n2,", "\n2,-", 1), r"a.csv: pixel0 … holds float32 from -.*: images must be 0-255"),
        (lambda text: text.replace("pixel63", "total"), r"a.csv: pixel0 … has the shape \(60, 63\): it must be"),
    ],
)
def test_a_bad_table_of_pixels_is_named(workspace: Workspace, source: Path, change: Callable[[str], str], message: str) -> None:
    put_pixels(source, "a.csv", range(60), PIXELS)
    (source / "a.csv").write_text(change((source / "a.csv").read_text()))
    with pytest.raises(SourceError, match=message):
        ingest(workspace)
    assert not workspace.dataset.exists()


def changed(number: int, *cells: object) -> list[Sequence[object]]:
    """Return ROWS with another row at `number`."""
    return [*ROWS[:number], cells, *ROWS[number + 1 :]]


SPLIT_ROWS = [[*row, "train" if number < 48 else "test", number // 6] for number, row in enumerate(ROWS)]
BAD: Mapping[str, tuple[Sequence[Sequence[Any]], str, str]] = {
    "missing file": (
        changed(3, "images/99.png", "ant"),
        "file,label",
        r"names 1 of 60 files that do not exist: images/99.png in",
    ),
    "all missing": (
        [[f"x{file.removesuffix('.png')}x", label] for file, label in ROWS],
        "file,label",
        "60 of 60 files that do not exist: .* and 40 more",
    ),
    "repeated row": ([*ROWS, ROWS[3]], "file,label", "line 62: images/03.png is already in line 5: remove one of the rows"),
    "unknown split": ([[*row, "holdout"] for row in ROWS], "file,label,split", "line 2: split 'holdout' is unknown: use train"),
    "no train": ([[*row, "test"] for row in ROWS], "file,label,split", "has no rows of the train split"),
    "no label column": (ROWS, "file,kind", "labels.csv has no column `label`, but file, kind: name the columns"),
    "no label": (changed(3, "images/03.png", " "), "file,label", "line 5: `label` is empty: fill it in, or remove the row"),
    "too few cells": (changed(3, "images/03.png"), "file,label", "line 5: 1 cells, but 2 columns: correct the line"),
    "outside": (
        changed(3, "../../x.png", "ant"),
        "file,label",
        "line 5: file '../../x.png' leaves .*source: name files relative",
    ),
    "absolute": (changed(3, "/etc/hostname", "ant"), "file,label", "line 5: file '/etc/hostname' leaves"),
    "divided group": (
        [*SPLIT_ROWS[:-1], [*ROWS[-1], "test", 0]],
        "file,label,split,group",
        "line 61: group '0' is in train and test: give all rows of a group one split",
    ),
    "no rows": ([], "file,label", "labels.csv has no rows: add one per image"),
    "one class": ([[file, "ant"] for file, _ in ROWS], "file,label", "holds only one class, 'ant'"),
    "open quote": (changed(3, '"images/03.png', "ant"), "file,label", "labels.csv, line 61: unexpected end of data"),
}


@pytest.mark.parametrize(("rows", "header", "message"), BAD.values(), ids=BAD)
def test_a_bad_row_is_named_by_its_line(
    workspace: Workspace, source: Path, rows: Sequence[Sequence[object]], header: str, message: str
) -> None:
    put_images(source)
    put_table(source, rows, header)
    with pytest.raises(SourceError, match=message):
        ingest(workspace)
    assert not workspace.dataset.exists()


def test_a_folder_linked_to_elsewhere_is_refused(workspace: Workspace, source: Path, tmp_path: Path) -> None:
    put_images(tmp_path / "elsewhere")
    (source / "images").symlink_to(tmp_path / "elsewhere/images")
    put_table(source, ROWS)
    with pytest.raises(SourceError, match=r"images/00.png is a link that leaves .*source: copy what it points to"):
        ingest(workspace)


def test_an_unknown_label_is_named(workspace: Workspace, source: Path) -> None:
    put_images(source)
    put_table(source, changed(3, "images/03.png", "emu"))
    with pytest.raises(SourceError, match=r"has labels that class_names or classes.txt do not name: emu"):
        ingest(workspace, class_names=[*NAMES])


def test_no_table_or_a_damaged_one_is_named(workspace: Workspace, source: Path) -> None:
    with pytest.raises(
        SourceError, match=r"source must hold one table \(.csv, .tsv or .parquet\), or one for each split, .*, but holds none"
    ):
        ingest(workspace)
    (source / "a.csv").write_bytes(b"file,label\n\xff,ant\n")
    with pytest.raises(SourceError, match=r"a.csv is not UTF-8 at byte 11: save it as UTF-8 text"):
        ingest(workspace)
    (source / "b.parquet").write_bytes(b"PAR1")
    with pytest.raises(SourceError, match=r"but holds a.csv, b.parquet: leave those, or name one in ingest.source"):
        ingest(workspace)
    with pytest.raises(SourceError, match=r"b.parquet is not an intact Parquet file"):
        ingest(workspace, source="data/source/b.parquet")
    put_parquet(source / "b.parquet", range(60))
    content = (source / "b.parquet").read_bytes()
    (source / "b.parquet").write_bytes(content[:4] + bytes(60) + content[64:])
    with pytest.raises(SourceError, match=r"b.parquet is not an intact Parquet file"):
        ingest(workspace, source="data/source/b.parquet")
    put_parquet(source / "c.parquet", range(60), features="[1]")
    with pytest.raises(SourceError, match=r"c.parquet: its Hugging Face metadata cannot be read"):
        ingest(workspace, source="data/source/c.parquet")
    (source / "d.txt").touch()
    with pytest.raises(SourceError, match=r"d.txt is no table: it must be a .csv, .tsv or .parquet file"):
        ingest(workspace, source="data/source/d.txt")
