"""Folders as people have them: parts of any name, wrappers, what systems leave, odd names, damaged files."""

import os
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline import dataset
from pipeline.errors import SourceError
from pipeline.ingest import stage
from pipeline.ingest.images import look
from pipeline.ingest.readers import opened
from pipeline.ingest.source import split_of
from pipeline.workspace import Workspace
from tests.ingest.test_own_data import files, put_folder, source, wanted, workspace

__all__ = ["source", "workspace"]  # fixtures
RANDOM = np.random.default_rng(1)


def put(folder: Path, count: int = 60, size: int = 8) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    put_folder(folder, RANDOM.integers(256, size=(count, size, size), dtype=np.uint8))


def ingest(workspace: Workspace, **changed: object) -> dataset.Description:
    stage.run(wanted("folder", **changed), workspace)
    return dataset.describe(workspace.dataset)


@pytest.mark.parametrize(
    ("name", "split"),
    [
        *(
            ("train", "train"),
            ("Training", "train"),
            ("seg_train", "train"),
            ("asl-alphabet-test", "test"),
            ("TESTING", "test"),
        ),
        *(("val", "validation"), ("Valid", "validation"), ("validation", "validation"), ("train-00000-of-2", "train")),
        *(("trainer", None), ("train_test", None), ("contest", None), ("", None)),
    ],
)
def test_a_split_is_known_by_a_word_of_the_name(name: str, split: str | None) -> None:
    assert split_of(name) == split


@pytest.mark.parametrize(("train", "validation", "test"), [("train", "valid", "test"), ("Training", "val", "pets_Testing")])
def test_given_splits_are_used_as_they_are(
    workspace: Workspace, source: Path, train: str, validation: str, test: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, count in ((train, 60), (validation, 9), (test, 12)):
        put(source / name, count)
    description = ingest(workspace)
    assert description.counts == {"train": 60, "validation": 9, "test": 12}
    assert description.class_names == ("ant", "bee", "cat")
    assert {name.split("/")[0] for name in files(workspace)["validation"]} == {validation}
    assert "the source has a validation set: it is used as it is" in capsys.readouterr().out


def test_a_given_validation_set_leaves_only_the_test_set_to_be_cut(workspace: Workspace, source: Path) -> None:
    put(source / "train", 120)
    put(source / "val", 12)
    counts = ingest(workspace).counts
    assert counts["validation"] == 12
    assert counts["train"] + counts["test"] == 120
    assert counts["test"] > 0


def test_one_folder_in_a_class_is_entered(workspace: Workspace, source: Path) -> None:
    put(source)
    (source / "bee").rename(source / "images")
    (source / "bee").mkdir()
    (source / "images").rename(source / "bee/images")
    (source / "bee/boxes.txt").touch()
    assert ingest(workspace).class_names == ("ant", "bee", "cat")
    (source / "bee/more").mkdir()
    with pytest.raises(SourceError, match=r"bee/images is a folder inside a class: move its images into bee/ itself"):
        ingest(workspace)


def test_a_class_called_train_beside_others_is_a_class(workspace: Workspace, source: Path) -> None:
    put(source)
    (source / "ant").rename(source / "train")
    assert ingest(workspace).class_names == ("bee", "cat", "train")


def test_one_folder_around_it_all_is_entered_and_what_systems_leave_is_ignored(workspace: Workspace, source: Path) -> None:
    put(source / "data/Pets/train/train")
    put(source / "data/Pets/test", 9)
    for junk in ("__MACOSX/Pets/ant", "data/Pets/train/train/ant/@eaDir", "data/.ipynb_checkpoints"):
        (source / junk).mkdir(parents=True)
        (source / junk / "x.png").write_bytes(b"\0")
    for junk in ("data/.DS_Store", "data/Pets/Icon\r", "data/Pets/train/train/bee/Icon\r", "data/Pets/Thumbs.db"):
        (source / junk).write_bytes(b"Bud1")
    description = ingest(workspace)
    assert description.class_names == ("ant", "bee", "cat")
    assert sum(description.counts.values()) == 69


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        (
            ("training/1.png", "testing/1.png"),
            r"holds testing/, training/ without class folders in them: put a folder per class",
        ),
        (
            ("a.svg", "ant/1.svg", "ant/2.svg", "bee/3.png"),
            r"ant holds no image, but 2 .svg: save them as PNG or JPEG, or delete",
        ),
        (("data_batch_1", "batches.meta"), r"source holds batches.meta, data_batch_1, but no class folders: put the images"),
        (("images/1.png", "a.jsonl"), "only one class, 'images', beside a.jsonl: .*; or save the table of files and labels as"),
        (("train/ant/1.png", "Train/ant/1.png"), "has two folders for train, Train/ and train/: merge them"),
        (("test/ant/1.png", "val/ant/1.png"), "holds test/, val/ but no train/: add it"),
        (("train/ant/1.png", "extra/1.png"), "source/extra is beside train/ but is no split"),
        (("train/ant/1.png", "train/x.png", "train/y.png"), r"train holds 2 images in no class folder \(x.png, y.png\): move"),
        (("ant/1.png", "1.png", "labels.csv"), "or, for a table of files and labels, set ingest.dataset: csv"),
        (("train/ant/1.png", "train/bee/1.png", "val/emu/1.png"), "val/emu is a class without a folder in train"),
    ],
)
def test_an_ambiguous_layout_is_refused_by_name(
    workspace: Workspace, source: Path, layout: tuple[str, ...], message: str
) -> None:
    for name in layout:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).touch()
    with pytest.raises(SourceError, match=message):
        ingest(workspace)


