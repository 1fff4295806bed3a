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
from pipeline.ingest.preprocessing import SUFFIXES
from pipeline.ingest.source import TABLES, FullError, Source, describe_file
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
    with _unpacked(source, workspace, scratch) as (place, packed, rest):
        with _readable(source):
            found = READERS[params.dataset](place, params, rest)
        files = (describe_file(packed),) if packed else found.files
        yield replace(found, where=workspace.shown(source), files=files)


def detect(source: Path, workspace: Workspace, scratch: Path) -> str:
    """Return the kind of the user's own data at `source`, a key of `READERS`.

    Raises:
        SourceError: there is nothing, or it is an archive that cannot be read.
        OSError: `scratch` cannot be written.
    """
    with _unpacked(source, workspace, scratch) as (place, _, _), _readable(source):
        names = [place] if place.is_file() else [*folder.walk(place)]
        suffixes = {path.suffix.lower() for path in names}
        if any(map(idx.is_named, names)):
            return "idx"
        if suffixes & SUFFIXES:
            return "csv" if table.is_list(place) else "folder"
        return "npz" if suffixes & {*npz.SUFFIXES} else "csv" if suffixes & {*TABLES} else "folder"


@contextmanager
def _unpacked(source: Path, workspace: Workspace, scratch: Path) -> Iterator[tuple[Path, Path | None, Path]]:
    """Yield where the data of `source` lies, which archive it was unpacked from, if any, and a folder for what else must be."""
    if not source.exists():
        raise SourceError(f"ingest.source: {workspace.shown(source)} does not exist: put your data there, or change it")
    with tempfile.TemporaryDirectory(prefix=".unpacked-", dir=scratch) as temporary:
        place = Path(temporary, "files")
        with _readable(source):
            packed = archive.find(source)
            if packed:
                place.mkdir()
                archive.unpack(packed, place)
        try:
            yield place if packed else source, packed, place.parent
        except SourceError as error:  # name members of an archive, not where they were unpacked
            raise SourceError(str(error).replace(str(place), str(packed))) from None


@contextmanager
def _readable(source: Path) -> Iterator[None]:
    """Turn an OSError of reading into a SourceError."""
    try:
        yield
    except FullError:
        raise
    except OSError as error:
        raise SourceError(f"{error.filename or source} cannot be read ({error.strerror or error}): check permissions") from None
