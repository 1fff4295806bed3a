"""The digits that ship inside scikit-learn: 1,797 grey pictures of 8×8 pixels, the fallback that needs no network.

Source: https://archive.ics.uci.edu/dataset/80 (its test part).
"""

import hashlib
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from pipeline.dataset import SourceFile

_FILE = "digits.csv.gz"
_WHITE = 16  # grey levels in the source: 0-16


def read() -> tuple[NDArray[np.uint8], NDArray[np.int32], SourceFile]:
    """Pictures, uint8 `(1797, 8, 8, 1)`, 0-255; labels, int32 `(1797,)`, 0-9; and the file they ship in."""
    from sklearn.datasets import load_digits

    content = load_digits()
    pictures = np.rint(content.images * (255 / _WHITE)).astype(np.uint8)[..., np.newaxis]
    shipped = resources.files("sklearn.datasets.data").joinpath(_FILE).read_bytes()
    source = SourceFile(f"scikit-learn {_FILE}", len(shipped), hashlib.sha256(shipped).hexdigest())
    return pictures, content.target.astype(np.int32), source
