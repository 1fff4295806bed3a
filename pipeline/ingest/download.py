"""Gets a data set's files from the first place that has them; only bytes with the right SHA-256 count.

Places, in this order: data/downloads/; $DATASET_MIRROR/<data set>/, a folder or any fsspec URL; the official URLs. Folders
are read in place. What comes over the network grows in `<file>.part` and gets its name after the checksum, so that an
interrupted download passes for nothing and is taken up again.

A wrong file in a place that the user chose is an error, because silence would hide it; a wrong file from an official URL
is told on stderr, and the next URL asked. A dead host is asked once, not once per file.
"""

import hashlib
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.dataset import SourceFile
from pipeline.errors import DownloadError, SourceError
from pipeline.ingest import catalog, transfer
from pipeline.ingest.catalog import IdxFiles
from pipeline.ingest.lock import alone
from pipeline.workspace import Workspace

MIRROR = "DATASET_MIRROR"


@dataclass(frozen=True)
class _Place:
    """A remote folder with the files."""

    url: str
    chosen: bool  # by the user: a wrong file there is an error


def fetch(dataset: str, workspace: Workspace) -> Mapping[str, Path]:
    """File name → a local, checked copy, for every file of the data set called `dataset`; empty for embedded data.

    Raises:
        DownloadError: no place answered with a file.
        SourceError: there is no such data set, a file is not what it should be, or a path cannot be used.
    """
    known = catalog.find(dataset)
    return fetch_files(known, workspace) if isinstance(known, IdxFiles) else {}


def fetch_files(known: IdxFiles, workspace: Workspace) -> Mapping[str, Path]:
    """File name → a local, checked copy, for every file of `known`.

    Raises:
        DownloadError: no place answered with a file.
        SourceError: a file in data/downloads or the mirror is not what it should be, or a path cannot be used.
    """
    found = _look(known, workspace)
    if len(found) < len(known.files):
        with alone(workspace, "downloads"):
            found = _look(known, workspace)  # another process may have been quicker
            _tell_what_mirror_lacks(known, workspace)
            places = _remote_places(known)
            for file in known.files:
                if file.name not in found:
                    found[file.name] = _download(file, known, places, workspace)
    return {file.name: found[file.name] for file in known.files}


def _look(known: IdxFiles, workspace: Workspace) -> dict[str, Path]:
    """The files that lie in a local folder, checked."""
    found = {}
    ways_out = {workspace.downloads: "delete it, so that it is downloaded again"}
    if mirror := _mirror_folder(known, workspace):
        ways_out[mirror] = f"put the right file there, or unset {MIRROR}"
    for file in known.files:
        for folder, way_out in ways_out.items():
            path = folder / file.name
            if os.path.lexists(path):
                if problem := _problem(path, file):
                    raise SourceError(f"{workspace.shown(path)} {problem}: {way_out}")
                found[file.name] = path
                break
    return found


def _mirror_folder(known: IdxFiles, workspace: Workspace) -> Path | None:
    """The mirror where it is a folder. A relative one counts from the checkout, as in temporary `dvc exp run` copies too."""
    mirror = os.environ.get(MIRROR, "").removeprefix("file://")
    if not mirror or "://" in mirror:
        return None
    return (workspace.home / Path(mirror).expanduser() / known.name).resolve()


def _tell_what_mirror_lacks(known: IdxFiles, workspace: Workspace) -> None:
    """Said once, since whoever set a mirror expects no download."""
    folder = _mirror_folder(known, workspace)
    lacking = [file.name for file in known.files if folder and not (folder / file.name).exists()]
    if lacking:
        print(f"{known.name}: {MIRROR}: {folder} has no {', '.join(lacking)}", file=sys.stderr)


def _remote_places(known: IdxFiles) -> list[_Place]:
    """Where to download from, best first.

    Raises:
        SourceError: `$DATASET_MIRROR` is a URL that nothing here can open.
    """
    places = [_Place(url, chosen=False) for url in known.urls]
    mirror = os.environ.get(MIRROR, "")
    if "://" not in mirror or mirror.startswith("file://"):
        return places
    from fsspec.core import url_to_fs

    try:
        url_to_fs(mirror)
    except (ValueError, ImportError) as error:
        shown = transfer.without_password(mirror)
        raise SourceError(f"{MIRROR}={shown} cannot be opened ({error}): give a folder or a URL, or unset it") from None
    return [_Place(f"{mirror.rstrip('/')}/{known.name}", chosen=True), *places]


def _download(file: SourceFile, known: IdxFiles, places: list[_Place], workspace: Workspace) -> Path:
    """`file` from the first of `places` that gives it; those that do not answer are taken off the list."""
    for place in tuple(places):
        try:
            return _download_from(place, file, workspace)
        except transfer.UnavailableError as error:
            print(f"{known.name}: no {file.name} from {transfer.without_password(place.url)}: {error}", file=sys.stderr)
            if not isinstance(error, transfer.AbsentError):
                places.remove(place)
    downloads, mirror = workspace.shown(workspace.downloads), transfer.without_password(os.environ.get(MIRROR, ""))
    raise DownloadError(
        f"{known.name}: {file.name} is neither in {downloads}/ nor in ${MIRROR} ({mirror or 'not set'}), and no official site "
        f"gave it: put the {len(known.files)} files into {downloads}/, or set {MIRROR} to a folder or URL that holds "
        f"{known.name}/, or run `python -m pipeline run --dataset digits`, which needs no network"
    )


def _download_from(place: _Place, file: SourceFile, workspace: Workspace) -> Path:
    """Downloads, checks, renames.

    Raises:
        UnavailableError: no answer, or an official site gave a wrong file.
        SourceError: the user's mirror gave a wrong file.
    """
    url = f"{place.url}/{file.name}"
    part = workspace.downloads / f"{file.name}.part"
    if part.exists() and part.stat().st_size >= file.bytes and _problem(part, file):
        part.unlink()  # nothing can be added to it: servers refuse to send what lies beyond the end
    resumed = part.exists()
    if _problem(part, file):
        transfer.fill(part, file, url)
    if (problem := _problem(part, file)) is None:
        return part.replace(part.with_suffix(""))
    part.unlink()
    if resumed:  # its beginning may have been another file's
        return _download_from(place, file, workspace)
    if place.chosen:
        way_out = f"put the right file there, or unset {MIRROR}"
        raise SourceError(f"{transfer.without_password(url)} {problem}: {way_out}")
    raise transfer.UnavailableError(problem)


def _problem(path: Path, file: SourceFile) -> str | None:
    """What is wrong with the content of `path`; nothing where it is `file`."""
    try:
        size = path.stat().st_size
        if size > file.bytes:
            return f"holds more than the {file.bytes:,} bytes of {file.name}"
        if size < file.bytes:
            return f"holds {size:,} bytes instead of {file.bytes:,}"
        with path.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    return None if digest == file.sha256 else f"has SHA-256 {digest} instead of {file.sha256}"
