"""From params to labelled images: one reader per kind of data, all with one signature.

A new kind is a module with such a function, an entry in `READERS`, and its name in `IngestParams.dataset`.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from pipeline.errors import SourceError
from pipeline.ingest import folder, idx, known, npz
from pipeline.ingest.source import FullError, Source
from pipeline.params import IngestParams
from pipeline.workspace import Workspace

Reader = Callable[[Path, IngestParams, Path], Source]
"""(where the data is, params, a folder for what must be unpacked) → its images; SourceError where the data is invalid."""

READERS: Mapping[str, Reader] = {"folder": folder.read, "idx": idx.read, "npz": npz.read}


def read(params: IngestParams, workspace: Workspace, scratch: Path) -> Source:
    """Return the labelled images that `params` ask for, downloaded if necessary.

    Args:
        params: Which data set.
        workspace: The checkout.
        scratch: A folder for what must be unpacked.

    Raises:
        SourceError: a file is missing or invalid.
        OSError: `scratch` cannot be written.
    """
    if params.dataset in known.CATALOG:
        return known.read(params.dataset, workspace, scratch)
    source = workspace.root / params.source
    shown = workspace.shown(source)
    if not source.exists():
        raise SourceError(f"ingest.source: {shown} does not exist: put your data there, or change it")
    if source.is_file() and params.dataset != "npz":
        raise SourceError(f"ingest.source: {shown} is a file: {params.dataset} needs the folder that holds it")
    try:
        return replace(READERS[params.dataset](source, params, scratch), where=shown)
    except FullError:
        raise
    except OSError as error:
        raise SourceError(f"{error.filename or source} cannot be read ({error.strerror or error}): check permissions") from None
