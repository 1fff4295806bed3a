import numpy as np
import pytest

from pipeline.dataset import SPLITS
from pipeline.errors import SourceError
from pipeline.ingest.images import Arrays
from pipeline.ingest.source import Source
from pipeline.ingest.split import by_content, cut, stratified


def images(*per_class: int) -> Arrays:
    """Return images of 1×1 pixel whose grey level is their row, classes in random order."""
    labels = np.repeat(np.arange(len(per_class), dtype=np.int32), per_class)
    labels = np.random.default_rng(0).permutation(labels)
    return Arrays(np.arange(len(labels), dtype=np.uint8).reshape(-1, 1, 1, 1), labels)


def source(training: Arrays, test: Arrays | None = None, grows: bool = False) -> Source:
    return Source(("cat", "dog"), training, test, (), grows=grows)


def test_each_class_gives_its_share_to_each_split() -> None:
    whole = images(100, 50)
    rows = cut(source(whole), validation_fraction=0.1, test_fraction=0.2, seed=1)
    assert {name: np.bincount(whole.labels[part]).tolist() for name, part in rows.items()} == {
        "train": [72, 36],
        "validation": [8, 4],
        "test": [20, 10],
    }


@pytest.mark.parametrize("grows", [False, True])
def test_every_image_is_in_one_split(grows: bool) -> None:
    rows = cut(source(images(100, 50), grows=grows), validation_fraction=0.1, test_fraction=0.2, seed=1)
    assert sorted(np.concatenate([rows[name] for name in SPLITS]).tolist()) == list(range(150))
    for part in rows.values():
        assert part.tolist() == sorted(part.tolist())
        assert part.dtype.name == "int32"


@pytest.mark.parametrize("grows", [False, True])
def test_official_test_set_stays_whole_and_in_order(grows: bool) -> None:
    rows = cut(source(images(40, 40), images(5, 3), grows), validation_fraction=0.1, test_fraction=0.2, seed=1)
    assert rows["test"].tolist() == list(range(8))
    assert len(rows["train"]) + len(rows["validation"]) == 80


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
        (images(100, 2), None, "class 'dog' has no image in the validation split, 2 in all: add images, or raise"),
        (images(100, 1), None, "class 'dog' has no image in the validation split, 1 in all"),
        (images(100, 0), None, "class 'dog' has no image in the train split, 0 in all"),
        (images(100, 10), images(3, 0), "class 'dog' has no image in the test split, 10 in all"),
    ],
)
def test_class_too_small_for_every_split_is_named(training: Arrays, test: Arrays | None, problem: str) -> None:
    with pytest.raises(SourceError, match=problem):
        cut(source(training, test), validation_fraction=0.1, test_fraction=0.3, seed=1)


def keys(count: int, seed: int = 0) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    return np.random.default_rng(seed).integers(2**64, size=count, dtype=np.uint64)


def test_shares_by_content_are_random_around_the_fractions() -> None:
    labels = np.repeat(np.arange(2, dtype=np.int32), 10_000)
    rows = by_content(labels, keys(20_000).__getitem__, 0.2, 0.1)
    for name, expected in {"test": 2000, "validation": 800, "train": 7200}.items():
        counts = np.bincount(labels[rows[name]])  # type: ignore[index]
        assert np.all(np.abs(counts - expected) < 4 * np.sqrt(expected))


def test_added_images_move_none_of_those_already_there() -> None:
    labels, numbers = np.tile(np.arange(3, dtype=np.int32), 1000), keys(3000)
    before, after = by_content(labels[:1500], numbers.__getitem__, 0.2, 0.1), by_content(labels, numbers.__getitem__, 0.2, 0.1)
    for name in SPLITS:
        assert [row for row in after[name].tolist() if row < 1500] == before[name].tolist()


def test_equal_images_are_never_in_two_splits() -> None:
    labels, numbers = np.zeros(2000, np.int32), np.tile(keys(1000), 2)
    for part in by_content(labels, numbers.__getitem__, 0.3, 0.3).values():
        assert np.array_equal(part[: len(part) // 2] + 1000, part[len(part) // 2 :])


def test_smallest_possible_class_gives_one_image_to_each_split() -> None:
    for seed in range(20):
        rows = by_content(np.array([0, 0, 0], np.int32), keys(3, seed).__getitem__, 0.01, 0.01)
        assert sorted(len(part) for part in rows.values()) == [1, 1, 1]


ROWS = np.arange(2, dtype=np.int32)


def test_key_of_an_image_depends_on_its_content_and_the_seed() -> None:
    two = np.arange(24, dtype=np.uint8).reshape(2, 3, 4, 1)
    both = Arrays(two, np.zeros(2, np.int32)).keys(ROWS, 42)
    assert Arrays(two[::-1], np.zeros(2, np.int32)).keys(ROWS, 42).tolist() == both.tolist()[::-1]
    assert Arrays(two, np.zeros(2, np.int32)).keys(ROWS, 43).tolist() != both.tolist()
    assert both.tolist() == [4511747558023618403, 2945305785490011828]  # never changes: it would move images
