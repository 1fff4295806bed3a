import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from pipeline import dataset
from pipeline.dataset import SourceFile, Split
from pipeline.errors import DatasetError
from tests import data_sets
from tests.data_sets import flip


def splits(value: int = 7) -> dict[dataset.SplitName, Split]:
    def split(count: int) -> Split:
        images = np.full((count, 2, 3, 1), value, np.uint8)
        return Split(images, np.zeros(count, np.int32), np.arange(count, dtype=np.int32))

    return {"train": split(4), "validation": split(2), "test": split(1)}


def write(folder: Path, value: int = 7, names: tuple[str, ...] = ("a", "b")) -> dataset.Description:
    folder.mkdir()
    return data_sets.write(folder, "toys", names, splits(value), (SourceFile("toys.gz", 3, "00"),))


def test_what_is_written_is_read(tmp_path: Path) -> None:
    written = write(tmp_path / "d")
    data = dataset.read(tmp_path / "d")
    assert data.description == written
    assert data.description.image_shape == (2, 3, 1)
    assert [len(split) for split in data.splits().values()] == [4, 2, 1]
    assert data.train.images.tolist() == splits()["train"].images.tolist()


def test_arrays_are_memory_mapped_and_read_only(tmp_path: Path) -> None:
    write(tmp_path / "d")
    images = dataset.read(tmp_path / "d").train.images
    assert isinstance(images, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        images[0] = 0


def test_equal_data_is_equal_bytes(tmp_path: Path) -> None:
    write(tmp_path / "one")
    write(tmp_path / "two")
    assert (tmp_path / "one/dataset.json").read_bytes() == (tmp_path / "two/dataset.json").read_bytes()


def test_one_pixel_or_one_name_changes_the_digest(tmp_path: Path) -> None:
    digests = {
        write(tmp_path / "one").digest,
        write(tmp_path / "two", value=8).digest,
        write(tmp_path / "three", names=("a", "c")).digest,
    }
    assert len(digests) == 3


def test_the_test_digest_depends_on_nothing_but_the_test_split(tmp_path: Path) -> None:
    write(tmp_path / "one")
    write(tmp_path / "renamed", names=("a", "c"))
    write(tmp_path / "other", value=8)
    relabelled = {**splits(), "test": Split(splits()["test"].images, np.ones(1, np.int32), splits()["test"].source_index)}
    retrained = {**splits(8), "test": splits()["test"]}
    for name, arrays in {"relabelled": relabelled, "retrained": retrained}.items():
        (tmp_path / name).mkdir()
        data_sets.write(tmp_path / name, "toys", ("a", "b"), arrays, ())
    digests = {path.name: dataset.test_digest(dataset.read(path)) for path in tmp_path.iterdir()}
    assert digests["one"] == digests["renamed"] == digests["retrained"]
    assert len({digests["one"], digests["other"], digests["relabelled"]}) == 3


def truncate(folder: Path) -> None:
    path = folder / "train/images.npy"
    path.write_bytes(path.read_bytes()[:-1])


def other_type(folder: Path) -> None:
    np.save(folder / "test/labels.npy", np.zeros(1, np.int64))


def other_count(folder: Path) -> None:
    np.save(folder / "test/labels.npy", np.zeros(2, np.int32))


def pickled(folder: Path) -> None:
    np.save(folder / "test/labels.npy", np.array([{}], object), allow_pickle=True)


def no_description(folder: Path) -> None:
    (folder / "dataset.json").unlink()


def half_description(folder: Path) -> None:
    (folder / "dataset.json").write_text(json.dumps({"name": "toys"}))


@pytest.mark.parametrize(
    ("damage", "file"),
    [
        (truncate, "train/images.npy"),
        (other_type, "test/labels.npy"),
        (other_count, "test/labels.npy"),
        (pickled, "test/labels.npy"),
        (no_description, "dataset.json"),
        (half_description, "dataset.json"),
    ],
)
def test_a_damaged_data_set_is_one_line_that_names_the_file(tmp_path: Path, damage: object, file: str) -> None:
    (tmp_path / "dvc.yaml").touch()
    write(tmp_path / "d")
    assert callable(damage)
    damage(tmp_path / "d")
    with pytest.raises(DatasetError, match=rf"{file}.*dvc repro -s -f ingest") as error:
        dataset.read(tmp_path / "d")
    assert "\n" not in str(error.value)


DAMAGED = ("train/images.npy", "validation/labels.npy", "test/source_index.npy", "train/files.txt", "dataset.json")


@pytest.mark.parametrize("damaged", [DAMAGED[:1], DAMAGED[1:2], DAMAGED[2:3], DAMAGED[3:4], DAMAGED[4:], DAMAGED[:3]])
def test_files_that_changed_at_rest_are_named(tmp_path: Path, damaged: Sequence[str]) -> None:
    folder = tmp_path / "data/dataset"
    folder.mkdir(parents=True)
    (tmp_path / "dvc.yaml").touch()
    files = {name: [f"{name}-{row}.png" for row in range(len(split))] for name, split in splits().items()}
    written = data_sets.write(folder, "toys", ("cats", "dogs"), splits(), (), files)
    assert dataset.read_checked(folder).description == written
    for name in damaged:
        flip(folder / name, (folder / name).read_bytes().find(b"cats") if name == "dataset.json" else -1)
    named = ", ".join(f"data/dataset/{name}" for name in damaged)
    with pytest.raises(DatasetError, match=f"^{named} changed on disk since ingest wrote it: run `dvc repro -s -f ingest`$"):
        dataset.read_checked(folder)


def test_a_data_set_written_before_files_were_listed_is_checked_as_a_whole(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    written = write(folder)
    (folder / "dataset.json").write_text(json.dumps({**asdict(written), "files": {}}))
    assert dataset.read_checked(folder).description.digest == written.digest
    flip(folder / "train/labels.npy")
    with pytest.raises(DatasetError, match=f"^{tmp_path.name}/d changed on disk since ingest wrote it: "):
        dataset.read_checked(folder)


def test_a_header_that_turns_rows_into_columns_is_refused(tmp_path: Path) -> None:
    """The digest is over the bytes, which stay; a damaged header changes what they mean."""
    write(tmp_path / "d")
    path = tmp_path / "d/train/images.npy"
    path.write_bytes(path.read_bytes().replace(b"'fortran_order': False", b"'fortran_order': True "))
    with pytest.raises(DatasetError, match=r"train/images\.npy holds uint8 \(4, 2, 3, 1\) by columns"):
        dataset.read(tmp_path / "d")
