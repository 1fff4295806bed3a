import gzip
import time
import tracemalloc
from pathlib import Path

import pytest

from pipeline.errors import SourceError
from pipeline.ingest import idx
from pipeline.ingest.images import Arrays
from tests.ingest.sources import gzip_bomb

IMAGES = bytes.fromhex("00000803 00000002 00000002 00000003 000102030405 fafbfcfdfeff")  # two images of 2×3 pixels
LABELS = bytes.fromhex("00000801 00000002 0100")


def packed(path: Path, content: bytes) -> Path:
    path.write_bytes(gzip.compress(content, mtime=0))
    return path


def test_images_and_labels_are_read_byte_for_byte(tmp_path: Path) -> None:
    images, labels = packed(tmp_path / "images.gz", IMAGES), packed(tmp_path / "labels.gz", LABELS)
    training = idx.read_four((images, labels, images, labels), ("a", "b"), tmp_path).training
    assert isinstance(training, Arrays)
    assert (training.images.shape, training.images.dtype.name, training.labels.dtype.name) == ((2, 2, 3, 1), "uint8", "uint8")
    assert training.images[..., 0].tolist() == [[[0, 1, 2], [3, 4, 5]], [[250, 251, 252], [253, 254, 255]]]
    assert training.labels.tolist() == [1, 0]


WHOLE = gzip.compress(IMAGES, mtime=0)
BAD = {
    "cut in the middle": (WHOLE[:20], "is truncated: its gzip stream has no end"),
    "cut in the checksum": (WHOLE[:-3], "is truncated: its gzip stream has no end"),
    "no byte at all": (b"", r"starts with the bytes \(none\) instead of 00 00 08 03"),
    "bit flip in the checksum": (WHOLE[:-8] + bytes([WHOLE[-8] ^ 1]) + WHOLE[-7:], r"is not an intact gzip file \(CRC"),
    "bit flip in the data": (WHOLE[:11] + bytes([WHOLE[11] ^ 0x40]) + WHOLE[12:], "is not an intact gzip file"),
    "not gzip": (IMAGES, r"is not an intact gzip file \(Not a gzipped file"),
    "bytes after the gzip stream": (WHOLE + b"more", r"is not an intact gzip file \(Not a gzipped file"),
    "labels, not images": (gzip.compress(LABELS), "starts with the bytes 00 00 08 01 instead of 00 00 08 03"),
    "floats, not bytes": (gzip.compress(b"\0\0\x0d\3" + IMAGES[4:]), "starts with the bytes 00 00 0d 03 instead of"),
    "first byte not zero": (gzip.compress(b"\1" + IMAGES[1:]), "starts with the bytes 01 00 08 03 instead of"),
    "header cut": (gzip.compress(IMAGES[:10]), "ends inside its header, after 10 bytes"),
    "one byte short": (gzip.compress(IMAGES[:-1]), "promises 12 bytes and holds only 11"),
    "one byte more": (gzip.compress(IMAGES + b"\0"), "promises 12 bytes and holds more"),
    "a second gzip stream": (WHOLE + gzip.compress(b"\0"), "promises 12 bytes and holds more"),
    "header promises terabytes": (
        gzip.compress(IMAGES[:4] + b"\xff" * 12 + b"\0"),
        "promises .* bytes and holds only 1",
    ),
    "no images": (gzip.compress(b"\0\0\x08\3" + bytes(12)), "is empty: its header says 0 × 0 × 0"),
}


@pytest.mark.parametrize(("content", "problem"), BAD.values(), ids=BAD)
def test_file_that_is_not_exactly_idx_is_named_with_its_defect(tmp_path: Path, content: bytes, problem: str) -> None:
    (tmp_path / "images.gz").write_bytes(content)
    with pytest.raises(SourceError, match=rf"images\.gz {problem}") as raised:
        idx.read_array(tmp_path / "images.gz", 3, tmp_path)
    assert "\n" not in str(raised.value)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"images\.gz cannot be read \(No such file or directory\)"):
        idx.read_array(tmp_path / "images.gz", 3, tmp_path)


def test_labels_of_other_images_are_refused(tmp_path: Path) -> None:
    images, other = packed(tmp_path / "images.gz", IMAGES), packed(tmp_path / "labels.gz", b"\0\0\x08\1\0\0\0\3\1\0\0")
    with pytest.raises(SourceError, match=r"images\.gz holds 2 images, but .*labels\.gz 3 labels"):
        idx.read_four((images, other, images, other), ("a", "b"), tmp_path)


def test_a_plain_file_is_read_in_place(tmp_path: Path) -> None:
    (tmp_path / "images").write_bytes(IMAGES)
    assert idx.read_array(tmp_path / "images", 3, tmp_path / "not there").ravel().tolist() == [*range(6), *range(250, 256)]


@pytest.mark.parametrize(
    "names",
    [
        ["train-images-idx3-ubyte", "train-labels-idx1-ubyte.gz", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"],
        ["train-images.idx3-ubyte", "train-labels.idx1-ubyte", "t10k-images.idx3-ubyte", "t10k-labels.idx1-ubyte"],
        [
            f"emnist-letters-{part}-idx{n}-ubyte.gz"
            for s in ("train", "test")
            for part, n in ((f"{s}-images", 3), (f"{s}-labels", 1))
        ],
        ["kmnist_train-images-idx3-ubyte", "train-labels-idx1-ubyte", "test-images-idx3-ubyte", "test-labels-idx1-ubyte"],
    ],
)
def test_the_four_files_are_found_under_their_usual_names(tmp_path: Path, names: list[str]) -> None:
    for name in (*names, "README.md", "train-images-idx3-ubyte.zip"):
        (tmp_path / name).touch()
    assert [path.name for path in idx.find(tmp_path)] == names


def test_a_gzip_bomb_is_read_no_further_than_its_header_promises(tmp_path: Path) -> None:
    content = gzip_bomb(gigabytes=10)
    assert 9_000_000 < len(content) < 12_000_000
    (tmp_path / "images.gz").write_bytes(content)
    tracemalloc.start()
    start = time.perf_counter()
    with pytest.raises(SourceError, match="promises 2,560 bytes and holds more"):
        idx.read_array(tmp_path / "images.gz", 3, tmp_path)
    seconds, (_, peak) = time.perf_counter() - start, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seconds < 2  # unpacking all of it took 53
    assert peak < 5_000_000  # bytes
