"""Everything that can be wrong with the data, as one table: the damage, and the one line that the user sees.

Each case runs the stage as the command line does. Afterwards data/dataset is unchanged, and nothing is left beside it. What
only a download can meet (dead and refusing hosts, broken transfers, HTML in place of data, silence, wrong checksums) is in
test_known.py; what the machine does (permissions, full disk, two processes) in test_machine.py.
"""

import os
import shutil
import signal
import sys
from collections.abc import Iterator, Mapping

import numpy as np
import pytest

from pipeline import cli, dataset
from pipeline.workspace import Workspace
from tests.ingest.sources import (
    FLOAT,
    HUGE,
    IMAGES,
    IMAGES_FILE,
    LABELS,
    LABELS_FILE,
    WHOLE,
    WITH_NAN,
    WRITERS,
    Damage,
    add_beside_train,
    add_test,
    flip_bit,
    flip_bit_in_npz,
    gzip_bomb,
    idx_bytes,
    jpeg_bytes,
    keep_images,
    keep_only,
    link_outside,
    npz_with,
    outputs,
    png_of_size,
    promise_more_in_npz,
    replace_by_file,
    set_up,
    truncate_npz,
    write_12_bit_png,
    write_file,
    write_gzip,
    write_npz_header,
)

# id: kind of the valid data, what damages it, the line after "error: "
CASES: Mapping[str, tuple[str, Damage, str]] = {
    "idx: a file is missing": (
        "idx",
        lambda source: (source / LABELS_FILE).unlink(),
        "data/source has no train labels: it needs four files, named as MNIST's, such as train-labels-idx1-ubyte.gz",
    ),
    "idx: a file is there twice": (
        "idx",
        write_file(IMAGES_FILE[:-3], b""),
        f"data/source has two files of the train images, {IMAGES_FILE[:-3]}",
    ),
    "idx: truncated gzip": (
        "idx",
        write_file(IMAGES_FILE, WHOLE[:-900]),
        f"{IMAGES_FILE} is truncated: its gzip stream has no end",
    ),
    "idx: bit flip in the middle": (
        "idx",
        write_file(IMAGES_FILE, flip_bit(WHOLE, len(WHOLE) // 2)),
        f"{IMAGES_FILE} is not an intact gzip file",
    ),
    "idx: not gzip": (
        "idx",
        write_file(IMAGES_FILE, idx_bytes(IMAGES)),
        f"{IMAGES_FILE} is not an intact gzip file (Not a gzipped file",
    ),
    "idx: gzip without saying so": (
        "idx",
        lambda source: (source / IMAGES_FILE).rename(source / IMAGES_FILE[:-3]),
        "is not an IDX file of unsigned bytes in 3 dimensions (it is gzip: its name should end in .gz)",
    ),
    "idx: wrong magic": (
        "idx",
        write_gzip(IMAGES_FILE, b"\1\2" + idx_bytes(IMAGES)[2:]),
        f"{IMAGES_FILE} starts with the bytes 01 02 08 03",
    ),
    "idx: floats": (
        "idx",
        write_gzip(IMAGES_FILE, idx_bytes(IMAGES, 0x0D)),
        f"{IMAGES_FILE} starts with the bytes 00 00 0d 03 instead of",
    ),
    "idx: float labels": (
        "idx",
        write_gzip(LABELS_FILE, idx_bytes(LABELS, 0x0D)),
        f"{LABELS_FILE} starts with the bytes 00 00 0d 01 instead",
    ),
    "idx: 2 dimensions": (
        "idx",
        write_gzip(IMAGES_FILE, idx_bytes(IMAGES[0])),
        f"{IMAGES_FILE} starts with the bytes 00 00 08 02 instead of",
    ),
    "idx: 4 dimensions": (
        "idx",
        write_gzip(IMAGES_FILE, idx_bytes(IMAGES[None])),
        f"{IMAGES_FILE} starts with the bytes 00 00 08 04 instead",
    ),
    "idx: dimensions × size overflow": (
        "idx",
        write_gzip(IMAGES_FILE, HUGE),
        "promises 79,228,162,458,924,105,385,300,197,375 bytes and holds only 0. Get the file again",
    ),
    "idx: one byte short": (
        "idx",
        write_gzip(IMAGES_FILE, idx_bytes(IMAGES)[:-1]),
        "promises 2,560 bytes and holds only 2,559",
    ),
    "idx: trailing bytes": ("idx", write_gzip(IMAGES_FILE, idx_bytes(IMAGES) + b"\0"), "promises 2,560 bytes and holds more"),
    "idx: plain and short": (
        "idx",
        lambda source: (source / IMAGES_FILE).rename(source / IMAGES_FILE[:-3]).write_bytes(idx_bytes(IMAGES)[:-1]),
        "promises 2,560 bytes and holds only 2,559. Get the file again",
    ),
    "idx: gzip bomb": (
        "idx",
        lambda source: (source / IMAGES_FILE).write_bytes(gzip_bomb(gigabytes=10)),
        "promises 2,560 bytes and holds more",
    ),
    "idx: header cut": (
        "idx",
        write_gzip(IMAGES_FILE, idx_bytes(IMAGES)[:9]),
        f"{IMAGES_FILE} ends inside its header, after 9 bytes",
    ),
    "idx: no images": (
        "idx",
        write_gzip(IMAGES_FILE, idx_bytes(IMAGES[:0])),
        f"{IMAGES_FILE} is empty: its header says 0 × 8 × 8",
    ),
    "idx: counts differ": ("idx", write_gzip(LABELS_FILE, idx_bytes(LABELS[:39])), "holds 40 images, but "),
    "idx: one class only": ("idx", write_gzip(LABELS_FILE, idx_bytes(LABELS * 0)), f"{LABELS_FILE} holds only one class, '0'"),
    "idx: test label without a class": (
        "idx",
        write_gzip("t10k-labels-idx1-ubyte.gz", idx_bytes(LABELS + np.uint8(1))),
        "t10k-labels-idx1-ubyte.gz: label 2 in row 1; the 2 classes are 0 and 1: correct it",
    ),
    "idx: label beyond classes.txt": (
        "idx",
        lambda source: (
            (source / "classes.txt").write_text("cat\ndog"),
            write_gzip(LABELS_FILE, idx_bytes(LABELS * 9))(source),
        ),
        f"{LABELS_FILE}: label 9 in row 1; the 2 classes are 0 and 1: correct it",
    ),
    "idx: a class without images": (
        "idx",
        lambda source: (
            (source / "classes.txt").write_text("ant\nbee\ncat"),
            write_gzip(LABELS_FILE, idx_bytes(LABELS * 2))(source),
        ),
        "class 'bee' has no image in the train split",
    ),
    "classes.txt: a name twice": ("idx", write_file("classes.txt", b"cat\ncat\n"), "data/source/classes.txt holds 'cat' twice"),
    "classes.txt: not UTF-8": (
        "idx",
        write_file("classes.txt", b"cat\ndog\xff"),
        "data/source/classes.txt is not UTF-8 at byte 7",
    ),
    "npz: none": ("npz", lambda source: (source / "pets.npz").unlink(), "data/source must hold one .npz file, but holds none"),
    "npz: two": ("npz", write_file("more.npz", b""), "data/source must hold one .npz file, but holds more.npz, pets.npz"),
    "npz: no zip": ("npz", write_file("pets.npz", b"text"), "pets.npz is not an intact .npz file (File is not a zip file)"),
    "npz: truncated": ("npz", truncate_npz, "pets.npz is not an intact .npz file"),
    "npz: bit flip": ("npz", flip_bit_in_npz, "pets.npz is not an intact .npz file (Bad CRC-32"),
    "npz: a key is missing": ("npz", npz_with(x_test=None), "pets.npz has no x_test, but x_train, y_train, y_test"),
    "npz: pickled objects": (
        "npz",
        npz_with(y_train=np.array([{}] * 40, object)),
        "pets.npz: y_train holds Python objects, which are never unpickled",
    ),
    "npz: float images": (
        "npz",
        npz_with(x_train=FLOAT * 9),
        "pets.npz: x_train holds float32, with the other parts up to 255: all must be",
    ),
    "npz: NaN": ("npz", npz_with(x_test=WITH_NAN), "pets.npz: x_test holds float32 with NaN or infinity: images must be"),
    "npz: float labels": ("npz", npz_with(y_train=LABELS * 0.5), "pets.npz: y_train holds float64, 0.5 in row 1: labels must"),
    "npz: labels of several classes at once": (
        "npz",
        npz_with(y_test=np.ones((40, 2), int)),
        "y_test has the shape (40, 2), and row 0 is not one-hot: labels must be (n,)",
    ),
    "npz: four channels": (
        "npz",
        npz_with(x_train=np.zeros((40, 8, 8, 4), np.uint8)),
        "x_train has the shape (40, 8, 8, 4): it must be",
    ),
    "npz: a header that is no Python": (
        "npz",
        lambda source: write_npz_header(source, b"{'descr': '|u1', 'fortran_order': {alse, 'shape': (40, 8, 8), }"),
        "pets.npz: x_train is not a NumPy array (",
    ),
    "npz: no images": ("npz", npz_with(x_train=IMAGES[:0]), "pets.npz: x_train is empty: its shape is (0, 8, 8)"),
    "npz: counts differ": ("npz", npz_with(y_test=LABELS[1:]), "pets.npz: y_test 39 labels: they do not belong together"),
    "npz: sizes differ": ("npz", npz_with(x_test=IMAGES[:, 1:]), "x_test of (7, 8, 1): give all one shape"),
    "npz: negative label": (
        "npz",
        npz_with(y_train=LABELS.astype(int) - 1),
        "pets.npz: y_train: label -1 in row 0; labels are 0 or more: leave out what has none",
    ),
    "npz: enormous label": (
        "npz",
        npz_with(y_train=LABELS.astype(int) * 10**9),
        "pets.npz: y_test: label 1 in row 1; the 2 classes are 0 and 1000000000: correct it",
    ),
    "npz: promises more than it holds": ("npz", promise_more_in_npz, "x_train promises 64,000,000 bytes and holds only 0"),
    "folder: not there": ("folder", shutil.rmtree, "ingest.source: data/source does not exist: put your data there"),
    "folder: is a file": (
        "folder",
        replace_by_file,
        "ingest.source: data/source is a file: the data set kind `folder` needs a folder, or a .zip or .tar archive",
    ),
    "folder: no classes": (
        "folder",
        keep_only("nothing"),
        "data/source is empty: put the images of each class into a folder of its own",
    ),
    "folder: one class": (
        "folder",
        keep_only("cat"),
        "data/source holds only one class, 'cat': a classifier needs two or more",
    ),
    "folder: an empty class": ("folder", keep_images(0), "data/source/dog holds no image: add some, or delete the folder"),
    "folder: one image of a class": (
        "folder",
        keep_images(1),
        "1 class has too few images, 'dog' (1); each needs 3 at least, one for each split",
    ),
    "folder: an image of no class": ("folder", write_file("x.png", b""), "data/source/x.png is in no class folder"),
    "folder: a folder in a class": (
        "folder",
        lambda source: (source / "cat/old").mkdir(),
        "data/source/cat/old is a folder inside",
    ),
    "folder: a folder beside train": (
        "folder",
        add_beside_train("extra"),
        "data/source/extra is beside train/ but is no split (train, validation, test): move it out of data/source",
    ),
    "folder: a class missing from test": ("folder", add_test("cat"), "class 'dog' has no image in the test split"),
    "folder: a class only in test": (
        "folder",
        add_test("cat", "dog", "emu"),
        "data/source/test/emu is a class without a folder",
    ),
    "folder: classes.txt names others": ("folder", write_file("classes.txt", b"cat\nemu\n"), "they differ in dog, emu"),
    "folder: text named .png": (
        "folder",
        write_file("cat/x.png", b"Dear cat,"),
        "data/source/cat/x.png is not an image, despite its name",
    ),
    "folder: 0 bytes": ("folder", write_file("cat/x.png", b""), "data/source/cat/x.png is empty: delete it, or save it again"),
    "folder: truncate_npz JPEG": (
        "folder",
        write_file("dog/x.jpg", jpeg_bytes()[:-900]),
        "data/source/dog/x.jpg cannot be read as an image (image",
    ),
    "folder: damaged PNG": (
        "folder",
        write_file("dog/x.png", png_of_size(8, 8)),
        "data/source/dog/x.png cannot be read as an image (",
    ),
    "folder: decompression bomb": (
        "folder",
        write_file("cat/x.png", png_of_size(30_000, 30_000)),
        "cat/x.png has more than 89,478,485 pixels",
    ),
    "folder: half a bomb": (
        "folder",
        write_file("cat/x.png", png_of_size(10_000, 10_000)),
        "cat/x.png has more than 89,478,485 pixels",
    ),
    "folder: 12 bits in 16": (
        "folder",
        lambda source: write_12_bit_png(source / "cat/x.png"),
        "cat/x.png has 16 bits per channel, but no value above 4,095: it looks like 12-bit data",
    ),
    "folder: a file linked to elsewhere": ("folder", link_outside("cat/x.png"), "data/source/cat/x.png is a link that leaves"),
    "folder: a class linked to elsewhere": ("folder", link_outside("emu"), "data/source/emu is a link that leaves"),
    "folder: a link to nothing": (
        "folder",
        lambda source: (source / "cat/x.png").symlink_to("gone.png"),
        "data/source/cat/x.png is a link to gone.png, which does not exist: put it there, or delete such links: find -L",
    ),
    "folder: newline in a name": (
        "folder",
        write_file("cat/a\nb.png", b""),
        r"data/source/cat holds 'a\nb.png', a name that cannot be",
    ),
    "folder: newline in a class": (
        "folder",
        lambda source: (source / "a\nb").mkdir(),
        r"data/source holds 'a\nb', a name that",
    ),
    "folder: a name not UTF-8": (
        "folder",
        lambda source: open(os.fsencode(source / "cat") + b"/\xff.png", "wb").close(),  # noqa: PTH123
        r"data/source/cat holds '\udcff.png', a name that is not UTF-8: rename it",
    ),
}


@pytest.fixture(autouse=True)
def _own_signals() -> Iterator[None]:
    """Restore SIGTERM, which the command line handles its own way."""
    handler = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, handler)


def ingest(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> int | str | None:
    """Run `python -m pipeline ingest` in this process; return its exit code."""
    monkeypatch.chdir(workspace.root)
    monkeypatch.setattr(sys, "argv", ["pipeline", "ingest"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code


@pytest.mark.parametrize("kind", WRITERS)
def test_the_data_that_the_cases_damage_is_valid(workspace: Workspace, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    set_up(workspace, kind)
    assert ingest(workspace, monkeypatch) == 0
    assert dataset.read(workspace.dataset).description.name == "pets"


@pytest.mark.parametrize("earlier", [False, True], ids=["first time", "after good data"])
@pytest.mark.parametrize(("kind", "damage", "line"), CASES.values(), ids=CASES)
def test_bad_data_is_one_line_and_leaves_nothing(
    workspace: Workspace,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    kind: str,
    damage: Damage,
    line: str,
    earlier: bool,
) -> None:
    source = set_up(workspace, kind)
    if earlier:
        assert ingest(workspace, monkeypatch) == 0
    before = outputs(workspace)
    damage(source)
    capsys.readouterr()
    assert ingest(workspace, monkeypatch) == 1
    printed = capsys.readouterr().err
    assert printed.startswith("error: ")
    assert printed.count("\n") == 1
    assert line in printed.replace(f"{workspace.root}/", "")
    assert outputs(workspace) == before
    assert not list(workspace.root.rglob("*.part*"))
    assert workspace.dataset.exists() == earlier
