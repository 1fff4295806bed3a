"""Picture files in one folder per class: train/<class>/ with or without test/<class>/, or <class>/ at once.

Strict where a slip would be silent: a picture outside the class folders, a folder inside one, a third folder beside train/
and test/, a link to another place. The order is that of the names, so that the same files give the same rows everywhere.
"""

import hashlib
import os
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.dataset import SourceFile
from pipeline.errors import SourceError
from pipeline.ingest import classes
from pipeline.ingest.decode import SUFFIXES
from pipeline.ingest.pictures import Files, on_all_cores

_IGNORED = frozenset({"Thumbs.db", "desktop.ini"})  # and all whose names begin with a dot


@dataclass(frozen=True)
class Folder:
    """What lies in the folder."""

    class_names: tuple[str, ...]
    training: Files
    test: Files | None
    sources: tuple[SourceFile, ...]


def read(source: Path, names: tuple[str, ...]) -> Folder:
    """Lists the pictures under `source` and digests their files; none is decoded yet.

    Args:
        source: The folder.
        names: Those of the class folders in the order of their labels; empty: in alphabetical order.

    Raises:
        SourceError: a file or folder cannot be data, or is missing.
        OSError: something cannot be read.
    """
    trained, tested = _layout(source)
    classes_of = {part: _classes(part, source) for part in (trained, tested) if part is not None}
    found = sorted(classes_of[trained])
    if not found:
        raise SourceError(f"{source} has no class folders: put the pictures of each class into a folder of its own")
    if names and sorted(names) != found:
        other = ", ".join(sorted({*names} ^ {*found}))
        raise SourceError(f"{source}: class_names or {classes.FILE} must name its class folders; they differ in {other}")
    names = classes.usable(names or tuple(found), str(source))
    for name in sorted({*classes_of.get(tested or trained, {})} - {*names}):
        raise SourceError(f"{source}/test/{name} is a class without a folder in train: add one, or delete it")
    _tell_what_is_left_out(source)
    files = {part: _files(pictures, names) for part, pictures in classes_of.items()}
    sources = tuple(_digest(part, source, files[part]) for part in files)
    return Folder(names, files[trained], files[tested] if tested else None, sources)


def _layout(source: Path) -> tuple[Path, Path | None]:
    """The folders that hold the class folders for training and for the test."""
    entries = _entries(source, source)
    for path in entries:
        if path.suffix.lower() in SUFFIXES and path.is_file():
            raise SourceError(f"{path} lies in no class folder: put it into one, or delete it")
    folders = {path.name: path for path in entries if path.is_dir()}
    if "train" not in folders:
        return source, None
    for name in sorted(folders.keys() - {"train", "test"}):
        raise SourceError(f"{folders[name]} lies beside train/: only test/ may; the validation split is cut from train/")
    return folders["train"], folders.get("test")


def _classes(part: Path, source: Path) -> Mapping[str, Sequence[Path]]:
    """Class name → its pictures, in the order of their names."""
    return {path.name: _pictures(path, source) for path in _entries(part, source) if path.is_dir()}


def _pictures(folder: Path, source: Path) -> Sequence[Path]:
    entries = _entries(folder, source)
    for path in entries:
        if path.is_dir():
            raise SourceError(f"{path} is a folder inside a class: put its pictures into {folder.name}/ itself")
    pictures = [path for path in entries if path.suffix.lower() in SUFFIXES]
    if not pictures:
        raise SourceError(f"{folder} holds no picture: add some, or delete the folder")
    return pictures


def _entries(folder: Path, source: Path) -> list[Path]:
    """What lies in `folder`, by name; each may be in `source` only, and have a name that fits on a line."""
    found = sorted((Path(entry.path) for entry in os.scandir(folder)), key=lambda path: os.fsencode(path.name))
    kept = [path for path in found if not path.name.startswith(".") and path.name not in _IGNORED]
    for path in kept:
        if not path.name.isprintable():  # control characters, and what is not UTF-8
            raise SourceError(f"{folder} holds {path.name!a}, a name that cannot be printed: rename it")
        if path.is_symlink() and not path.resolve().is_relative_to(source.resolve()):
            raise SourceError(f"{path} is a link that leaves {source}: copy what it points to")
    return kept


def _files(pictures: Mapping[str, Sequence[Path]], names: tuple[str, ...]) -> Files:
    paths = [path for name in names for path in pictures.get(name, ())]
    labels = np.repeat(np.arange(len(names), dtype=np.int32), [len(pictures.get(name, ())) for name in names])
    return Files(paths, labels, on_all_cores(_sha256, paths))


def _sha256(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _digest(part: Path, source: Path, files: Files) -> SourceFile:
    """All files of one part as one: thousands of lines in dataset.json would help nobody."""
    whole = hashlib.sha256()
    for path, digest in zip(files.paths, files.digests, strict=True):
        whole.update(digest + os.fsencode(path.relative_to(part)) + b"\n")
    size = sum(path.stat().st_size for path in files.paths)
    return SourceFile("pictures" if part == source else part.name, size, whole.hexdigest())


def _tell_what_is_left_out(source: Path) -> None:
    """Said once, since somebody may expect the format to be read."""
    names = [Path(name) for _, _, files in os.walk(source) for name in files if not name.startswith(".")]
    others = Counter(
        name.suffix.lower() or name.name
        for name in names
        if name.suffix.lower() not in {*SUFFIXES, ".md"} and name.name not in {*_IGNORED, classes.FILE}
    )
    if others:
        kinds = ", ".join(f"{count} {suffix}" for suffix, count in sorted(others.items()))
        print(f"{source}: left out, because they are no pictures: {kinds}", file=sys.stderr)
