"""A folder on a web server, by the HTML index that it gives of each folder: Apache, nginx, Caddy, `python -m http.server`.

fsspec lists such pages too, but takes links for sorting and to other places for files, and answers every error with "no such
file". A link counts here where it leads further into the folder that the page is of; all others are left out.
"""

import codecs
from collections import deque
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any
from urllib.parse import quote, unquote, urljoin, urlsplit

from pipeline.errors import SourceError
from pipeline.ingest import listing, transfer
from pipeline.ingest.listing import Entry

_MOST = 500_000_000  # bytes of one page
_PAGES = ("text/html", "application/xhtml+xml")


@dataclass(frozen=True)
class Web:
    """The folder at `url`, which ends with /."""

    url: str

    def address(self, path: str) -> str:
        """The URL of the file at `path`."""
        return self.url + quote(path)

    def inspect(self, path: str) -> Entry:
        """What the server says about the file at `path`.

        Raises:
            SourceError: it is a page, or of unknown size.
            UnavailableError: it cannot be had.
        """
        address = self.address(path)
        with transfer.explained():
            info = transfer.http().info(address)
        if info.get("mimetype") in _PAGES:
            raise SourceError(f"{address} is an HTML page instead of data: look at it in a browser")
        return listing.entry(path, info, address)

    def files(self) -> Iterator[Entry]:
        """Every file below, a folder at a time.

        Raises:
            SourceError: a page is no index, or lists what cannot be used.
            UnavailableError: a page or a file cannot be had.
        """
        waiting, seen = deque([""]), {""}
        while waiting:
            folder = waiting.popleft()
            if folder.count("/") > listing.DEEPEST:
                raise listing.too_deep(self.url)
            new = [path for path in self._listed(folder) if path not in seen and listing.takes(path.rstrip("/"), self.url)]
            seen.update(new)
            if len(seen) > listing.MOST:
                raise listing.too_many(self.url)
            waiting.extend(path for path in dict.fromkeys(new) if path.endswith("/"))
            files = [path for path in dict.fromkeys(new) if not path.endswith(("/", ".html", ".htm"))]
            yield from transfer.at_once(self.inspect, files)

    def _listed(self, folder: str) -> list[str]:
        """The paths that the page of `folder` links to; a folder's ends with /."""
        address = self.address(folder)
        with transfer.explained(), closing(transfer.http().open(address, "rb", block_size=0, size=_MOST)) as page:
            final, kind = str(page.r.url), page.r.content_type
            if kind not in _PAGES:
                raise SourceError(f"{address} is {kind}, not an HTML index: this server does not list its files")
            if _place(final) != _place(address):
                raise SourceError(f"{address} leads to {final}: write that into ingest.url, or log in if it asks for it")
            links, decoder, left = _Links(), codecs.getincrementaldecoder("utf-8")("replace"), _MOST
            while block := page.read(transfer.CHUNK):
                links.feed(decoder.decode(block))
                left -= len(block)
                if left < 0:
                    raise SourceError(f"{address} is longer than {_MOST:,} bytes: give the folder that holds the data")
        within = (_within(urljoin(final, href), final) for href in links.found)
        return [folder + path for path in within if path]


class _Links(HTMLParser):
    """Collects where the links of a page lead."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Called for each tag of the page."""
        self.found.extend(value for name, value in attrs if tag == "a" and name == "href" and value)


def _place(address: str) -> tuple[Any, ...]:
    """What two addresses of one folder share: a server may add a / or take one from http to https."""
    parts = urlsplit(address)
    return parts.hostname, unquote(parts.path).rstrip("/")


def _within(link: str, page: str) -> str:
    """The path of `link` within the folder `page`; empty where it leads elsewhere, to the page itself, or is a query."""
    there, here = urlsplit(link), urlsplit(page)
    base = here.path.rstrip("/") + "/"
    if (there.scheme, there.netloc) != (here.scheme, here.netloc) or there.query or there.fragment:
        return ""
    return unquote(there.path.removeprefix(base)) if there.path.startswith(base) else ""
