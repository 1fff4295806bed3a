"""Valid data of the user's own: the kind of the source, folders and IDX files."""

import gzip
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline import dataset
from pipeline.dataset import SPLITS, Split, SplitName
from pipeline.ingest import folder, readers, stage
from pipeline.ingest.images import Files
from pipeline.params import IngestParams
from pipeline.workspace import Workspace

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(256, size=(60, 8, 8), dtype=np.uint8)
LABELS = np.tile(np.arange(3, dtype=np.uint8), 20)


def files(workspace: Workspace) -> Mapping[SplitName, tuple[str, ...]]:
    names = dataset.file_names(workspace.dataset)
    assert names is not None
    return names


def wanted(dataset: str, **changed: object) -> IngestParams:
    settings: dict[str, object] = {
        "dataset": dataset,
        "source": "data/source",
        "name": "pets",
        "class_names": [],
        "channels": 1,
    }
    settings |= {
        "image_size": 8,
        "resize": "stretch",
        "on_damaged": "stop",
        "validation_fraction": 0.1,
        "test_fraction": 0.2,
        "seed": 42,
    }
    return IngestParams.model_validate({**settings, **changed})


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    (tmp_path / "data/source").mkdir(parents=True)
    return Workspace(tmp_path, tmp_path)


@pytest.fixture
def source(workspace: Workspace) -> Path:
    return workspace.root / "data/source"


def put_idx(source: Path, first: int = 0) -> None:
    for split in ("train", "t10k"):
        for kind, array in (("images-idx3", IMAGES), ("labels-idx1", LABELS + np.uint8(first))):
            header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
            packed = gzip.compress(header + array.tobytes()) if split == "train" else header + array.tobytes()
            (source / f"{split}-{kind}-ubyte{'.gz' if split == 'train' else ''}").write_bytes(packed)


def put_table_beside_folders(source: Path, content: str) -> None:
    put_folder(source)
    (source / "a.csv").write_text(content)


def put_folder(source: Path, images: np.ndarray[tuple[int, ...], np.dtype[np.uint8]] = IMAGES) -> None:
    for number, image in enumerate(images):
        path = source / ("ant", "bee", "cat")[number % 3] / f"{number:02}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(image).save(path)


def splits(workspace: Workspace) -> Mapping[SplitName, Split]:
    return dataset.read(workspace.dataset).splits()


def contents(workspace: Workspace) -> dict[str, bytes]:
    paths = [path for path in workspace.dataset.rglob("*") if path.is_file()]
    return {str(path.relative_to(workspace.dataset)): path.read_bytes() for path in paths}


def split_of_each(workspace: Workspace) -> dict[bytes, str]:
    return {image.tobytes(): name for name, split in splits(workspace).items() for image in split.images}


@pytest.mark.parametrize("first", [0, 1])
def test_idx_files_plain_and_gzip_keep_their_test_set(workspace: Workspace, source: Path, first: int) -> None:
    put_idx(source, first)
    stage.run(wanted("idx"), workspace)
    data = dataset.read(workspace.dataset)
    assert data.description.class_names == tuple(str(number + first) for number in range(3))
    assert np.array_equal(data.test.images[..., 0], IMAGES)
    assert np.array_equal(data.test.labels, LABELS)
    assert np.array_equal(data.train.images[..., 0], IMAGES[data.train.source_index])
    assert np.array_equal(data.validation.labels, LABELS[data.validation.source_index])
    assert len(data.train) + len(data.validation) == 60


@pytest.mark.parametrize(
    ("put", "kind"),
    [
        (lambda source: put_folder(source), "folder"),
        (lambda source: put_folder(source / "train"), "folder"),
        (lambda source: put_idx(source), "idx"),
        (lambda source: np.savez(source / "a.npz", x=IMAGES, y=LABELS), "npz"),
        (lambda source: (source / "a.tsv").write_text("file\tlabel\n"), "csv"),
        (lambda source: put_table_beside_folders(source, "file,label\n"), "csv"),
        (lambda source: put_table_beside_folders(source, "epoch,loss\n"), "folder"),
    ],
)
def test_the_kind_of_the_data_is_found_out(
    workspace: Workspace, source: Path, put: Callable[[Path], object], kind: str
) -> None:
    (source / "train").mkdir()
    put(source)
    assert readers.detect(source, workspace, workspace.root) == kind
    shutil.make_archive(str(workspace.root / "packed"), "zip", source)
    assert readers.detect(workspace.root / "packed.zip", workspace, workspace.root) == kind


