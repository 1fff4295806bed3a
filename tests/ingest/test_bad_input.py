"""What can go wrong with the data, as one table: what is there, and the one line that the user sees.

Each case runs the stage as the command line does. Then data/dataset is what it was before, and nothing lies beside it. What
only a download can meet (dead and refusing hosts, a cut transfer, HTML in place of data, silence, wrong checksums) is in
test_download.py and test_transfer.py; what the machine does (rights, room, two at once) in test_machine.py.
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
from tests.ingest.damage import (
    FLOAT,
    GOOD,
    HUGE,
    IMAGES,
    LABELS,
    NUMBERS,
    PICTURES,
    WHOLE,
    WITH_NAN,
    Break,
    a_file_instead,
    beside_train,
    bomb,
    deep,
    few,
    file,
    flipped,
    idx_bytes,
    jpeg,
    npz,
    npz_that_promises_more,
    npz_with_flip,
    only,
    outputs,
    outside,
    packed,
    png_of,
    renamed,
    set_up,
    truncated,
    with_test,
)

# id: what the good data is, what is done to it, the line after "error: "
CASES: Mapping[str, tuple[str, Break, str]] = {
    "idx: a file is missing": (
        "idx",
        lambda source: (source / LABELS).unlink(),
        "data/source has no train labels: it needs four files, named as MNIST's, such as train-labels-idx1-ubyte.gz",
    ),
    "idx: a file is there twice": (
        "idx",
        file(IMAGES[:-3], b""),
        f"data/source has two files of the train images, {IMAGES[:-3]}",
    ),
    "idx: truncated gzip": ("idx", file(IMAGES, WHOLE[:-900]), f"{IMAGES} is truncated: its gzip stream has no end"),
    "idx: bit flip in the middle": (
        "idx",
        file(IMAGES, flipped(WHOLE, len(WHOLE) // 2)),
        f"{IMAGES} is not an intact gzip file",
    ),
    "idx: not gzip": ("idx", file(IMAGES, idx_bytes(PICTURES)), f"{IMAGES} is not an intact gzip file (Not a gzipped file"),
    "idx: gzip without saying so": (
        "idx",
        lambda source: (source / IMAGES).rename(source / IMAGES[:-3]),
        "is not an IDX file of unsigned bytes in 3 dimensions (it is gzip: its name should end in .gz)",
    ),
    "idx: wrong magic": (
        "idx",
        packed(IMAGES, b"\1\2" + idx_bytes(PICTURES)[2:]),
        f"{IMAGES} starts with the bytes 01 02 08 03",
    ),
    "idx: floats": ("idx", packed(IMAGES, idx_bytes(PICTURES, 0x0D)), f"{IMAGES} starts with the bytes 00 00 0d 03 instead of"),
    "idx: float labels": (
        "idx",
        packed(LABELS, idx_bytes(NUMBERS, 0x0D)),
        f"{LABELS} starts with the bytes 00 00 0d 01 instead",
    ),
    "idx: 2 dimensions": (
        "idx",
        packed(IMAGES, idx_bytes(PICTURES[0])),
        f"{IMAGES} starts with the bytes 00 00 08 02 instead of",
    ),
    "idx: 4 dimensions": (
        "idx",
        packed(IMAGES, idx_bytes(PICTURES[None])),
        f"{IMAGES} starts with the bytes 00 00 08 04 instead",
    ),
    "idx: dimensions × size overflow": ("idx", packed(IMAGES, HUGE), "4,294,967,295 × 4,294,967,295 × 4,294,967,295 ="),
    "idx: one byte short": ("idx", packed(IMAGES, idx_bytes(PICTURES)[:-1]), "= 2,560 bytes and holds only 2,559"),
    "idx: trailing bytes": ("idx", packed(IMAGES, idx_bytes(PICTURES) + b"\0"), "= 2,560 bytes and holds more"),
    "idx: plain and short": (
        "idx",
        lambda source: (source / IMAGES).rename(source / IMAGES[:-3]).write_bytes(idx_bytes(PICTURES)[:-1]),
        "= 2,560 bytes and holds only 2,559. Get the file again",
    ),
    "idx: gzip bomb": ("idx", lambda source: (source / IMAGES).write_bytes(bomb(gigabytes=10)), "= 2,560 bytes and holds more"),
    "idx: header cut": ("idx", packed(IMAGES, idx_bytes(PICTURES)[:9]), f"{IMAGES} ends inside its header, after 9 bytes"),
    "idx: no pictures": ("idx", packed(IMAGES, idx_bytes(PICTURES[:0])), f"{IMAGES} is empty: its header says 0 × 8 × 8"),
    "idx: counts differ": ("idx", packed(LABELS, idx_bytes(NUMBERS[:39])), "holds 40 pictures, but "),
    "idx: one class only": ("idx", packed(LABELS, idx_bytes(NUMBERS * 0)), f"{LABELS} holds one class only, '0'"),
    "idx: test label without a class": (
        "idx",
        packed("t10k-labels-idx1-ubyte.gz", idx_bytes(NUMBERS + np.uint8(1))),
        "t10k-labels-idx1-ubyte.gz: label 2 in row 1; the 2 classes are 0 … 1",
    ),
    "idx: label beyond classes.txt": (
        "idx",
        lambda source: ((source / "classes.txt").write_text("cat\ndog"), packed(LABELS, idx_bytes(NUMBERS * 9))(source)),
        f"{LABELS}: label 9 in row 1; the 2 classes are 0 … 1",
    ),
    "idx: a class without pictures": (
        "idx",
        packed(LABELS, idx_bytes(NUMBERS * 2)),
        "class '1' has no picture in the train split",
    ),
    "classes.txt: a name that is taken": (
        "idx",
        file("classes.txt", b"cat\nlabel\n"),
        f"{LABELS} has a class 'label', which is a column of the evaluation's tables already: rename it",
    ),
    "classes.txt: a name twice": ("idx", file("classes.txt", b"cat\ncat\n"), "data/source/classes.txt holds 'cat' twice"),
    "classes.txt: not UTF-8": ("idx", file("classes.txt", b"cat\ndog\xff"), "data/source/classes.txt is not UTF-8 at byte 7"),
    "npz: none": ("npz", lambda source: (source / "pets.npz").unlink(), "data/source must hold one .npz file, but holds none"),
    "npz: two": ("npz", file("more.npz", b""), "data/source must hold one .npz file, but holds more.npz, pets.npz"),
    "npz: no zip": ("npz", file("pets.npz", b"text"), "pets.npz is not an intact .npz file (File is not a zip file)"),
    "npz: truncated": ("npz", truncated, "pets.npz is not an intact .npz file"),
    "npz: bit flip": ("npz", npz_with_flip, "pets.npz is not an intact .npz file (Bad CRC-32"),
    "npz: a key is missing": ("npz", npz(x_test=None), "pets.npz has no x_test, but x_train, y_train, y_test"),
    "npz: pickled objects": (
        "npz",
        npz(y_train=np.array([{}] * 40, object)),
        "pets.npz: y_train holds Python objects, which are never unpickled",
    ),
    "npz: float pictures": ("npz", npz(x_train=FLOAT), "pets.npz: x_train holds float32: pictures must be uint8, 0-255"),
    "npz: NaN": ("npz", npz(x_test=WITH_NAN), "pets.npz: x_test holds float32: pictures must be uint8, 0-255"),
    "npz: float labels": ("npz", npz(y_train=NUMBERS * 1.0), "pets.npz: y_train holds float64: labels must be integers"),
    "npz: one-hot labels": (
        "npz",
        npz(y_test=np.eye(2, dtype=int)[NUMBERS]),
        "y_test has the shape (40, 2): labels must be (n,)",
    ),
    "npz: channels first": (
        "npz",
        npz(x_train=np.zeros((40, 3, 8, 8), np.uint8)),
        "x_train has the shape (40, 3, 8, 8): it must be",
    ),
    "npz: no pictures": ("npz", npz(x_train=PICTURES[:0]), "pets.npz: x_train is empty: its shape is (0, 8, 8)"),
    "npz: counts differ": ("npz", npz(y_test=NUMBERS[1:]), "x_test holds 40 pictures, but y_test 39 labels"),
    "npz: sizes differ": ("npz", npz(x_test=PICTURES[:, 1:]), "x_train holds pictures of (8, 8, 1), x_test of (7, 8, 1)"),
    "npz: negative label": (
        "npz",
        npz(y_train=NUMBERS.astype(int) - 1),
        "pets.npz: y_train: label -1 in row 0; labels are 0 … 1,000",
    ),
    "npz: enormous label": (
        "npz",
        npz(y_train=NUMBERS.astype(int) * 10**9),
        "pets.npz: y_train: label 1000000000 in row 1; labels are 0 …",
    ),
    "npz: promises more than it holds": ("npz", npz_that_promises_more, "x_train promises 64,000,000 bytes and holds only 0"),
    "folder: not there": ("folder", shutil.rmtree, "ingest.source: data/source does not exist: put your data there"),
    "folder: is a file": (
        "folder",
        a_file_instead,
        "ingest.source: data/source is a file: folder needs the folder it lies in",
    ),
    "folder: no classes": ("folder", only("nothing"), "data/source has no class folders"),
    "folder: one class": ("folder", only("cat"), "data/source holds one class only, 'cat': a classifier needs two or more"),
    **{
        f"folder: a class called {name}": (
            "folder",
            renamed("cat", name),
            f"data/source has a class '{name}', which is a column of the evaluation's tables already: rename it",
        )
        for name in sorted(dataset.TAKEN_NAMES)
    },
    "folder: an empty class": ("folder", few(0), "data/source/dog holds no picture: add some, or delete the folder"),
    "folder: one picture of a class": ("folder", few(1), "class 'dog' has no picture in the train split, 1 in all"),
    "folder: a picture of no class": ("folder", file("x.png", b""), "data/source/x.png lies in no class folder"),
    "folder: a folder in a class": (
        "folder",
        lambda source: (source / "cat/old").mkdir(),
        "data/source/cat/old is a folder inside",
    ),
    "folder: a folder beside train": ("folder", beside_train, "data/source/val lies beside train/"),
    "folder: a class missing from test": ("folder", with_test("cat"), "class 'dog' has no picture in the test split"),
    "folder: a class only in test": (
        "folder",
        with_test("cat", "dog", "emu"),
        "data/source/test/emu is a class without a folder",
    ),
    "folder: classes.txt names others": ("folder", file("classes.txt", b"cat\nemu\n"), "they differ in dog, emu"),
    "folder: text named .png": (
        "folder",
        file("cat/x.png", b"Dear cat,"),
        "data/source/cat/x.png is no picture, whatever its name",
    ),
    "folder: 0 bytes": ("folder", file("cat/x.png", b""), "data/source/cat/x.png is empty: delete it, or save it again"),
    "folder: truncated JPEG": (
        "folder",
        file("dog/x.jpg", jpeg()[:-900]),
        "data/source/dog/x.jpg cannot be read as a picture (image",
    ),
    "folder: damaged PNG": ("folder", file("dog/x.png", png_of(8, 8)), "data/source/dog/x.png cannot be read as a picture ("),
    "folder: decompression bomb": (
        "folder",
        file("cat/x.png", png_of(30_000, 30_000)),
        "cat/x.png has more than 89,478,485 pixels",
    ),
    "folder: half a bomb": ("folder", file("cat/x.png", png_of(10_000, 10_000)), "cat/x.png has more than 89,478,485 pixels"),
    "folder: 16 bits": (
        "folder",
        lambda source: deep(source / "cat/x.png"),
        "cat/x.png has pixels of type I;16: save it with 8 bits",
    ),
    "folder: a file linked to elsewhere": ("folder", outside("cat/x.png"), "data/source/cat/x.png is a link that leaves"),
    "folder: a class linked to elsewhere": ("folder", outside("emu"), "data/source/emu is a link that leaves"),
    "folder: a link to nothing": (
        "folder",
        lambda source: (source / "cat/x.png").symlink_to("gone.png"),
        "data/source/cat/x.png cannot be read (No such file or directory)",
    ),
    "folder: newline in a name": (
        "folder",
        file("cat/a\nb.png", b""),
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
        r"data/source/cat holds '\udcff.png', a name that cannot be printed: rename it",
    ),
}


@pytest.fixture(autouse=True)
def _own_signals() -> Iterator[None]:
    """The command line handles SIGTERM its own way."""
    handler = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, handler)


def ingest(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> int | str | None:
    """`python -m pipeline ingest`, in this process; its exit code."""
    monkeypatch.chdir(workspace.root)
    monkeypatch.setattr(sys, "argv", ["pipeline", "ingest"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code


@pytest.mark.parametrize("kind", GOOD)
def test_the_data_that_the_cases_break_is_good(workspace: Workspace, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
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
    damage: Break,
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
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    assert line in said.replace(f"{workspace.root}/", "")
    assert outputs(workspace) == before
    assert not list(workspace.root.rglob("*.part*"))
    assert workspace.dataset.exists() == earlier
