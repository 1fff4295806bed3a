"""From params to labelled images: one reader per kind of data, all with one signature.

A new kind is a module with such a function, an entry in `READERS`, and its name in `IngestParams.dataset`.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from pipeline.errors import SourceError
from pipeline.ingest import archive, folder, idx, known, npz, table
from pipeline.ingest.source import FullError, Source, describe_file
from pipeline.params import IngestParams
from pipeline.workspace import Workspace

Reader = Callable[[Path, IngestParams, Path], Source]
"""(where the data is, params, a folder for what must be unpacked) → its images; SourceError where the data is invalid."""

READERS: Mapping[str, Reader] = {"folder": folder.read, "csv": table.read, "idx": idx.read, "npz": npz.read}


@contextmanager
def opened(params: IngestParams, workspace: Workspace, scratch: Path) -> Iterator[Source]:
    """Yield the labelled images that `params` ask for, downloaded or unpacked if necessary.

    Args:
        params: Which data set.
        workspace: The checkout.
        scratch: A folder for what must be unpacked; it is as it was afterwards.

    Raises:
        SourceError: a file is missing or invalid, or turns out to be while the images are read.
        OSError: `scratch` cannot be written.
    """
    if params.dataset in known.CATALOG:
        yield known.read(params.dataset, workspace, scratch)
        return
    source = workspace.root / params.source
    if not source.exists():
        raise SourceError(f"ingest.source: {workspace.shown(source)} does not exist: put your data there, or change it")
    with tempfile.TemporaryDirectory(prefix=".unpacked-", dir=scratch) as unpacked:
        place = Path(unpacked)
        try:
            yield _read(source, params, workspace.shown(source), place)
        except SourceError as error:  # name members of an archive, not where they were unpacked
            packed = archive.find(source) or source
            raise SourceError(str(error).replace(f"{place / 'files'}", str(packed))) from None


def _read(source: Path, params: IngestParams, shown: str, scratch: Path) -> Source:
    try:
        packed = archive.find(source)
        if not packed:
            return replace(READERS[params.dataset](source, params, scratch), where=shown)
        place = scratch / "files"
        place.mkdir()
        archive.unpack(packed, place)
        found = READERS[params.dataset](place, params, scratch)
        return replace(found, where=shown, files=(describe_file(packed),))
    except FullError:
        raise
    except OSError as error:
        raise SourceError(f"{error.filename or source} cannot be read ({error.strerror or error}): check permissions") from None
