"""Everything that can be wrong with folders: the damage, and the one line that the user sees; see test_bad_input.py."""

import os
import shutil
from collections.abc import Mapping

from tests.ingest.sources import (
    Damage,
    add_beside_train,
    add_test,
    jpeg_bytes,
    keep_images,
    keep_only,
    link_outside,
    png_of_size,
    replace_by_file,
    write_12_bit_png,
    write_file,
)

# id: kind of the valid data, what damages it, the line after "error: "
CASES: Mapping[str, tuple[str, Damage, str]] = {
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
