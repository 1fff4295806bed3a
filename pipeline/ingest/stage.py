"""The ingest stage: read the source, split it, bring the images to one size, write arrays and a grid of samples."""

import math
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline import dataset
from pipeline.dataset import SPLITS, Dataset
from pipeline.errors import SourceError
from pipeline.ingest import readers
from pipeline.ingest.images import DamagedError, Files, batches, draw_grid, look
from pipeline.ingest.known import locked
from pipeline.ingest.preprocessing import Preprocessing, strict_decoding
from pipeline.ingest.source import Source, listed
from pipeline.ingest.split import Rows, cut
from pipeline.params import IngestParams
from pipeline.workspace import Workspace, replacing, replacing_folder

_LISTED = 20  # damaged files named on the one line


def run(params: IngestParams, workspace: Workspace) -> None:
    """Write data/dataset and reports/samples.png.

    Raises:
        SourceError: the data is missing or invalid, or the outputs cannot be written; nothing is left behind then.
    """
    start = time.perf_counter()
    preprocessing = Preprocessing(params.image_size, params.channels, params.resize)
    with (
        _write_errors(workspace),
        locked(workspace, "ingest"),
        replacing_folder(workspace.dataset) as folder,
        readers.opened(params, workspace, folder) as source,
        strict_decoding(),
    ):
        _warn(source, preprocessing)
        source = _write(folder, source, params, preprocessing)
        dataset.seal(folder, params.dataset_name, source.class_names, source.files)
        with replacing(workspace.samples_png) as path:
            draw_grid(path, dataset.read(folder).train, source.class_names)
    _report(dataset.read(workspace.dataset), source, params, time.perf_counter() - start, workspace)


@contextmanager
def _write_errors(workspace: Workspace) -> Iterator[None]:
    """Turn an OSError into one line: those of a source are SourceErrors already, so it is about what is written."""
    try:
        yield
    except OSError as error:
        place = Path(error.filename).parent if error.filename else workspace.dataset
        reason = f"{workspace.shown(place)} cannot be written ({error.strerror or error})"
        raise SourceError(f"{reason}: free disk space, or check permissions") from None


def _warn(source: Source, preprocessing: Preprocessing) -> None:
    """Print what the reading by `preprocessing` loses, and which files are in two classes at once."""
    if not source.grows:
        return
    found = look(source.training)
    if found and found.channels > preprocessing.channels:
        print(
            f"warning: {100 * found.coloured:.0f} % of the images are in colour, and ingest.channels: 1 makes them grey: "
            "set ingest.channels: 3 to keep it",
            file=sys.stderr,
        )
    if found and found.size >= preprocessing.size * 1.5 and (found.height + found.width) / 2 > 2 * preprocessing.size:
        print(
            f"warning: the images are {found.height}×{found.width} pixels (median), and become "
            f"{preprocessing.size}×{preprocessing.size}: set ingest.image_size: {found.size} to keep more",
            file=sys.stderr,
        )
    if pairs := _in_two_classes(source):
        print(
            f"warning: {len(pairs):,} file{'s are' if len(pairs) > 1 else ' is'} in two classes: {listed(pairs, '; ', 5)}. "
            "Delete what is in the wrong class",
            file=sys.stderr,
        )


def _in_two_classes(source: Source) -> Sequence[str]:
    """Return "a.png = b.png" for each file whose content is in another class too."""
    files = [images for images in source.given().values() if isinstance(images, Files)]
    digests = [digest for images in files for digest in images.digests]
    names = [name for images in files for name in images.names]
    if not files:
        return []
    labels = np.concatenate([images.labels for images in files])
    starts = np.frombuffer(b"".join(digests), np.uint64)[::4]  # of 256 bits each, so that a million need little memory
    order = np.argsort(starts, kind="stable")
    ends = np.flatnonzero(np.diff(starts[order])) + 1
    repeated = [rows for rows in np.split(order, ends) if len(rows) > 1] if len(ends) + 1 < len(order) else []
    return [" = ".join(names[row] for row in rows) for rows in repeated if len({*labels[rows].tolist()}) > 1]


