"""A reader of image files in one folder per class, at the top or in folders for train, validation and test.

Layouts: `<class>/`, `train/<class>/` with or without `val/` and `test/`, in any case and with names such as
Training, valid or seg_test, and one folder around it all, as most archives have, or in each class.

Strict where a mistake would be silent: an image outside the class folders, a folder inside one, a folder beside train/ that is
no split, a link to another place. Files are ordered by name, so that the same files give the same rows everywhere.
"""

import hashlib
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from pipeline.dataset import SourceFile, SplitName
from pipeline.errors import SourceError
from pipeline.ingest.images import Files, on_all_cores
from pipeline.ingest.preprocessing import SUFFIXES
from pipeline.ingest.source import (
    CLASSES_FILE,
    TABLES,
    Source,
    check_class_names,
    given_class_names,
    is_plain,
    listed,
    normal,
    split_of,
)
from pipeline.params import IngestParams
from pipeline.workspace import sha256

_IGNORED = frozenset({"Thumbs.db", "desktop.ini", "Icon\r", "__MACOSX", "@eaDir", "lost+found"})  # and .names

_OTHER_TABLES = frozenset({".xlsx", ".xls", ".ods", ".json", ".jsonl"})

_Classes = Mapping[str, Sequence[Path]]  # class name → its images


def read(source: Path, params: IngestParams, _scratch: Path) -> Source:
    """Return the images in the folder `source`: listed, and their files digested, but not decoded yet.

    Raises:
        SourceError: a file or folder is missing, or cannot be part of a data set.
        OSError: something cannot be read.
    """
    if source.is_file():
        raise SourceError(
            f"ingest.source: {source} is a file: the data set kind `folder` needs a folder, or a .zip or .tar archive of one"
        )
    check_names(source)
    root, parts = _find_parts(source)
    classes = {split: _find_classes(part, source) for split, part in parts.items()}
    found, given = sorted(classes["train"]), given_class_names(params, source) or given_class_names(params, root)
    if not found:
        held = listed(sorted(path.name for path in _list(root, source)))
        what = f"holds {held}, but no class folders" if held else "is empty"
        raise SourceError(f"{root} {what}: put the images of each class into a folder of its own{_hint(root)}")
    if given and sorted(given) != found:
        differ = ", ".join(sorted({*given} ^ {*found}))
        raise SourceError(f"{source}: class_names or {CLASSES_FILE} must name its class folders; they differ in {differ}")
    names = given or tuple(found)
    if len(names) == 1:
        beside = listed([path.name for path in _list(root, source) if path.is_file()])
        what = f"{names[0]!r}, beside {beside}" if beside else repr(names[0])
        raise SourceError(f"{root} holds only one class, {what}: a classifier needs two or more{_hint(root)}")
    check_class_names(names, str(root))
    for split, part in parts.items():
        for name in sorted({*classes[split]} - {*names}):
            raise SourceError(f"{part}/{name} is a class without a folder in train: add one, or delete it")
    _warn_of_other_files(source)
    files = {split: _digest_files(classes[split], names, source) for split in parts}
    digests = tuple(_summarise(parts[split], root, files[split]) for split in parts)
    return Source(names, files["train"], files.get("test"), digests, validation=files.get("validation"))


def check_names(source: Path) -> None:
    """Check every name and link in `source`, if it is a folder, also for DVC, which fails over them without saying which it is.

    Raises:
        SourceError: a name is no UTF-8 or has control characters, a link points to nothing, or a pipe or device is there.
    """
    dangling = []
    for folder, folders, files in os.walk(source, onerror=_raise) if source.is_dir() else ():
        for name in (*folders, *files):
            if not is_plain(name) and name not in _IGNORED:
                reason = "is not UTF-8" if any("\ud800" <= sign <= "\udfff" for sign in name) else "cannot be printed"
                raise SourceError(f"{folder} holds {name!a}, a name that {reason}: rename it")
            path = Path(folder, name)
            if path.is_symlink() and not path.exists():
                dangling.append(f"{path} is a link to {path.readlink()}, which does not exist")
            elif name in files and not path.is_file():
                raise SourceError(f"{path} is neither a file nor a folder: delete it")
    if dangling:
        others = f", as are {len(dangling) - 1:,} more" if len(dangling) > 1 else ""
        raise SourceError(f"{dangling[0]}{others}: put it there, or delete such links: find -L {source} -type l -delete")


