"""What it costs to look at every byte of data/dataset before it is used, with 70,000 images and with 1.2 million of 28×28.

    .venv/bin/python -m benchmarks.data_at_rest [FOLDER]

The arrays are random and written below FOLDER (default: data/), 1 GB at most. Each size is read twice: the second time from the
page cache, so that the difference is the disk's. The last row is what it takes to name the damaged file.
"""

import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.measure import record
from pipeline import dataset
from pipeline.errors import DatasetError
from pipeline.workspace import Workspace

SIZES = (70_000, 1_200_000)  # images, 28×28 grey: of Fashion-MNIST with its test images, and of ImageNet
BLOCK = 10_000


def main(place: Path) -> None:
    """Measure both sizes, print and store them."""
    figures = []
    for images in SIZES:
        with tempfile.TemporaryDirectory(dir=place) as scratch:
            folder = Path(scratch) / "data/dataset"
            write(folder, images)
            os.sync()
            for file in folder.rglob("*.npy"):
                forget(file)
            megabytes = sum(file.stat().st_size for file in folder.rglob("*.npy")) / 1e6
            for state in ("not in the page cache", "in the page cache", "damaged"):
                if state == "damaged":
                    damage(folder / "train/images.npy")
                seconds = timed(folder)
                rate = 100 * seconds / megabytes
                print(
                    f"{images:>9,} images  {megabytes:6.0f} MB  {state:22} {seconds:6.2f} s  {rate:.3f} s per 100 MB",
                    flush=True,
                )
                row = {"images": images, "megabytes": round(megabytes), "state": state}
                figures.append({**row, "seconds": round(seconds, 2), "rate": round(rate, 3)})
    record("data_at_rest", figures)


def write(folder: Path, images: int) -> None:
    """Write a data set of `images` random images, 10 % of them for validation and 15 % for the test."""
    random = np.random.default_rng(0)

    def parts(count: int) -> "list[NDArray[np.uint8]]":
        sizes = [BLOCK] * (count // BLOCK) + [count % BLOCK]
        return [random.integers(0, 256, (size, 28, 28, 1), np.uint8) for size in sizes]

    validation, test = images // 10, 15 * images // 100
    for name, count in zip(dataset.SPLITS, (images - validation - test, validation, test), strict=True):
        rows = np.arange(count, dtype=np.int32)
        dataset.write_split(folder / name, parts(count), (count, 28, 28, 1), rows % 10, rows)
    dataset.seal(folder, "random", tuple("0123456789"), ())


def forget(file: Path) -> None:
    """Take a file out of the page cache."""
    with file.open("rb") as opened:
        os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def damage(path: Path) -> None:
    """Flip the last bit."""
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_END)
        file.write(bytes([byte ^ 1]))


def timed(folder: Path) -> float:
    """Return the seconds that the checked reading takes."""
    start = time.perf_counter()
    try:
        dataset.read_checked(folder)
    except DatasetError as error:
        print(error)
    return time.perf_counter() - start


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Workspace.find().root / "data")