def test_a_pipe_is_refused_before_anybody_waits_for_it(workspace: Workspace, source: Path) -> None:
    put(source)
    os.mkfifo(source / "ant/x.png")
    with pytest.raises(SourceError, match=r"ant/x.png is neither a file nor a folder: delete it"):
        ingest(workspace)


def test_validation_for_some_classes_only_is_refused(workspace: Workspace, source: Path) -> None:
    put(source / "train")
    put(source / "val", 9)
    shutil.rmtree(source / "val/bee")
    with pytest.raises(
        SourceError, match="class 'bee' has no image in the validation split, 20 in all: add some to it, or remove"
    ):
        ingest(workspace)


@pytest.mark.parametrize(
    ("count", "message"),
    [
        (6, r"3 classes have too few images, 'ant' \(2\), 'bee' \(2\), 'cat' \(2\); each needs 3 at least"),
        (48, "data/source has 48 images in all, and 50 are the least"),
    ],
)
def test_too_few_images_are_refused(workspace: Workspace, source: Path, count: int, message: str) -> None:
    put(source, count)
    with pytest.raises(SourceError, match=message):
        ingest(workspace)


def test_names_of_every_script_and_blank_are_read_and_written_down(workspace: Workspace, source: Path) -> None:
    put(source)
    (source / "ant").rename(source / "کتاب\u200cها")
    for blank in "\u202f\u00a0\u3000":
        Image.fromarray(RANDOM.integers(256, size=(8, 8), dtype=np.uint8)).save(source / "bee" / f"at 4.42{blank}PM.png")
    assert ingest(workspace).class_names == ("bee", "cat", "کتاب\u200cها")
    names = [name for split in files(workspace).values() for name in split]
    assert len({*names}) == 63
    assert "bee/at 4.42\u202fPM.png" in names


def test_each_row_is_the_image_in_its_file(workspace: Workspace, source: Path) -> None:
    put(source)
    ingest(workspace)
    for name, split in dataset.read(workspace.dataset).splits().items():
        for image, file in zip(split.images, files(workspace)[name], strict=True):
            assert np.array_equal(image[..., 0], np.asarray(Image.open(source / file)))


def test_class_names_are_compared_in_nfc(workspace: Workspace, source: Path) -> None:
    put(source / "train")
    put(source / "test", 9)
    (source / "train/ant").rename(source / "train" / unicodedata.normalize("NFD", "Käse"))
    (source / "test/ant").rename(source / "test" / unicodedata.normalize("NFC", "Käse"))
    assert ingest(workspace).class_names == ("Käse", "bee", "cat")
    shutil.copytree(source / "train/bee", source / "train" / unicodedata.normalize("NFC", "Käse"))
    with pytest.raises(SourceError, match=r"two class folders named 'Käse', written as 'Ka\\u0308se' and 'K\\xe4se': move"):
        ingest(workspace)


