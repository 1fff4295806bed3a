"""The ingest stage: get the pictures, split them, bring them to one form, write arrays and a sample grid."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline import dataset
from pipeline.dataset import SPLITS, Description
from pipeline.errors import SourceError
from pipeline.ingest import decode, samples, sources
from pipeline.ingest.form import Form
from pipeline.ingest.lock import alone
from pipeline.ingest.pictures import in_parts
from pipeline.ingest.sources import Source
from pipeline.ingest.split import Rows, cut
from pipeline.params import IngestParams
from pipeline.workspace import Workspace, replacing, replacing_folder


def run(params: IngestParams, workspace: Workspace) -> None:
    """Makes data/dataset and reports/samples.png.

    Raises:
        SourceError: the data cannot be had or is not what it should be, or there is no room; nothing is written then.
    """
    start = time.perf_counter()
    with alone(workspace, "ingest"), _explained(workspace), replacing_folder(workspace.dataset) as folder:
        source = sources.read(params, workspace, folder)
        rows = cut(source, params.validation_fraction, params.test_fraction, params.seed)
        _write(folder, source, rows, Form(params.image_size, params.channels, params.resize))
        description = dataset.seal(folder, params.dataset_name, source.class_names, source.files)
        with replacing(workspace.samples_png) as picture:
            samples.draw(picture, dataset.read(folder).train, source.class_names)
    _tell(description, source, params, time.perf_counter() - start, workspace)


@contextmanager
def _explained(workspace: Workspace) -> Iterator[None]:
    """What goes wrong with a source is a SourceError already, so any OSError here is about the outputs."""
    try:
        yield
    except OSError as error:
        place = Path(error.filename).parent if error.filename else workspace.dataset
        reason = f"{workspace.shown(place)} cannot be written ({error.strerror or error})"
        raise SourceError(f"{reason}: make room or set the rights") from None


def _write(folder: Path, source: Source, rows: Rows, form: Form) -> None:
    """The three splits, a part at a time."""
    from tqdm import tqdm

    total = sum(map(len, rows.values()))
    with decode.strict(), tqdm(total=total, unit=" images", disable=None, leave=False, file=sys.stderr) as bar:
        for name in SPLITS:
            pictures, chosen = source.pictures(name), rows[name]
            parts = _counted(in_parts(pictures, chosen, form), bar.update)
            dataset.write_split(folder / name, parts, (len(chosen), *form.shape), pictures.labels[chosen], chosen)


def _counted(parts: Iterator[NDArray[np.uint8]], advance: Callable[[int], object]) -> Iterator[NDArray[np.uint8]]:
    for part in parts:
        yield part
        advance(len(part))


def _tell(description: Description, source: Source, params: IngestParams, seconds: float, workspace: Workspace) -> None:
    counts = " · ".join(f"{count:,} {name}" for name, count in description.counts.items())
    shape = "×".join(map(str, description.image_shape))
    speed = f"{sum(description.counts.values()) / seconds:,.0f} images/s"
    print(f"{description.name}: {counts} pictures, {shape}, {description.classes} classes, digest {description.digest[:8]}…")
    print(
        f"from {source.where} into {workspace.shown(workspace.dataset)}/, {speed}; "
        f"{workspace.shown(workspace.samples_png)} shows some"
    )
    if source.test is None:
        about = "about " if source.grows else ""
        print(f"no test set in the source: {about}{100 * params.test_fraction:g} % of each class were cut off for one")
