"""A reader of .npz files, or of .npy files in one folder: images and labels as arrays, with or without validation and test.

Arrays are named as Keras (x_train), MedMNIST (train_images, val_labels) and others do it; those without a split are training.
Members are unpacked onto disk, not into memory, and no more of them than their header promises. Python objects in them are
refused by their header: nothing is ever unpickled.
"""

import re
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.dataset import SplitName
from pipeline.errors import SourceError
from pipeline.ingest import arrays
from pipeline.ingest.folder import shallowest
from pipeline.ingest.source import FullError, Source, describe_file, given_class_names, listed, split_of, unpacked
from pipeline.params import IngestParams

SUFFIXES = (".npz", ".npy")
_IMAGES = frozenset({"x", "image", "images", "imgs", "data"})
_LABELS = frozenset({"y", "label", "labels", "target", "targets"})

_Open = Callable[[], IO[bytes]]


def read(source: Path, params: IngestParams, scratch: Path) -> Source:
    """Return the images of the .npz file that `source` is or holds, or of the .npy files in it.

    Raises:
        SourceError: there is no such file or more than one, it is damaged or lacks an array, or an array is invalid.
        OSError: `scratch` cannot be written.
    """
    files = _find(source)
    path = files[0] if len(files) == 1 else files[0].parent
    try:
        with _opened(files) as members:
            parts = {
                split: arrays.Part(
                    _read_member(members[x], f"{path}: {x}", True, scratch),
                    _read_member(members[y], f"{path}: {y}", False, scratch),
                    f"{path}: {x}",
                    f"{path}: {y}",
                )
                for split, (x, y) in _find_parts([*members], path).items()
            }
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise SourceError(f"{path} is not an intact .npz file ({error}). Get the file again") from None
    except FullError:
        raise
    except OSError as error:
        raise SourceError(f"{path} cannot be read ({error.strerror})") from None
    return arrays.to_source(parts, given_class_names(params, source), tuple(map(describe_file, files)), scratch)


def _find(source: Path) -> Sequence[Path]:
    """Return the one .npz file, or the .npy files of one folder."""
    if source.is_file():
        return [source]
    paths = shallowest(source, SUFFIXES)
    together = paths and all(path.suffix == ".npy" and path.parent == paths[0].parent for path in paths)
    if len(paths) == 1 or together:
        return paths
    names = listed([str(path.relative_to(source)) for path in paths], most=5) or "none"
    raise SourceError(f"{source} must hold one .npz file, but holds {names}: put one there, or name it in ingest.source")


@contextmanager
def _opened(files: Sequence[Path]) -> Iterator[Mapping[str, _Open]]:
    """Yield what opens each array, by its name."""
    if files[0].suffix == ".npy":
        yield {path.stem: partial(_open, path) for path in files}
        return
    with zipfile.ZipFile(files[0]) as archive:
        names = [name for name in archive.namelist() if name.endswith(".npy")]
        yield {Path(name).stem: partial(archive.open, name) for name in names}


def _open(path: Path) -> IO[bytes]:
    return path.open("rb")


def _find_parts(names: list[str], path: Path) -> Mapping[SplitName, tuple[str, str]]:
    """Return the names of the arrays of images and of labels of each split; other arrays are not read."""
    found: dict[tuple[SplitName, str], str] = {}
    for name in names:
        words = {*re.split(r"[-_. ]+", name.casefold())}
        if words & (_IMAGES | _LABELS):
            other = found.setdefault((split_of(name) or "train", "x" if words & _IMAGES else "y"), name)
            if other != name:
                raise SourceError(f"{path} has two arrays of the same role, {other} and {name}: remove one")
    splits = dict.fromkeys(("train", *(split for split, _ in found)))
    missing = [f"{role}_{split}" for split in splits for role in "xy" if (split, role) not in found]
    if missing:
        held = ", ".join(names) or "nothing"
        raise SourceError(f"{path} has no {', '.join(missing)}, but {held}: rename the arrays, and save it again")
    return {split: (found[split, "x"], found[split, "y"]) for split in splits}


def _read_member(opened: _Open, where: str, is_images: bool, scratch: Path) -> NDArray[Any]:
    with opened() as stream:
        shape, fortran, dtype = _read_header(stream, where)
        if is_images:
            arrays.check_shape(shape, dtype, where)
        return unpacked(stream, dtype, shape, scratch, where, "F" if fortran else "C")


def _read_header(stream: IO[bytes], where: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return shape, Fortran order and dtype."""
    try:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(stream)
    except (ValueError, SyntaxError, tokenize.TokenError) as error:
        reason = " ".join(str(error).split())
        raise SourceError(f"{where} is not a NumPy array ({reason}). Get the file again") from None
    if not shape or any(size < 1 for size in shape):
        raise SourceError(f"{where} is empty: its shape is {shape}")
    if dtype.hasobject:
        raise SourceError(f"{where} holds Python objects, which are never unpickled: save it as plain integers or text")
    return shape, fortran, dtype
