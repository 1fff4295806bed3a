"""Arrays as people save them: .npz and .npy files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import dataset
from pipeline.errors import SourceError
from pipeline.ingest import stage
from pipeline.workspace import Workspace
from tests.ingest.test_own_data import IMAGES, LABELS, source, splits, wanted, workspace

__all__ = ["source", "workspace"]  # fixtures


@pytest.mark.parametrize("column", [False, True])
@pytest.mark.parametrize("images", [IMAGES, IMAGES[..., None], np.asfortranarray(IMAGES)], ids=["3", "4", "fortran"])
def test_npz_is_read_as_keras_data_sets_come(workspace: Workspace, source: Path, images: object, column: bool) -> None:
    numbers = LABELS.astype(">i8").reshape((-1, 1) if column else -1)
    np.savez_compressed(source / "a.npz", x_train=images, y_train=numbers, x_test=IMAGES, y_test=LABELS)  # type: ignore[arg-type]
    (source / "classes.txt").write_text("ant\nbee\ncat\n")
    for place in ("data/source", "data/source/a.npz"):
        stage.run(wanted("npz", source=place, class_names=[] if place == "data/source" else ["ant", "bee", "cat"]), workspace)
        data = dataset.read(workspace.dataset)
        assert data.description.class_names == ("ant", "bee", "cat")
        assert np.array_equal(data.train.images[..., 0], IMAGES[data.train.source_index])
        assert np.array_equal(data.train.labels, LABELS[data.train.source_index])


def test_npy_files_of_one_folder_are_read_together(workspace: Workspace, source: Path) -> None:
    (source / "signs").mkdir()
    np.save(source / "signs/X.npy", IMAGES / 255)
    np.save(source / "signs/Y.npy", np.eye(3)[LABELS])
    stage.run(wanted("npz"), workspace)
    for split in splits(workspace).values():
        assert np.array_equal(split.images[..., 0], IMAGES[split.source_index])
        assert np.array_equal(split.labels, LABELS[split.source_index])
    (source / "more").mkdir()
    np.save(source / "more/X.npy", IMAGES)
    with pytest.raises(SourceError, match=r"must hold one .npz file, but holds more/X.npy, signs/X.npy, signs/Y.npy: put one"):
        stage.run(wanted("npz"), workspace)


Arrays = dict[str, np.ndarray[tuple[int, ...], np.dtype[Any]]]


def with_parts(
    images: np.ndarray[tuple[int, ...], np.dtype[Any]], labels: np.ndarray[tuple[int, ...], np.dtype[Any]]
) -> Arrays:
    return {"x_train": images[:48], "y_train": labels[:48], "x_test": images[48:], "y_test": labels[48:]}


TEXTS = np.array(["ant", "bee", "Käse"])[LABELS]
NPZ: Mapping[str, Arrays] = {
    "floats 0-1": with_parts(IMAGES / 255.0, LABELS),
    "half precision": with_parts((IMAGES // 255).astype(np.float16), LABELS),
    "whole floats": with_parts(IMAGES.astype(np.float32), LABELS * 1.0),
    "int64": with_parts(IMAGES.astype(np.int64), LABELS),
    "16 bits": with_parts(IMAGES.astype(np.uint16) * 257, LABELS),
    "bool": with_parts(IMAGES > 127, LABELS),
    "flat": with_parts(IMAGES.reshape(60, 64), LABELS),
    "channels first": with_parts(IMAGES[:, np.newaxis], LABELS),
    "one-hot": with_parts(IMAGES, np.eye(3, dtype=np.float32)[LABELS]),
    "bytes": with_parts(IMAGES, np.array([b"a", b"b", b"c"])[LABELS]),
    "other names": {
        "X-train": IMAGES[:48],
        "Y-train": LABELS[:48],
        "X-test": IMAGES[48:],
        "Y-test": LABELS[48:],
        "ids": LABELS,
    },
}


@pytest.mark.parametrize("arrays", NPZ.values(), ids=NPZ)
def test_npz_is_read_as_people_save_it(workspace: Workspace, source: Path, arrays: Arrays) -> None:
    np.savez_compressed(source / "a.npz", **arrays)  # type: ignore[arg-type]
    stage.run(wanted("npz"), workspace)
    data = dataset.read(workspace.dataset)
    images = next(iter(arrays.values()))
    expected = IMAGES[48:]
    if images.dtype == np.bool_:
        expected = np.where(expected > 127, 255, 0).astype(np.uint8)
    if images.dtype == np.float16:
        expected = np.where(expected == 255, 255, 0).astype(np.uint8)
    assert np.array_equal(data.test.images[..., 0], expected)
    assert np.array_equal(data.test.labels, LABELS[48:])


def test_npz_texts_become_class_names(workspace: Workspace, source: Path) -> None:
    np.savez(source / "a.npz", **with_parts(IMAGES, TEXTS))  # type: ignore[arg-type]
    stage.run(wanted("npz"), workspace)
    data = dataset.read(workspace.dataset)
    assert data.description.class_names == ("Käse", "ant", "bee")
    assert np.array_equal(np.array(data.description.class_names)[data.test.labels], TEXTS[48:])


def test_npz_as_medmnist_comes_keeps_its_validation_set(workspace: Workspace, source: Path) -> None:
    parts = {"train": slice(0, 36), "val": slice(36, 48), "test": slice(48, 60)}
    arrays = {f"{name}_images": IMAGES[part] for name, part in parts.items()}
    arrays |= {f"{name}_labels": LABELS[part, np.newaxis] for name, part in parts.items()}
    np.savez(source / "a.npz", **arrays)  # type: ignore[arg-type]
    stage.run(wanted("npz"), workspace)
    assert np.array_equal(splits(workspace)["validation"].images[..., 0], IMAGES[36:48])


@pytest.mark.parametrize("names", [("x_train", "y_train"), ("images", "labels"), ("data", "target"), ("X", "y")])
def test_npz_without_a_test_part_is_cut(
    workspace: Workspace, source: Path, names: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(source / "a.npz", **dict(zip(names, (IMAGES, LABELS), strict=True)))  # type: ignore[arg-type]
    stage.run(wanted("npz"), workspace)
    assert sum(len(split) for split in splits(workspace).values()) == 60
    assert "the source has no test set: about 20 % of each class are held out as one" in capsys.readouterr().out