def test_folders_are_classes_in_alphabetical_order_or_in_that_of_classes_txt(workspace: Workspace, source: Path) -> None:
    put_folder(source)
    stage.run(wanted("folder"), workspace)
    assert dataset.describe(workspace.dataset).class_names == ("ant", "bee", "cat")
    (source / "classes.txt").write_text("cat\nant\nbee\n")
    stage.run(wanted("folder"), workspace)
    data = dataset.read(workspace.dataset)
    assert data.description.class_names == ("cat", "ant", "bee")
    for split in data.splits().values():
        for image, label in zip(split.images[..., 0], split.labels, strict=True):
            number = int(np.flatnonzero((image == IMAGES).all(axis=(1, 2)))[0])
            assert ("ant", "bee", "cat")[number % 3] == data.description.class_names[label]


def test_folder_with_a_test_part_keeps_it_whole(workspace: Workspace, source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for part, images in (("train", IMAGES[:48]), ("test", IMAGES[48:])):
        (source / part).mkdir()
        put_folder(source / part, images)
    stage.run(wanted("folder"), workspace)
    data = dataset.read(workspace.dataset)
    assert [file.name for file in data.description.sources] == ["train", "test"]
    assert {image.tobytes() for image in data.test.images} == {image.tobytes() for image in IMAGES[48:]}
    assert "no test set" not in capsys.readouterr().out


def test_same_images_give_the_same_bytes_in_any_folder(workspace: Workspace, source: Path, tmp_path: Path) -> None:
    put_folder(source)
    (source / ".DS_Store").touch()
    stage.run(wanted("folder"), workspace)
    first = contents(workspace)
    (tmp_path / "elsewhere").mkdir()
    put_folder(tmp_path / "elsewhere")
    stage.run(wanted("folder", source=str(tmp_path / "elsewhere")), workspace)
    assert contents(workspace) == first


def test_adding_images_moves_none_of_those_already_there(workspace: Workspace, source: Path) -> None:
    put_folder(source)
    stage.run(wanted("folder"), workspace)
    before = split_of_each(workspace)
    more = RANDOM.integers(256, size=(300, 8, 8), dtype=np.uint8)
    for number, image in enumerate(more):
        Image.fromarray(image).save(source / ("ant", "bee", "cat")[number % 3] / f"0-{number:03}.png")
    stage.run(wanted("folder"), workspace)
    after = split_of_each(workspace)
    moved = [content for content, name in before.items() if after[content] != name]
    assert len(after) == 360
    assert moved == []
    assert set(after.values()) == set(SPLITS)


def test_other_files_are_skipped_and_reported(workspace: Workspace, source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put_folder(source)
    for name in ("README.md", "ant/notes.txt", "ant/x.svg", "bee/y.SVG", "bee/Thumbs.db", "bee/.hidden.png"):
        (source / name).touch()
    stage.run(wanted("folder"), workspace)
    assert capsys.readouterr().err.endswith("source: skipped files that are not images: 2 .svg, 1 .txt\n")
    assert sum(dataset.describe(workspace.dataset).counts.values()) == 60


def test_grey_and_colour_mixed_become_what_params_say(workspace: Workspace, source: Path) -> None:
    put_folder(source)
    Image.new("RGB", (8, 8), (10, 200, 30)).save(source / "ant/colour.png")
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(source / "ant/print.jpg")
    for channels in (1, 3):
        stage.run(wanted("folder", channels=channels), workspace)
        assert {split.images.shape[1:] for split in splits(workspace).values()} == {(8, 8, channels)}


def test_a_link_within_the_folder_is_followed(source: Path) -> None:
    put_folder(source)
    (source / "ant/again.png").symlink_to(source / "ant/00.png")
    found = folder.read(source, wanted("folder"), source)
    assert isinstance(found.training, Files)
    assert len(found.training.paths) == 61