def _raise(error: OSError) -> None:
    raise error


def _find_parts(source: Path) -> tuple[Path, Mapping[SplitName, Path]]:
    """Return the folder that holds the data, and the folders of class folders in it by split; "train" is always there."""
    root = _unwrapped(source, source)
    folders = [path for path in _list(root, source) if path.is_dir()]
    _refuse_loose_images(root, source)
    splits = {path: split for path in folders if (split := split_of(path.name))}
    if not any(_has_folders(path, source) for path in splits):
        if folders and all(split_of(path.name, exact=True) for path in folders):
            names = listed([f"{path.name}/" for path in folders])
            raise SourceError(f"{root} holds {names} without class folders in them: put a folder per class into each")
        return root, {"train": root}
    parts: dict[SplitName, Path] = {}
    for path in folders:
        split = splits.get(path)
        if not split:
            others = listed([f"{other.name}/" for other in splits])
            raise SourceError(f"{path} is beside {others} but is no split (train, validation, test): move it out of {root}")
        if split in parts:
            raise SourceError(f"{root} has two folders for {split}, {parts[split].name}/ and {path.name}/: merge them")
        parts[split] = path
    if "train" not in parts:
        raise SourceError(f"{root} holds {listed([f'{path.name}/' for path in folders])} but no train/: add it")
    return root, {split: _unwrapped(part, source, part=True) for split, part in sorted(parts.items(), key=_in_old_order)}


def _in_old_order(item: tuple[SplitName, Path]) -> int:
    return ("train", "test", "validation").index(item[0])


def _unwrapped(folder: Path, source: Path, *, part: bool = False) -> Path:
    """Return `folder`, or the only folder in it where that holds nothing but folders, as archives come."""
    entries = _list(folder, source)
    inner = [path for path in entries if path.is_dir()]
    if len(inner) != 1 or _images(entries) or (not part and split_of(inner[0].name)):
        return folder
    if _has_folders(inner[0], source) and not _images(_list(inner[0], source)):
        return _unwrapped(inner[0], source, part=part)
    return folder


def _has_folders(folder: Path, source: Path) -> bool:
    return any(path.is_dir() for path in _list(folder, source))


def _images(entries: Sequence[Path]) -> Sequence[Path]:
    return [path for path in entries if path.suffix.lower() in SUFFIXES and not path.is_dir()]


def _refuse_loose_images(folder: Path, source: Path) -> None:
    loose = _images(_list(folder, source))
    if len(loose) == 1:
        raise SourceError(f"{loose[0]} is in no class folder: move it into one, or delete it{_hint(folder)}")
    if loose:
        names = listed([path.name for path in loose])
        what = f"{folder} holds {len(loose):,} images in no class folder ({names})"
        raise SourceError(f"{what}: move each into one, or delete it{_hint(folder)}")


def _hint(folder: Path) -> str:
    """Return what to do where a table lies in `folder`, or nothing."""
    suffixes = {path.suffix.lower() for path in folder.iterdir()}
    if suffixes & {*TABLES}:
        return "; or, for a table of files and labels, set ingest.dataset: csv"
    return "; or save the table of files and labels as .csv" if suffixes & _OTHER_TABLES else ""


def _find_classes(part: Path, source: Path) -> _Classes:
    """Return class name, in NFC → its images, ordered by name."""
    _refuse_loose_images(part, source)
    folders: dict[str, Path] = {}
    for path in _list(part, source):
        if path.is_dir():
            same = folders.setdefault(normal(path.name), path)
            if same != path:
                raise SourceError(
                    f"{part} has two class folders named {normal(path.name)!r}, written as {same.name!a} and {path.name!a}: "
                    "move the images of one into the other"
                )
    return {name: _find_images(path, source) for name, path in folders.items()}