def _write(folder: Path, source: Source, params: IngestParams, preprocessing: Preprocessing) -> Source:
    """Write the three splits, and return what is in them: with `on_damaged: skip`, without the damaged files.

    The files are decoded once where none is damaged; else all are decoded again, so that all damaged ones are named.
    """
    rows = cut(source, params.validation_fraction, params.test_fraction, params.seed)
    try:
        _write_splits(folder, source, rows, preprocessing)
    except DamagedError:
        sound = _without_damaged(source, preprocessing, skip=params.on_damaged == "skip")
        for name in SPLITS:
            shutil.rmtree(folder / name, ignore_errors=True)
        rows = cut(sound, params.validation_fraction, params.test_fraction, params.seed)
        _write_splits(folder, sound, rows, preprocessing)
        return sound
    return source


def _without_damaged(source: Source, preprocessing: Preprocessing, *, skip: bool) -> Source:
    """Return `source` without the files that cannot be read, which are printed."""
    parts = {name: images for name, images in source.given().items() if isinstance(images, Files)}
    problems = {name: images.damaged(preprocessing) for name, images in parts.items()}
    names: dict[str, list[str]] = {}  # by reason: a hundred files of one camera have the same
    for name, images in parts.items():
        for row, reason in problems[name].items():
            short = reason.removeprefix(f"{images.paths[row]} ").rpartition(": ")[0]
            names.setdefault(short, []).append(images.names[row])
    damaged, total = sum(map(len, names.values())), sum(len(images.labels) for images in parts.values())
    most = max(1, _LISTED // len(names))
    groups = listed([f"{listed(files, most=most)} ({reason})" for reason, files in names.items()], "; ")
    summary = f"{damaged:,} of {total:,} files cannot be read: {groups}"
    if not skip:
        only = [reason for found in problems.values() for reason in found.values()]
        way_out = "Delete them or save them again, or leave them out by ingest.on_damaged: skip"
        raise SourceError(only[0] if len(only) == 1 else f"{source.where}: {summary}. {way_out}")
    print(f"skipped: {summary}", file=sys.stderr)
    kept = {name: images.without(problems[name]) for name, images in parts.items()}
    return replace(source, training=kept["train"], validation=kept.get("validation"), test=kept.get("test"))


def _write_splits(folder: Path, source: Source, rows: Rows, preprocessing: Preprocessing) -> None:
    """Write arrays and file names of the three splits, a batch at a time."""
    from tqdm import tqdm

    total = sum(map(len, rows.values()))
    needed, free = total * math.prod(preprocessing.shape), shutil.disk_usage(folder).free
    if needed > free:
        raise SourceError(
            f"data/dataset takes {needed / 1e6:,.1f} MB, and {free / 1e6:,.1f} MB are free on its disk: free some space, then "
            "run the same command again"
        )
    with tqdm(total=total, unit=" images", disable=None, leave=False, file=sys.stderr) as bar:
        for name in SPLITS:
            images, chosen = source.images(name), rows[name]
            counted = _counted(batches(images, chosen, preprocessing), bar.update)
            shape = (len(chosen), *preprocessing.shape)
            names = [images.names[row] for row in chosen] if isinstance(images, Files) else None
            dataset.write_split(folder / name, counted, shape, images.labels[chosen], chosen, names)


def _counted(parts: Iterator[NDArray[np.uint8]], advance: Callable[[int], object]) -> Iterator[NDArray[np.uint8]]:
    for part in parts:
        yield part
        advance(len(part))


def _report(data: Dataset, source: Source, params: IngestParams, seconds: float, workspace: Workspace) -> None:
    """Print the shapes of every split, and where they come from."""
    description = data.description
    total = sum(description.counts.values())
    print(f"{description.name} from {source.where}: {total:,} images of {description.classes} classes")
    shapes = {name: f"{split.images.shape} {split.images.dtype}" for name, split in data.splits().items()}
    for name, split in data.splits().items():
        width = max(map(len, shapes.values()))
        print(f"  {name:10}  images {shapes[name]:{width}}  labels {split.labels.shape} {split.labels.dtype}")
    about = "about " if source.grows else ""
    if source.test is None:
        print(f"  the source has no test set: {about}{100 * params.test_fraction:g} % of each class are held out as one")
    if source.validation is not None:
        print("  the source has a validation set: it is used as it is")
    outputs = f"{workspace.shown(workspace.dataset)}/ and {workspace.shown(workspace.samples_png)}"
    print(f"wrote {outputs}, {total / seconds:,.0f} images/s, digest {description.digest[:8]}")
