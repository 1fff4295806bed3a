"""Everything that can be wrong with four IDX files: the damage, and the one line that the user sees; see test_bad_input.py."""

from collections.abc import Mapping

import numpy as np

from tests.ingest.sources import (
    HUGE,
    IMAGES,
    IMAGES_FILE,
    LABELS,
    LABELS_FILE,
    WHOLE,
    Damage,
    flip_bit,
    gzip_bomb,
    idx_bytes,
    write_file,
    write_gzip,
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
}