def _find_images(folder: Path, source: Path) -> Sequence[Path]:
    entries = _list(folder, source)
    inner = [path for path in entries if path.is_dir()]
    if len(inner) == 1 and not _images(entries):  # as in tiny-imagenet: <class>/images/
        return _find_images(inner[0], source)
    if inner:
        raise SourceError(f"{inner[0]} is a folder inside a class: move its images into {folder.name}/ itself")
    images = _images(entries)
    if not images:
        others = f", but {_kinds(entries)}: save them as PNG or JPEG" if entries else ": add some"
        raise SourceError(f"{folder} holds no image{others}, or delete the folder")
    return images


def _list(folder: Path, source: Path) -> list[Path]:
    """Return what is in `folder`, ordered by name, without what systems leave there; no entry may leave `source`."""
    found = sorted((Path(entry.path) for entry in os.scandir(folder)), key=lambda path: os.fsencode(path.name))
    kept = [path for path in found if not is_ignored(path.name)]
    for path in kept:
        if path.is_symlink() and not path.resolve().is_relative_to(source.resolve()):
            raise SourceError(f"{path} is a link that leaves {source}: copy what it points to, as `cp -rL` does")
    return kept


def is_ignored(name: str) -> bool:
    """Return whether `name` is what macOS, Windows, NAS boxes and notebooks leave in folders."""
    return name.startswith(".") or name in _IGNORED


def _digest_files(images: _Classes, names: tuple[str, ...], source: Path) -> Files:
    paths = [path for name in names for path in images.get(name, ())]
    labels = np.repeat(np.arange(len(names), dtype=np.int32), [len(images.get(name, ())) for name in names])
    return Files(paths, [str(path.relative_to(source)) for path in paths], labels, digests(paths))


def digests(paths: Sequence[Path]) -> list[bytes]:
    """Return the SHA-256 of each file."""
    return on_all_cores(lambda path: bytes.fromhex(sha256(path)), paths)


def _summarise(part: Path, root: Path, files: Files) -> SourceFile:
    """Return all files of one part as one: thousands of lines in dataset.json would help nobody."""
    whole = hashlib.sha256()
    for path, digest in zip(files.paths, files.digests, strict=True):
        whole.update(digest + os.fsencode(path.relative_to(part)) + b"\n")
    size = sum(path.stat().st_size for path in files.paths)
    return SourceFile("images" if part == root else part.name, size, whole.hexdigest())


def _warn_of_other_files(source: Path) -> None:
    """Print which files are left out: somebody may expect their format to be read."""
    readable = {*SUFFIXES, ".md", ".dvc"}
    others = [path for path in walk(source) if path.suffix.lower() not in readable and path.name != CLASSES_FILE]
    if others:
        print(f"{source}: skipped files that are not images: {_kinds(others)}", file=sys.stderr)


def _kinds(files: Iterable[Path]) -> str:
    """Return how many files of each kind there are, such as "3 .svg"."""
    counts = Counter(path.suffix.lower() or path.name for path in files)
    return listed([f"{count:,} {kind}" for kind, count in sorted(counts.items())])


def walk(source: Path) -> Iterator[Path]:
    """Yield all files but those that systems leave."""
    for folder, folders, files in os.walk(source):
        folders[:] = [name for name in folders if not is_ignored(name)]
        yield from (Path(folder, name) for name in files if not is_ignored(name))


def shallowest(folder: Path, suffixes: Sequence[str]) -> Sequence[Path]:
    """Return the files in `folder` with one of `suffixes`, or, where there are none, in the folders in it, and so on."""
    folders, found = [folder], list[Path]()
    while folders and not found:
        entries = [path for inner in folders for path in sorted(inner.iterdir()) if not is_ignored(path.name)]
        found = [path for path in entries if path.suffix.lower() in suffixes and path.is_file()]
        folders = [path for path in entries if path.is_dir() and not path.is_symlink()]
    return found
