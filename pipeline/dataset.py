"""The data set on disk: memory-mapped arrays per split and `dataset.json`, written by ingest, read by every later stage.

    data/dataset/{train,validation,test}/images.npy         uint8 (n, height, width, channels), 0-255
                                         labels.npy         int32 (n,), 0 … classes - 1
                                         source_index.npy   int32 (n,), row in the source
                                         files.txt          n lines, the file of each row; only for data that came as files
    data/dataset/dataset.json                               a Description; equal inputs give equal bytes

Arrays are memory-mapped, so a data set larger than memory costs page cache, not memory.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, with_config

from pipeline.errors import DatasetError
from pipeline.restore import way_back
from pipeline.workspace import read_json, sha256

SplitName = Literal["train", "validation", "test"]
SPLITS: tuple[SplitName, ...] = get_args(SplitName)
FILES = "files.txt"
_DTYPES = {"images": np.uint8, "labels": np.int32, "source_index": np.int32}


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True)
class SourceFile:
    """A file that the data came from."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Split:
    """One split's arrays, row for row."""

    images: NDArray[np.uint8]  # (n, height, width, channels), 0-255
    labels: NDArray[np.int32]  # (n,), 0 … classes - 1
    source_index: NDArray[np.int32]  # (n,), row in the source

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def digests(self) -> NDArray[np.uint64]:
        """A digest of each image's bytes, `(n,)`: BLAKE2b of 8 bytes, little-endian.

        64 bits: among 1,000,000 different images, a chance of 3e-8 that two look equal.
        """
        digests = (hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=8).digest() for image in self.images)
        return np.frombuffer(b"".join(digests), "<u8").astype(np.uint64)


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True)
class Description:
    """The content of dataset.json."""

    name: str
    image_shape: tuple[int, int, int]  # height, width, channels, in pixels
    class_names: tuple[str, ...]
    counts: Mapping[SplitName, int]
    sources: tuple[SourceFile, ...]
    digest: str  # SHA-256 over names, shapes and every array
    files: Mapping[str, str] = field(default_factory=dict)  # path below data/dataset → SHA-256, so that a damaged one is named

    @property
    def classes(self) -> int:
        """The number of classes."""
        return len(self.class_names)


@dataclass(frozen=True)
class Dataset:
    """A described data set with its three splits."""

    description: Description
    train: Split
    validation: Split
    test: Split

    def splits(self) -> Mapping[SplitName, Split]:
        """Return the three splits by name, in the order train, validation, test."""
        return {"train": self.train, "validation": self.validation, "test": self.test}


