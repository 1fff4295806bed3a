"""listing.json: what lies at `ingest.url`, as `run` saw it. DVC watches it, so that a file that changes there runs ingest.

Equal listings are equal bytes. No path in it leads out of the folder: names come from a server, and become files here.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pipeline.errors import SourceError
from pipeline.workspace import replacing

FILE = "listing.json"
MOST = 2_000_000  # files; ImageNet has 1.4 million
DEEPEST = 8  # folders within one another; a link to the folder above would have no end
AGAIN = "`python -m pipeline run` lists it again"
# What tells one content of a file from the next, best first, by the names that fsspec's back-ends use.
_VERSIONS = ("md5Hash", "Content-MD5", "ETag", "etag", "sha", "blob_id", "CRC", "generation")
_DATES = ("LastModified", "Last-Modified", "last_modified", "updated", "modified", "modify", "mtime", "created")


@dataclass(frozen=True)
class Entry:
    """One file at the URL."""

    path: str  # relative to the URL, parts divided by /
    bytes: int
    version: str  # changes with the content; "" where the server tells none

    @property
    def name(self) -> str:
        """What it is called on a line."""
        return self.path

    def is_other_than(self, listed: "Entry") -> bool:
        """Whether the content is another, as far as both say: some back-ends tell more in a listing, or less."""
        key, listed_key = self.version.partition(" ")[0], listed.version.partition(" ")[0]
        return self.bytes != listed.bytes or (key == listed_key and self.version != listed.version)


@dataclass(frozen=True)
class Listing:
    """All files at a URL, by path."""

    url: str
    files: tuple[Entry, ...]

    @property
    def bytes(self) -> int:
        """Of all files together."""
        return sum(entry.bytes for entry in self.files)


def make(url: str, found: Iterable[Entry]) -> Listing:
    """The listing of `found`, in order.

    Raises:
        SourceError: there are none, or more than `MOST`, or one would have to be a file and a folder.
    """
    files: list[Entry] = []
    for entry in found:
        files.append(entry)
        if len(files) > MOST:
            raise too_many(url)
    if not files:
        raise SourceError(f"{url} holds no files: it must be the folder with the data, or one .npz file")
    paths = {entry.path for entry in files}
    folders, inner = set[str](), paths
    while inner := {path.rpartition("/")[0] for path in inner} - {""}:
        folders |= inner
    for path in sorted(folders & paths):
        raise SourceError(f"{url} holds {path} both as a file and as a folder: rename one")
    return Listing(url, tuple(sorted(files, key=lambda entry: entry.path)))


def too_many(url: str) -> SourceError:
    """What to raise where there are more files than `MOST`."""
    return SourceError(f"{url} holds more than {MOST:,} files: give the folder that holds the data")


def too_deep(url: str) -> SourceError:
    """What to raise where folders lie deeper than `DEEPEST`."""
    return SourceError(f"{url} has folders more than {DEEPEST} deep: give the folder that holds the data")


def entry(path: str, info: Mapping[str, Any], address: str) -> Entry:
    """The file at `path` as fsspec describes it.

    Raises:
        SourceError: its size is not told.
    """
    if info.get("size") is None:
        raise SourceError(f"{address} cannot be used: the server does not say how large it is")
    key = next((key for key in (*_VERSIONS, *_DATES) if info.get(key)), None)
    value = info[key] if key else ""
    if isinstance(value, datetime):  # which some back-ends tell as a number elsewhere
        value = value.timestamp()
    return Entry(path, int(info["size"]), f"{key} {value}" if key else "")


def takes(path: str, url: str) -> bool:
    """Whether the file or folder at `path` is listed: hidden ones are not, as in a folder on disk.

    Raises:
        SourceError: the path leads out of the folder, or cannot be a file's name here.
    """
    parts = path.split("/")
    if {"", ".", ".."} & {*parts} or "::" in path or not path.isprintable():  # fsspec would take :: for two URLs
        raise SourceError(f"{url} lists {path!a}, which is no path within it: rename it there")
    return not any(part.startswith(".") for part in parts)


def write(path: Path, listing: Listing) -> None:
    """Writes `listing` to `path`.

    Raises:
        SourceError: a file that is no listing lies there.
    """
    if path.exists() and _read(path) is None:
        raise SourceError(f"{path} is not what `run` writes, and would be overwritten: move it away")
    with replacing(path) as aside:
        aside.write_text(json.dumps(asdict(listing), indent=0, ensure_ascii=False) + "\n", encoding="utf-8")


def remove(path: Path) -> None:
    """Deletes the listing at `path`, if there is one: a URL is read no more."""
    if _read(path) is not None:
        path.unlink()


def read(path: Path, url: str) -> Listing:
    """The listing of `url` in `path`.

    Raises:
        SourceError: there is none, it is of another URL, or it is not what `write` makes.
    """
    if not path.exists():
        raise SourceError(f"{path} does not exist: `python -m pipeline run` makes it, the listing of {url}")
    if (found := _read(path)) is None:
        raise SourceError(f"{path} is not what `run` writes: {AGAIN}")
    if found.url != url:
        raise SourceError(f"{path} lists {found.url}, but ingest.url is {url}: {AGAIN}")
    return found


def _read(path: Path) -> Listing | None:
    """What `path` lists; nothing where it is no listing, or one that leads out of the folder."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        found = Listing(str(content["url"]), tuple(Entry(**file) for file in content["files"]))
        return found if all(takes(entry.path, found.url) for entry in found.files) else None
    except (OSError, ValueError, TypeError, KeyError, AttributeError, SourceError):
        return None
