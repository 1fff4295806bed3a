"""Everything that can be wrong with .npz files: the damage, and the one line that the user sees; see test_bad_input.py."""

from collections.abc import Mapping

import numpy as np

from tests.ingest.sources import (
    FLOAT,
    IMAGES,
    LABELS,
    WITH_NAN,
    Damage,
    flip_bit_in_npz,
    npz_with,
    promise_more_in_npz,
    truncate_npz,
    write_file,
    write_npz_header,
)

# id: kind of the valid data, what damages it, the line after "error: "
CASES: Mapping[str, tuple[str, Damage, str]] = {
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
}
