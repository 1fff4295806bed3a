"""A reader of image files in one folder per class: train/<class>/ with or without test/<class>/, or <class>/ at the top.

Strict where a mistake would be silent: an image outside the class folders, a folder inside one, a third folder beside train/
and test/, a link to another place. Files are ordered by name, so that the same files give the same rows everywhere.
"""

import hashlib
import os
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from pipeline.dataset import SourceFile
from pipeline.errors import SourceError
from pipeline.ingest.images import SUFFIXES, Files, on_all_cores
from pipeline.ingest.source import CLASSES_FILE, Source, check_class_names, given_class_names
from pipeline.params import IngestParams
from pipeline.workspace import sha256

_IGNORED = frozenset({"Thumbs.db", "desktop.ini"})  # besides all whose names begin with a dot


def read(source: Path, params: IngestParams, _scratch: Path) -> Source:
    """Return the images in the folder `source`: listed, and their files digested, but not decoded yet.

    Raises:
        SourceError: a file or folder is missing, or cannot be part of a data set.
        OSError: something cannot be read.
    """
    training, test = _find_parts(source)
    classes = {
        part: {path.name: _find_images(path, source) for path in _list(part, source) if path.is_dir()}
        for part in (training, test)
        if part is not None
    }
    found, given = sorted(classes[training]), given_class_names(params, source)
    if not found:
        raise SourceError(f"{source} has no class folders: put the images of each class into a folder of its own")
    if given and sorted(given) != found:
        differ = ", ".join(sorted({*given} ^ {*found}))
        raise SourceError(f"{source}: class_names or {CLASSES_FILE} must name its class folders; they differ in {differ}")
    names = given or tuple(found)
    check_class_names(names, str(source))
    for name in sorted({*classes.get(test or training, {})} - {*names}):
        raise SourceError(f"{source}/test/{name} is a class without a folder in train: add one, or delete it")
    _warn_of_other_files(source)
    files = {part: _digest_files(images, names) for part, images in classes.items()}
    digests = tuple(_summarise(part, source, files[part]) for part in files)
    return Source(names, files[training], files[test] if test else None, digests)


def _find_parts(source: Path) -> tuple[Path, Path | None]:
    """Return the folders that hold the class folders for training and for the test."""
    entries = _list(source, source)
    for path in entries:
        if path.suffix.lower() in SUFFIXES and path.is_file():
            raise SourceError(f"{path} is in no class folder: move it into one, or delete it")
    folders = {path.name: path for path in entries if path.is_dir()}
    if "train" not in folders:
        return source, None
    for name in sorted(folders.keys() - {"train", "test"}):
        raise SourceError(f"{folders[name]} is beside train/: only test/ may be; the validation split is taken from train/")
    return folders["train"], folders.get("test")


def _find_images(folder: Path, source: Path) -> Sequence[Path]:
    entries = _list(folder, source)
    for path in entries:
        if path.is_dir():
            raise SourceError(f"{path} is a folder inside a class: move its images into {folder.name}/ itself")
    images = [path for path in entries if path.suffix.lower() in SUFFIXES]
    if not images:
        raise SourceError(f"{folder} holds no image: add some, or delete the folder")
    return images


def _list(folder: Path, source: Path) -> list[Path]:
    """Return what is in `folder`, ordered by name; each entry must be inside `source` and have a printable name."""
    found = sorted((Path(entry.path) for entry in os.scandir(folder)), key=lambda path: os.fsencode(path.name))
    kept = [path for path in found if not path.name.startswith(".") and path.name not in _IGNORED]
    for path in kept:
        if not path.name.isprintable():  # control characters, and what is not UTF-8
            raise SourceError(f"{folder} holds {path.name!a}, a name that cannot be printed: rename it")
        if path.is_symlink() and not path.resolve().is_relative_to(source.resolve()):
            raise SourceError(f"{path} is a link that leaves {source}: copy what it points to")
    return kept


def _digest_files(images: Mapping[str, Sequence[Path]], names: tuple[str, ...]) -> Files:
    paths = [path for name in names for path in images.get(name, ())]
    labels = np.repeat(np.arange(len(names), dtype=np.int32), [len(images.get(name, ())) for name in names])
    return Files(paths, labels, on_all_cores(lambda path: bytes.fromhex(sha256(path)), paths))


def _summarise(part: Path, source: Path, files: Files) -> SourceFile:
    """Return all files of one part as one: thousands of lines in dataset.json would help nobody."""
    whole = hashlib.sha256()
    for path, digest in zip(files.paths, files.digests, strict=True):
        whole.update(digest + os.fsencode(path.relative_to(part)) + b"\n")
    size = sum(path.stat().st_size for path in files.paths)
    return SourceFile("images" if part == source else part.name, size, whole.hexdigest())


def _warn_of_other_files(source: Path) -> None:
    """Print which files are left out: somebody may expect their format to be read."""
    names = [Path(name) for _, _, files in os.walk(source) for name in files if not name.startswith(".")]
    others = Counter(
        name.suffix.lower() or name.name
        for name in names
        if name.suffix.lower() not in {*SUFFIXES, ".md", ".dvc"} and name.name not in {*_IGNORED, CLASSES_FILE}
    )
    if others:
        kinds = ", ".join(f"{count} {suffix}" for suffix, count in sorted(others.items()))
        print(f"{source}: skipped files that are not images: {kinds}", file=sys.stderr)
