"""Valid data of the user's own: folders, IDX and .npz files, grey and colour."""

import gzip
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline import dataset
from pipeline.dataset import SPLITS, Split, SplitName
from pipeline.errors import SourceError
from pipeline.ingest import folder, readers, stage
from pipeline.ingest.images import Files
from pipeline.ingest.preprocessing import Preprocessing, decode, strict_decoding
from pipeline.params import IngestParams
from pipeline.workspace import Workspace
from tests.ingest.sources import png_16

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


def decoded(path: Path, resize: str = "stretch") -> list[list[int]]:
    """Return the image in `path`, grey and 8×8."""
    with strict_decoding():
        pixels: list[list[int]] = decode(path, Preprocessing(8, 1, resize))[..., 0].tolist()
    return pixels


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photo_is_turned_as_its_exif_says(tmp_path: Path, orientation: int) -> None:
    upright = np.repeat(np.repeat(np.arange(16, dtype=np.uint8).reshape(4, 4) * 16, 2, axis=0), 2, axis=1)
    undo = {3: 2, 6: 1, 8: 3}  # quarter turns that a camera held like this makes
    stored = {2: upright[:, ::-1], 4: upright[::-1], 5: upright.T, 7: upright[::-1, ::-1].T}.get(
        orientation, np.rot90(upright, undo.get(orientation, 0))
    )
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "x.png", exif=exif)
    assert decoded(tmp_path / "x.png") == upright.tolist()


def test_resizing_of_images_that_are_not_square(tmp_path: Path) -> None:
    wide = np.zeros((8, 16), np.uint8)
    wide[:, 4:12] = 200
    Image.fromarray(wide).save(tmp_path / "x.png")
    assert decoded(tmp_path / "x.png", resize="crop") == [[200] * 8] * 8
    stretched = decoded(tmp_path / "x.png", resize="stretch")
    assert stretched[0] == stretched[7]
    assert stretched[0][0] == 0 < stretched[0][1] <= 200 == stretched[0][4]
    padded = decoded(tmp_path / "x.png", resize="pad")
    assert padded[:2] == padded[6:] == [[0] * 8] * 2
    assert padded[2] == stretched[0]


def test_a_line_of_pixels_survives_every_resizing(tmp_path: Path) -> None:
    Image.new("L", (3000, 1), 255).save(tmp_path / "x.png")
    for resize in ("stretch", "pad", "crop"):
        assert max(map(max, decoded(tmp_path / "x.png", resize=resize))) == 255


def test_transparent_parts_become_white(tmp_path: Path) -> None:
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(tmp_path / "x.png")
    Image.new("P", (8, 8), 0).save(tmp_path / "y.gif", transparency=0)
    assert decoded(tmp_path / "x.png") == decoded(tmp_path / "y.gif") == [[255] * 8] * 8


def test_first_frame_of_an_animation_is_taken(tmp_path: Path) -> None:
    first, second = Image.new("L", (8, 8), 0), Image.new("L", (8, 8), 255)
    first.save(tmp_path / "x.gif", save_all=True, append_images=[second])
    assert decoded(tmp_path / "x.gif") == [[0] * 8] * 8


def test_a_link_within_the_folder_is_followed(source: Path) -> None:
    put_folder(source)
    (source / "ant/again.png").symlink_to(source / "ant/00.png")
    found = folder.read(source, wanted("folder"), source)
    assert isinstance(found.training, Files)
    assert len(found.training.paths) == 61


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


GREY_16 = (RANDOM.integers(5000, 65536, size=(8, 8, 4))).astype(np.uint16)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_16_bits_per_channel_are_read_by_both_bytes(tmp_path: Path, channels: int) -> None:
    pixels = GREY_16[..., :channels].copy()
    if channels % 2 == 0:
        pixels[..., -1] = 65535
    (tmp_path / "x.png").write_bytes(png_16(pixels))
    colours = pixels[..., : channels - 1 + channels % 2]
    expected = np.rint(colours / 257).astype(np.uint8)
    with strict_decoding():
        found = decode(tmp_path / "x.png", Preprocessing(8, 1 if colours.shape[2] == 1 else 3, "stretch"))
    assert np.array_equal(found, expected)


def test_12_bits_in_16_are_refused_rather_than_read_as_black(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(png_16(GREY_16[..., :3] // 16))
    with strict_decoding(), pytest.raises(SourceError, match=r"no value above 4,095: it looks like 12-bit data"):
        decode(tmp_path / "x.png", Preprocessing(8, 3, "stretch"))


def test_grey_with_alpha_is_laid_on_white(tmp_path: Path) -> None:
    image = np.zeros((8, 8, 2), np.uint8)
    image[:4, :, 1] = 255
    Image.fromarray(image).save(tmp_path / "x.png")
    assert decoded(tmp_path / "x.png") == [[0] * 8] * 4 + [[255] * 8] * 4


def test_padding_has_the_colour_of_the_corners(tmp_path: Path) -> None:
    image = np.full((4, 8, 3), (200, 180, 90), np.uint8)
    image[0, 0] = 0  # one odd corner
    image[1:3, 2:6] = 255
    Image.fromarray(image).save(tmp_path / "x.png")
    with strict_decoding():
        padded = decode(tmp_path / "x.png", Preprocessing(8, 3, "pad"))
    assert padded[:2].tolist() == padded[6:].tolist() == [[[200, 180, 90]] * 8] * 2