def damage(source: Path, count: int) -> None:
    for number in range(count):
        path = source / "bee" / f"{3 * number + 1:02}.png"
        path.write_bytes(path.read_bytes()[:40] if number % 2 else b"")


def test_all_damaged_files_are_listed_at_once(workspace: Workspace, source: Path) -> None:
    put(source, 120)
    damage(source, 23)
    with pytest.raises(SourceError) as caught:
        ingest(workspace)
    message = str(caught.value)
    assert "data/source: 23 of 120 files cannot be read: bee/01.png, bee/07.png, bee/13.png, " in message
    assert "bee/55.png and 2 more (is empty); bee/04.png, bee/10.png, " in message
    assert message.count("bee/") == 20
    assert "and 1 more (is not an image, despite its name). Delete them or save them again, or leave them out by " in message
    assert message.endswith("ingest.on_damaged: skip")
    assert "\n" not in message


def test_damaged_files_can_be_skipped_and_move_no_other_image(
    workspace: Workspace, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(source, 120)
    ingest(workspace)
    before = {file: name for name, names in files(workspace).items() for file in names}
    damage(source, 4)
    assert sum(ingest(workspace, on_damaged="skip").counts.values()) == 116
    assert "skipped: 4 of 120 files cannot be read: bee/01.png, bee/07.png (is empty); " in capsys.readouterr().err
    after = {file: name for name, names in files(workspace).items() for file in names}
    assert after.items() <= before.items()


def test_heic_without_its_package_is_named_as_the_reason(workspace: Workspace, source: Path) -> None:
    put(source)
    (source / "ant/x.heic").write_bytes(b"\0\0\0\x18ftypheic")
    with pytest.raises(SourceError, match=r"ant/x.heic is HEIC, which needs the package pillow-heif: install it, or save"):
        ingest(workspace)


def test_avif_and_netpbm_are_read(workspace: Workspace, source: Path) -> None:
    put(source)
    for suffix in ("avif", "pgm"):
        Image.new("L", (8, 8), 9).save(source / f"ant/x.{suffix}")
    assert sum(ingest(workspace).counts.values()) == 62


def test_a_file_in_two_classes_is_reported_with_both_names(
    workspace: Workspace, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(source)
    shutil.copy(source / "ant/00.png", source / "bee/copy.png")
    shutil.copy(source / "ant/03.png", source / "ant/copy.png")
    ingest(workspace)
    assert "warning: 1 file is in two classes: ant/00.png = bee/copy.png. Delete" in capsys.readouterr().err


def test_a_grey_and_small_reading_of_colour_photos_is_warned_of(
    workspace: Workspace, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(60):
        path = source / ("ant", "bee")[number % 2] / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (53, 40), (200, number, 40)).save(path)
    ingest(workspace)
    printed = capsys.readouterr().err
    assert (
        "warning: 100 % of the images are in colour, and ingest.channels: 1 makes them grey: set ingest.channels: 3" in printed
    )
    assert "the images are 40×53 pixels (median), and become 8×8: set ingest.image_size: 48 to keep more" in printed
    ingest(workspace, channels=3, image_size=48)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("width", "height", "mode", "size", "channels"),
    [(8, 8, "L", 28, 1), (31, 33, "L", 32, 1), (400, 533, "RGB", 64, 3), (45, 45, "P", 48, 1)],
)
def test_what_fits_the_images_comes_from_a_look_at_them(
    workspace: Workspace, source: Path, width: int, height: int, mode: str, size: int, channels: int
) -> None:
    for number in range(60):
        path = source / ("ant", "bee")[number % 2] / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new(mode, (width, height), (200, number, 40) if mode == "RGB" else number).save(path)
    with opened(wanted("folder"), workspace, workspace.root) as found:
        seen = look(found.training)
    assert seen is not None
    assert (seen.height, seen.width, seen.size, seen.channels) == (height, width, size, channels)
