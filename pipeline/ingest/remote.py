"""One's own data at a URL: `run` lists it, and ingest brings the listed files into data/downloads/<name>/.

A file that was brought carries a date made from its URL, path, size and version: so what is unchanged is known without being
read, and no list beside the files can fall behind them. The folder is this module's: what is not listed is deleted there.
"""

import hashlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from pipeline.errors import SourceError
from pipeline.ingest import listing, transfer
from pipeline.ingest.listing import Entry, Listing
from pipeline.ingest.storage import Storage
from pipeline.ingest.web import Web
from pipeline.params import IngestParams
from pipeline.workspace import Workspace

_PARTS = ".parts"  # the readers leave out what begins with a dot, and so does a listing


def refresh(params: IngestParams, workspace: Workspace) -> None:
    """Lists `ingest.url` into `ingest.source`; without a URL, takes an earlier listing away.

    Raises:
        SourceError: the URL cannot be listed, or holds what cannot be used; the earlier listing stays.
    """
    source = workspace.root / params.source
    if not params.url:
        return listing.remove(source / listing.FILE)
    if source.is_file() or source.resolve().is_relative_to(workspace.downloads.resolve()):
        raise SourceError(f"ingest.source = {params.source}: with ingest.url it must be a folder outside data/downloads")
    found = _list(params)
    listing.write(source / listing.FILE, found)
    where = workspace.shown(source / listing.FILE)
    print(f"{params.url}: {len(found.files):,} files, {found.bytes:,} bytes, listed in {where}")
    if not all(entry.version for entry in found.files):
        print("The server gives some no date and no ETag: if they change and keep their size, nobody will see it.")
    return None


def bring(params: IngestParams, workspace: Workspace) -> Path:
    """The folder that holds what the listing of `ingest.url` says, and nothing else.

    Raises:
        SourceError: there is no such listing, or a file cannot be had as it was listed; what came is kept.
        OSError: the folder cannot be written.
    """
    found = listing.read(workspace.root / params.source / listing.FILE, params.url)
    folder = workspace.downloads / params.name
    _remove_all_but(found, folder)
    lacking = [entry for entry in found.files if not _is_here(folder / entry.path, entry, found.url)]
    if lacking:
        _fetch_all(lacking, found, folder)
    shutil.rmtree(folder / _PARTS, ignore_errors=True)
    return folder


def _site(url: str) -> tuple[Web | Storage, str]:
    """The folder that `url` is or lies in, and the file that it is, if it is one."""
    name = url.rpartition("/")[2] if url.endswith(".npz") else ""
    folder = url.removesuffix(name).rstrip("/") + "/" if not url.endswith("://") else url
    return (Web(folder) if url.startswith(("http://", "https://")) else Storage(folder)), unquote(name)


def _list(params: IngestParams) -> Listing:
    site, name = _site(params.url)
    if name and params.dataset != "npz":
        raise SourceError(f"ingest.url = {params.url} is a file: {params.dataset} needs the folder that it lies in")
    try:
        with _bar(None, "listing", " files") as advance:
            entries = iter([site.inspect(name)]) if name else site.files()
            return listing.make(params.url, _counted(entries, advance))
    except transfer.UnavailableError as error:
        raise SourceError(f"{params.url} cannot be listed ({error}): set ingest.url right, or try again later") from None


def _counted(entries: Iterator[Entry], advance: Callable[[int], object]) -> Iterator[Entry]:
    for entry in entries:
        yield entry
        advance(1)


def _remove_all_but(found: Listing, folder: Path) -> None:
    """Deletes the files in `folder` that `found` does not list, and folders that are left empty."""
    kept = {str(folder / entry.path) for entry in found.files}
    for place, folders, files in os.walk(folder, topdown=False):
        for name in files:
            path = Path(place) / name
            if str(path) not in kept and folder / _PARTS not in path.parents:
                path.unlink()
        for name in folders:
            path = Path(place) / name
            if not path.is_symlink() and not any(path.iterdir()):
                path.rmdir()


def _is_here(path: Path, entry: Entry, url: str) -> bool:
    try:
        state = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return (state.st_size, int(state.st_mtime)) == (entry.bytes, _stamp(entry, url))


def _stamp(entry: Entry, url: str) -> int:
    """A date (Unix time, 1970-2004) that says which file of which version this is."""
    said = "\n".join((url, entry.path, str(entry.bytes), entry.version))
    return int.from_bytes(hashlib.sha256(said.encode()).digest()[:4], "big") >> 2


def _fetch_all(lacking: list[Entry], found: Listing, folder: Path) -> None:
    site, _ = _site(found.url)
    size = sum(entry.bytes for entry in lacking)
    print(f"downloading {len(lacking):,} of {len(found.files):,} files ({size:,} bytes) from {found.url}", file=sys.stderr)
    with _bar(size, folder.name, "B") as advance:
        for _ in transfer.at_once(lambda entry: _fetch(entry, site, found.url, folder, advance), lacking):
            pass


def _fetch(entry: Entry, site: Web | Storage, url: str, folder: Path, advance: Callable[[int], object]) -> None:
    """Brings one file; its part is called after its version, so that a resumed part is never of two."""
    address, stamp = site.address(entry.path), _stamp(entry, url)
    part, path = folder / _PARTS / hashlib.sha256(f"{entry.path}\n{stamp}".encode()).hexdigest(), folder / entry.path
    try:
        if site.inspect(entry.path).is_other_than(entry):
            raise SourceError(f"{address} has changed since it was listed: {listing.AGAIN}")
        if not part.exists() or part.stat().st_size < entry.bytes:
            transfer.fill(part, entry, address, lambda *_: _silent(advance))
    except transfer.UnavailableError as error:
        raise SourceError(f"{address} cannot be had ({error}): try again, what came is kept") from None
    if (held := part.stat().st_size) != entry.bytes:
        part.unlink()
        said = f"only {held:,}" if held < entry.bytes else "more"
        raise SourceError(f"{address} was listed with {entry.bytes:,} bytes and holds {said}: {listing.AGAIN}")
    os.utime(part, (stamp, stamp))
    path.parent.mkdir(parents=True, exist_ok=True)
    part.replace(path)


@contextmanager
def _silent(advance: Callable[[int], object]) -> Iterator[Callable[[int], object]]:
    """Of one file among many: only the bar of all moves."""
    yield advance


@contextmanager
def _bar(total: int | None, name: str, unit: str) -> Iterator[Callable[[int], Any]]:
    """A progress bar where somebody watches."""
    from tqdm import tqdm

    with tqdm(total=total, desc=name, unit=unit, unit_scale=unit == "B", disable=None, leave=False, file=sys.stderr) as bar:
        yield bar.update
