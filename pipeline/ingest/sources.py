"""From a catalog entry to pictures in memory, whatever the entry's kind."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.dataset import SourceFile
from pipeline.ingest import digits, idx
from pipeline.ingest.catalog import Embedded, IdxFiles, Known
from pipeline.ingest.download import fetch_files
from pipeline.workspace import Workspace


@dataclass(frozen=True)
class Pictures:
    """Labelled pictures in the source's order and size."""

    images: NDArray[np.uint8]  # (n, height, width, channels), 0-255
    labels: NDArray[np.int32]  # (n,), 0 … classes - 1


@dataclass(frozen=True)
class Source:
    """What a data set's source holds."""

    class_names: tuple[str, ...]
    training: Pictures
    test: Pictures | None  # the official test set; without one, `split` cuts one from `training`
    files: tuple[SourceFile, ...]
    where: str  # for people


def read(known: Known, workspace: Workspace) -> Source:
    """The pictures of `known`, fetched where they are not here yet.

    Raises:
        SourceError: a file cannot be had or is not what it should be.
    """
    match known:
        case IdxFiles():
            return _read_idx(known, workspace)
        case Embedded():
            images, labels, file = digits.read()
            return Source(known.class_names, Pictures(images, labels), None, (file,), file.name)


def _read_idx(known: IdxFiles, workspace: Workspace) -> Source:
    paths = fetch_files(known, workspace)
    classes = len(known.class_names)
    training = Pictures(*idx.read_pictures(paths[known.train_images.name], paths[known.train_labels.name], classes))
    test = Pictures(*idx.read_pictures(paths[known.test_images.name], paths[known.test_labels.name], classes))
    where = " and ".join(dict.fromkeys(workspace.shown(path.parent) for path in paths.values()))
    return Source(known.class_names, training, test, known.files, where)