def write_split(
    folder: Path,
    images: Iterable[NDArray[np.uint8]],
    shape: tuple[int, ...],
    labels: NDArray[np.integer[Any]],
    source_index: NDArray[np.int32],
    files: Sequence[str] | None = None,
) -> None:
    """Write the arrays of one split.

    The arrays are written, not memory-mapped: on a full disk a write raises, a memory map crashes (SIGBUS).

    Args:
        folder: Is created.
        images: uint8 parts `(any, height, width, channels)`, consumed one at a time to bound memory.
        shape: Shape of all parts together, `(n, height, width, channels)`.
        labels: Any integers `(n,)`, written as int32.
        source_index: `(n,)`.
        files: The name of each row's file, without line breaks.
    """
    folder.mkdir(parents=True)
    with (folder / "images.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        for part in images:
            file.write(np.ascontiguousarray(part, dtype=np.uint8).data)
    for part_name, array in {"labels": labels, "source_index": source_index}.items():
        np.save(folder / f"{part_name}.npy", np.ascontiguousarray(array, dtype=_DTYPES[part_name]), allow_pickle=False)
    if files is not None:
        (folder / FILES).write_bytes("".join(f"{name}\n" for name in files).encode())


def file_names(folder: Path) -> Mapping[SplitName, tuple[str, ...]] | None:
    """Return the name of each row's file in the source, per split; None for data that did not come as image files."""
    if not (folder / SPLITS[0] / FILES).is_file():
        return None
    return {name: tuple((folder / name / FILES).read_text(encoding="utf-8").split("\n")[:-1]) for name in SPLITS}


def seal(folder: Path, name: str, class_names: tuple[str, ...], sources: tuple[SourceFile, ...]) -> Description:
    """Write dataset.json beside the splits in `folder`, and return its content."""
    digest, shapes = _content(folder, name, class_names)
    height, width, channels = shapes["train/images"][1:]
    counts = {split: shapes[f"{split}/labels"][0] for split in SPLITS}
    description = Description(name, (height, width, channels), class_names, counts, sources, digest, _digests(folder))
    (folder / "dataset.json").write_text(json.dumps(asdict(description), indent=2) + "\n", encoding="utf-8")
    return description


def content_digest(folder: Path) -> str:
    """Return the digest of the arrays in `folder`, computed from their bytes.

    Raises:
        DatasetError: a file is missing, or is not what ingest wrote.
    """
    description = read(folder).description
    return _content(folder, description.name, description.class_names)[0]


def test_digest(data: Dataset) -> str:
    """Return the SHA-256 over image shape, images and labels of the test split: equal for models judged on equal images."""
    digest = hashlib.sha256(f"test{data.description.image_shape}{len(data.test)}".encode())
    digest.update(np.ascontiguousarray(data.test.images).data)
    digest.update(np.ascontiguousarray(data.test.labels, dtype="<i4").data)
    return digest.hexdigest()


def trained_on(data: Dataset) -> NDArray[np.uint64]:
    """Return the digests of the images that a model of `data` is fitted or tuned on, sorted, each once."""
    return np.union1d(data.train.digests, data.validation.digests)


def unseen(data: Dataset, trained: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Return which test images a model that was trained on the images `trained` (digests) has not seen, `(n,)`.

    An image that `data` holds in its training or validation split too is none that such a model has an advantage on: every
    model of `data` has seen it, and validate reports it.
    """
    seen_elsewhere = np.setdiff1d(trained, trained_on(data), assume_unique=True)
    unseen: NDArray[np.bool_] = ~np.isin(data.test.digests, seen_elsewhere)
    return unseen


def read_checked(folder: Path) -> Dataset:
    """Return what `read` does, after a look at every byte: DVC does not see what changed on disk while size and time stayed.

    Raises:
        DatasetError: as `read`, or a file is not the one that ingest wrote; the line names it and how to restore it.
    """
    data = read(folder)
    description, names = data.description, (f"{split}/{FILES}" for split in SPLITS)
    as_written = all(sha256(folder / name) == description.files[name] for name in names if name in description.files)
    if not as_written or content_digest(folder) != description.digest:
        here = _digests(folder)
        damaged = [name for name, digest in description.files.items() if here.get(name) != digest] or ["dataset.json"]
        place = f"{folder.parent.name}/{folder.name}"
        found = ", ".join(f"{place}/{name}" for name in damaged) if description.files else place
        raise DatasetError(f"{found} changed on disk since ingest wrote it: {way_back(folder, 'ingest')}")
    return data


def _digests(folder: Path) -> Mapping[str, str]:
    """Return the SHA-256 of each file of the splits in `folder`, by its path in there."""
    paths = (path for split in SPLITS for path in sorted((folder / split).iterdir()))
    return {path.relative_to(folder).as_posix(): sha256(path) for path in paths}


def _content(folder: Path, name: str, class_names: tuple[str, ...]) -> tuple[str, Mapping[str, tuple[int, ...]]]:
    """Return the SHA-256 over names, shapes and every array, and the shape of each array."""
    digest = hashlib.sha256(json.dumps([name, *class_names]).encode())
    parts = [f"{split}/{part}" for split in SPLITS for part in _DTYPES]
    shapes = {part: _add_to(digest, folder / f"{part}.npy", part) for part in parts}
    return digest.hexdigest(), shapes


def _add_to(digest: "hashlib._Hash", path: Path, name: str) -> tuple[int, ...]:
    """Add name, shape and values of an array on disk to `digest`, block by block; return the shape."""
    with path.open("rb") as file:
        np.lib.format.read_magic(file)
        shape, _, _ = np.lib.format.read_array_header_1_0(file)
        digest.update(f"{name}{shape}".encode())
        hashlib.file_digest(file, lambda: digest)
    return shape


def describe(folder: Path) -> Description:
    """Return the content of dataset.json in `folder`.

    Raises:
        DatasetError: the file is not what ingest wrote.
    """
    path = folder / "dataset.json"
    try:
        return read_json(Description, path)
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path} is not what ingest writes ({error}): {way_back(folder, 'ingest')}") from None


def read(folder: Path) -> Dataset:
    """Return the data set in `folder`, its arrays memory-mapped and read-only.

    Raises:
        DatasetError: a file is missing, or its shape or type is not what dataset.json says.
    """
    description = describe(folder)
    train, validation, test = (_read_split(folder / name, description.counts[name], description) for name in SPLITS)
    return Dataset(description, train, validation, test)


def _read_split(folder: Path, count: int, description: Description) -> Split:
    shapes = {"images": (count, *description.image_shape), "labels": (count,), "source_index": (count,)}
    arrays = {}
    for part, dtype in _DTYPES.items():
        path = folder / f"{part}.npy"
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise DatasetError(f"{path} cannot be read ({error}): {way_back(folder.parent, 'ingest')}") from None
        if array.shape != shapes[part] or array.dtype != dtype or not array.flags.c_contiguous:
            order = "" if array.flags.c_contiguous else " by columns"
            raise DatasetError(
                f"{path} holds {array.dtype} {array.shape}{order}, dataset.json says {np.dtype(dtype)} {shapes[part]}: "
                f"{way_back(folder.parent, 'ingest')}"
            )
        arrays[part] = array
    return Split(**arrays)
