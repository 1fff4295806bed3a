"""Valid sources for the three readers, and functions that damage what is in data/source."""

import gzip
import io
import shutil
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.workspace import Workspace

PROJECT = Path(__file__).parents[2]
Damage = Callable[[Path], object]  # a function that changes data/source
IMAGES_FILE, LABELS_FILE = "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"


def idx_bytes(array: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], code: int = 8) -> bytes:
    return bytes([0, 0, code, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


IMAGES = np.random.default_rng(0).integers(256, size=(40, 8, 8), dtype=np.uint8)
PHOTOS = np.random.default_rng(1).integers(256, size=(60, 8, 8), dtype=np.uint8)  # for `folder`
LABELS = np.tile(np.arange(2, dtype=np.uint8), 20)
WHOLE = gzip.compress(idx_bytes(IMAGES), mtime=0)


def write_idx(source: Path) -> None:
    for split in ("train", "t10k"):
        (source / f"{split}-images-idx3-ubyte.gz").write_bytes(WHOLE)
        (source / f"{split}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx_bytes(LABELS)))


def write_npz(source: Path, **changed: object) -> None:
    arrays = {"x_train": IMAGES, "y_train": LABELS, "x_test": IMAGES, "y_test": LABELS, **changed}
    np.savez(source / "pets.npz", **{name: array for name, array in arrays.items() if array is not None})  # type: ignore[arg-type]


def write_folder(source: Path) -> None:
    for label, name in enumerate(("cat", "dog")):
        (source / name).mkdir(parents=True)
        for number, image in enumerate(PHOTOS[label::2]):
            Image.fromarray(image).save(source / name / f"{number:02}.png")


WRITERS: Mapping[str, Damage] = {"idx": write_idx, "npz": write_npz, "folder": write_folder}


def write_file(name: str, content: bytes) -> Damage:
    return lambda source: (source / name).write_bytes(content)


def write_gzip(name: str, content: bytes) -> Damage:
    return write_file(name, gzip.compress(content))


def gzip_bomb(gigabytes: int) -> bytes:
    """Return intact gzip of the valid images followed by that many gigabytes of zeros, about 1 MB each."""
    return WHOLE + gzip.compress(bytes(10_000_000), 9, mtime=0) * (100 * gigabytes)


def flip_bit(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 0x40]) + content[place + 1 :]


def png_of_size(width: int, height: int) -> bytes:
    """Return a PNG with this size in its header and no pixels."""
    header = b"IHDR" + width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 0, 0, 0, 0])
    chunk = len(header[4:]).to_bytes(4, "big") + header + zlib.crc32(header).to_bytes(4, "big")
    return b"\x89PNG\r\n\x1a\n" + chunk + (0).to_bytes(4, "big") + b"IDAT" + zlib.crc32(b"IDAT").to_bytes(4, "big")


def png_16(pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint16]]) -> bytes:
    """Return a PNG of 16 bits per channel, `(height, width, 1 to 4 channels)`; Pillow can write only grey ones."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")

    height, width, channels = pixels.shape
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([16, (0, 4, 2, 6)[channels - 1], 0, 0, 0])
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def jpeg_bytes() -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.tile(IMAGES[0], (20, 20))).save(stream, "JPEG")
    return stream.getvalue()


def write_12_bit_png(path: Path) -> None:
    Image.fromarray(np.full((8, 8), 4095, np.uint16)).save(path)


def npz_with(**changed: object) -> Damage:
    return lambda source: write_npz(source, **changed)


def truncate_npz(source: Path) -> None:
    path = source / "pets.npz"
    path.write_bytes(path.read_bytes()[:-30])


def flip_bit_in_npz(source: Path) -> None:
    path = source / "pets.npz"
    content = path.read_bytes()
    path.write_bytes(flip_bit(content, content.index(IMAGES[3].tobytes())))


def promise_more_in_npz(source: Path) -> None:
    content = io.BytesIO()
    np.lib.format.write_array_header_1_0(content, {"descr": "|u1", "fortran_order": False, "shape": (10**6, 8, 8)})
    with zipfile.ZipFile(source / "pets.npz") as old:
        kept = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(source / "pets.npz", "w") as new:
        for name, member in kept.items():
            new.writestr(name, content.getvalue() if name == "x_train.npy" else member)


def write_npz_header(source: Path, header: bytes) -> None:
    """Write arrays of which x_train has another header."""
    write_npz(source)
    with zipfile.ZipFile(source / "pets.npz") as old:
        kept = {name: old.read(name) for name in old.namelist()}
    kept["x_train.npy"] = b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header
    with zipfile.ZipFile(source / "pets.npz", "w") as new:
        for name, member in kept.items():
            new.writestr(name, member)


def keep_only(name: str) -> Damage:
    def delete_others(source: Path) -> None:
        for path in source.iterdir():
            if path.name != name:
                shutil.rmtree(path)

    return delete_others


def replace_by_file(source: Path) -> None:
    shutil.rmtree(source)
    source.touch()


def keep_images(count: int) -> Damage:
    def delete_the_rest(source: Path) -> None:
        for path in sorted((source / "dog").iterdir())[count:]:
            path.unlink()

    return delete_the_rest


def link_outside(name: str) -> Damage:
    def link(source: Path) -> None:
        (source.parent / "elsewhere").mkdir()
        Image.fromarray(IMAGES[0]).save(source.parent / "elsewhere" / "x.png")
        (source / name).symlink_to(source.parent / "elsewhere" / ("x.png" if name.endswith("png") else ""))

    return link


def move_into_train(source: Path) -> None:
    (source / "train").mkdir()
    for name in ("cat", "dog"):
        (source / name).rename(source / "train" / name)


def add_test(*names: str) -> Damage:
    def add(source: Path) -> None:
        move_into_train(source)
        for name in names:
            shutil.copytree(source / "train/cat", source / "test" / name)

    return add


def add_beside_train(name: str) -> Damage:
    def add(source: Path) -> None:
        move_into_train(source)
        (source / name).mkdir()

    return add


HUGE = b"\0\0\x08\3" + np.array([2**32 - 1] * 3, ">u4").tobytes()
FLOAT = IMAGES.astype(np.float32) / 255
WITH_NAN = np.where(IMAGES > 250, np.nan, FLOAT)


def set_up(workspace: Workspace, kind: str) -> Path:
    """Write a valid data/source of that kind, and params that name it."""
    source = workspace.root / "data/source"
    source.mkdir(parents=True)
    text = (PROJECT / "tests/params.yaml").read_text(encoding="utf-8")
    text = text.replace("dataset: fashion-mnist", f"dataset: {kind}").replace('name: ""', "name: pets")
    workspace.params.write_text(text.replace("image_size: 28", "image_size: 8"), encoding="utf-8")
    WRITERS[kind](source)
    return source


def outputs(workspace: Workspace) -> dict[str, bytes]:
    """Return path → content of what ingest wrote."""
    folders = [workspace.root / "data", workspace.root / "reports"]
    paths = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return {str(path): path.read_bytes() for path in paths if "source" not in path.parts and "elsewhere" not in path.parts}
