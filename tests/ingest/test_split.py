import numpy as np
import pytest

from pipeline.dataset import SPLITS
from pipeline.errors import SourceError
from pipeline.ingest.sources import Pictures, Source
from pipeline.ingest.split import cut, stratified


def pictures(*per_class: int) -> Pictures:
    """Pictures of 1×1 pixel whose grey level is their row, classes taking turns at random places."""
    labels = np.repeat(np.arange(len(per_class), dtype=np.int32), per_class)
    labels = np.random.default_rng(0).permutation(labels)
    return Pictures(np.arange(len(labels), dtype=np.uint8).reshape(-1, 1, 1, 1), labels)


def source(training: Pictures, test: Pictures | None = None) -> Source:
    return Source(("cat", "dog"), training, test, (), "here")


def test_each_class_gives_its_share_to_each_split() -> None:
    splits = cut(source(pictures(100, 50)), validation_fraction=0.1, test_fraction=0.2, seed=1)
    assert {name: np.bincount(split.labels).tolist() for name, split in splits.items()} == {
        "train": [72, 36],
        "validation": [8, 4],
        "test": [20, 10],
    }


def test_every_picture_is_in_one_split_with_its_own_label_and_row() -> None:
    whole = pictures(100, 50)
    splits = cut(source(whole), validation_fraction=0.1, test_fraction=0.2, seed=1)
    rows = np.concatenate([splits[name].source_index for name in SPLITS])
    assert sorted(rows.tolist()) == list(range(150))
    for split in splits.values():
        assert split.source_index.tolist() == sorted(split.source_index.tolist())
        assert split.images.ravel().tolist() == split.source_index.tolist()
        assert split.labels.tolist() == whole.labels[split.source_index].tolist()
        assert [part.dtype.name for part in (split.images, split.labels, split.source_index)] == ["uint8", "int32", "int32"]


def test_official_test_set_stays_whole_and_in_order() -> None:
    official = pictures(5, 3)
    splits = cut(source(pictures(40, 40), official), validation_fraction=0.1, test_fraction=0.2, seed=1)
    assert splits["test"].images is not official.images
    assert splits["test"].images.tolist() == official.images.tolist()
    assert splits["test"].labels.tolist() == official.labels.tolist()
    assert splits["test"].source_index.tolist() == list(range(8))
    assert (len(splits["train"]), len(splits["validation"])) == (72, 8)


def test_fashion_mnist_sized_split_holds_out_600_of_6000_per_class() -> None:
    rows = stratified(np.tile(np.arange(10, dtype=np.int32), 6000), 0.0, 0.1, seed=42)
    assert {name: len(part) for name, part in rows.items()} == {"train": 54000, "validation": 6000, "test": 0}
    assert np.bincount(rows["validation"] % 10).tolist() == [600] * 10


FROZEN = {"train": [0, 2, 3, 5, 6, 7, 11, 12, 13, 16, 18, 19], "validation": [1, 9, 10, 14], "test": [4, 8, 15, 17]}


def test_split_of_a_seed_never_changes() -> None:
    labels = np.array([0, 1] * 10, dtype=np.int32)
    rows = stratified(labels, 0.2, 0.25, seed=42)
    assert {name: part.tolist() for name, part in rows.items()} == FROZEN
    assert stratified(labels, 0.2, 0.25, seed=43)["test"].tolist() != FROZEN["test"]


@pytest.mark.parametrize(
    ("training", "test", "problem"),
    [
        (pictures(100, 2), None, "class 'dog' has no picture in the validation split, 2 in all: add pictures, or raise"),
        (pictures(100, 1), None, "class 'dog' has no picture in the validation split, 1 in all"),
        (pictures(100, 0), None, "class 'dog' has no picture in the train split, 0 in all"),
        (pictures(100, 10), pictures(3, 0), "class 'dog' has no picture in the test split, 10 in all"),
    ],
)
def test_class_too_small_for_every_split_is_named(training: Pictures, test: Pictures | None, problem: str) -> None:
    with pytest.raises(SourceError, match=problem):
        cut(source(training, test), validation_fraction=0.1, test_fraction=0.3, seed=1)
