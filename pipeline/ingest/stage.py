"""The ingest stage: read the source, split it, bring the images to one size, write arrays and a grid of samples."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline import dataset
from pipeline.dataset import SPLITS, Dataset
from pipeline.errors import SourceError
from pipeline.ingest import readers
from pipeline.ingest.images import Preprocessing, batches, draw_grid, strict_decoding
from pipeline.ingest.known import locked
from pipeline.ingest.source import Source
from pipeline.ingest.split import Rows, cut
from pipeline.params import IngestParams
from pipeline.workspace import Workspace, replacing, replacing_folder


def run(params: IngestParams, workspace: Workspace) -> None:
    """Write data/dataset and reports/samples.png.

    Raises:
        SourceError: the data is missing or invalid, or the outputs cannot be written; nothing is left behind then.
    """
    start = time.perf_counter()
    with _write_errors(workspace), locked(workspace, "ingest"), replacing_folder(workspace.dataset) as folder:
        source = readers.read(params, workspace, folder)
        rows = cut(source, params.validation_fraction, params.test_fraction, params.seed)
        _write(folder, source, rows, Preprocessing(params.image_size, params.channels, params.resize))
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


def _write(folder: Path, source: Source, rows: Rows, preprocessing: Preprocessing) -> None:
    """Write the three splits, a batch at a time."""
    from tqdm import tqdm

    total = sum(map(len, rows.values()))
    with strict_decoding(), tqdm(total=total, unit=" images", disable=None, leave=False, file=sys.stderr) as bar:
        for name in SPLITS:
            images, chosen = source.images(name), rows[name]
            counted = _counted(batches(images, chosen, preprocessing), bar.update)
            shape = (len(chosen), *preprocessing.shape)
            dataset.write_split(folder / name, counted, shape, images.labels[chosen], chosen)


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
    if source.test is None:
        about = "about " if source.grows else ""
        print(f"  the source has no test set: {about}{100 * params.test_fraction:g} % of each class are held out as one")
    outputs = f"{workspace.shown(workspace.dataset)}/ and {workspace.shown(workspace.samples_png)}"
    print(f"wrote {outputs}, {total / seconds:,.0f} images/s, digest {description.digest[:8]}")
