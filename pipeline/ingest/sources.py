"""From the params to labelled pictures, whatever the kind of data set."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import assert_never

from pipeline.dataset import SourceFile, SplitName
from pipeline.errors import SourceError
from pipeline.ingest import catalog, classes, digits, folder, idx, npz, scratch
from pipeline.ingest.catalog import Embedded, IdxFiles, Known
from pipeline.ingest.classes import Numbering
from pipeline.ingest.download import fetch_files
from pipeline.ingest.pictures import Arrays, Pictures
from pipeline.params import IngestParams
from pipeline.workspace import Workspace


@dataclass(frozen=True)
class Source:
    """What a data set's source holds."""

    class_names: tuple[str, ...]
    training: Pictures
    test: Pictures | None  # the official test set; without one, `split` cuts one from `training`
    files: tuple[SourceFile, ...]
    where: str  # for people
    grows: bool  # the user's own, to which pictures may be added

    def pictures(self, split: SplitName) -> Pictures:
        """Those that `split` is cut from."""
        return self.test if split == "test" and self.test else self.training


def read(params: IngestParams, workspace: Workspace, unpacked: Path) -> Source:
    """The pictures that `params` ask for, fetched where they are not here yet; they stay on disk.

    Args:
        params: Which data set.
        workspace: The checkout.
        unpacked: A folder for what must be unpacked.

    Raises:
        SourceError: a file cannot be had or is not what it should be.
        OSError: `unpacked` cannot be written.
    """
    if params.dataset in catalog.CATALOG:
        return _known(catalog.find(params.dataset), workspace, unpacked)
    source = workspace.root / params.source
    if not source.exists():
        raise SourceError(f"ingest.source: {workspace.shown(source)} does not exist: put your data there, or change it")
    if source.is_file() and params.dataset != "npz":
        raise SourceError(f"ingest.source: {workspace.shown(source)} is a file: {params.dataset} needs the folder it lies in")
    return _own(params, source, unpacked, workspace.shown(source))


def _known(known: Known, workspace: Workspace, unpacked: Path) -> Source:
    match known:
        case IdxFiles():
            paths = fetch_files(known, workspace)
            where = " and ".join(dict.fromkeys(workspace.shown(path.parent) for path in paths.values()))
            ordered = tuple(paths[file.name] for file in known.files)
            return _of_idx(ordered, known.class_names, known.files, where, unpacked, grows=False)
        case Embedded():
            images, labels, file = digits.read()
            return Source(known.class_names, Arrays(images, labels), None, (file,), file.name, grows=False)


def _own(params: IngestParams, source: Path, unpacked: Path, where: str) -> Source:
    try:
        return _read_own(params, source, unpacked, where)
    except scratch.FullError:
        raise
    except OSError as error:
        raise SourceError(f"{error.filename or source} cannot be read ({error.strerror or error}): set its rights") from None


def _read_own(params: IngestParams, source: Path, unpacked: Path, where: str) -> Source:
    names = classes.given(params.class_names, source)
    match params.dataset:
        case "folder":
            found = folder.read(source, names)
            return Source(found.class_names, found.training, found.test, found.sources, where, grows=True)
        case "idx":
            paths = idx.find(source)
            return _of_idx(paths, names, tuple(map(_described, paths)), where, unpacked, grows=True)
        case "npz":
            return _of_npz(npz.find(source), names, where, unpacked)
        case "fashion-mnist" | "digits":
            raise SourceError(f"{params.dataset} is not in the catalog")
    assert_never(params.dataset)


def _of_idx(
    paths: tuple[Path, ...], names: tuple[str, ...], files: tuple[SourceFile, ...], where: str, unpacked: Path, *, grows: bool
) -> Source:
    images, numbers = idx.read_pictures(paths[0], paths[1], unpacked)
    test_images, test_numbers = idx.read_pictures(paths[2], paths[3], unpacked)
    numbering = classes.numbering(numbers, names, str(paths[1])) if grows else Numbering(names)
    training = Arrays(images, numbering.labels(numbers, str(paths[1])))
    test = Arrays(test_images, numbering.labels(test_numbers, str(paths[3])))
    return Source(numbering.names, training, test, files, where, grows)


def _of_npz(path: Path, names: tuple[str, ...], where: str, unpacked: Path) -> Source:
    images, numbers, test_images, test_numbers = npz.read(path, unpacked)
    numbering = classes.numbering(numbers, names, f"{path}: y_train")
    training = Arrays(images, numbering.labels(numbers, f"{path}: y_train"))
    test = Arrays(test_images, numbering.labels(test_numbers, f"{path}: y_test"))
    return Source(numbering.names, training, test, (_described(path),), where, grows=True)


def _described(path: Path) -> SourceFile:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return SourceFile(path.name, path.stat().st_size, digest)
