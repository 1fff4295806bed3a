"""Bytes from one URL into one `.part` file: resumed where it stopped, never more than the file should hold.

HTTP is read as one stream with a Range header rather than through fsspec's block reader, which asks once per block and
fails on servers without ranges (`python -m http.server`); such a server is simply read from the start again.
"""

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

from pipeline.errors import SourceError

ATTEMPTS = 5  # per URL, each only after one that gained bytes
CHUNK = 256 * 1024  # bytes
CONNECTIONS = 16  # at once, where there are many files: small ones cost little but the way there and back
_CONNECT_TIMEOUT, _READ_TIMEOUT = 10, 30  # seconds; a long download is fine, a silent one is not
_SOME = 10_000  # items that wait in line
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class Wanted(Protocol):
    """A file that can be brought."""

    @property
    def name(self) -> str:
        """What it is called on a line."""

    @property
    def bytes(self) -> int:
        """Its size."""


# File, URL and the byte where it begins → what is told of the bytes that come, for as long as they come.
Progress = Callable[[Wanted, str, int], AbstractContextManager[Callable[[int], object]]]


class UnavailableError(Exception):
    """This URL did not give the file, which says nothing about other URLs; never leaves this package."""


class AbsentError(UnavailableError):
    """The place answers, but has no such file."""


@contextmanager
def _one_line(file: Wanted, url: str, start: int) -> Iterator[Callable[[int], object]]:
    """One line, and a progress bar where somebody watches."""
    resumed = f", from byte {start:,}" if start else ""
    print(f"downloading {file.name} ({file.bytes:,} bytes{resumed}) from {without_password(url)}", file=sys.stderr)
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from tqdm import tqdm

    with tqdm(total=file.bytes, initial=start, unit="B", unit_scale=True, desc=file.name, file=sys.stderr) as bar:
        yield bar.update


def fill(part: Path, file: Wanted, url: str, progress: Progress = _one_line) -> None:
    """Appends to `part` what it lacks of `file`; a connection that breaks is taken up again.

    Ends when the server says that it is done, or one byte after the file should have ended: the caller checks the content.

    Raises:
        UnavailableError: nobody answers, or the connection keeps breaking; `part` keeps what came.
        AbsentError: the URL holds no such file.
        SourceError: `part` cannot be written.
    """
    for attempt in range(1, ATTEMPTS + 1):
        before = _size(part)
        try:
            _append(part, file, url, progress)
            break
        except UnavailableError:
            if attempt == ATTEMPTS or _size(part) <= before:
                raise


def at_once(work: Callable[[_Item], _Result], items: Sequence[_Item]) -> Iterator[_Result]:
    """`work` of each item, in order, several at a time; the first that fails ends the others that wait."""
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        for start in range(0, len(items), _SOME):
            yield from pool.map(work, items[start : start + _SOME])


def without_password(url: str) -> str:
    """`url` as it may be printed."""
    return re.sub(r"//[^/@\s]*@", "//", url)


def _append(part: Path, file: Wanted, url: str, progress: Progress) -> None:
    with _source(url, _size(part), file.bytes) as (start, chunks):
        try:
            part.parent.mkdir(parents=True, exist_ok=True)
            with part.open("ab" if start else "wb") as target, progress(file, url, start) as advance:
                left = file.bytes + 1 - start
                for chunk in chunks:
                    target.write(chunk[:left])
                    left -= len(chunk)
                    advance(len(chunk))
                    if left <= 0:
                        break
        except OSError as error:
            raise SourceError(f"{part} cannot be written ({error.strerror or error}): make room or set the rights") from None


@contextmanager
def _source(url: str, start: int, size: int) -> Iterator[tuple[int, Iterator[bytes]]]:
    """The place where reading really starts (`start`, or 0 where the source cannot skip) and the bytes from there."""
    with explained():
        source, start = _open(url, start, size)
    try:
        yield start, _chunks(source)
    finally:
        source.close()


def _open(url: str, start: int, size: int) -> tuple[Any, int]:
    from fsspec.core import url_to_fs

    if not url.startswith(("http://", "https://")):
        system, path = url_to_fs(url)
        source = system.open(path, "rb")
        start = source.seek(start) if source.seekable() else 0
        return source, start
    # With a size given fsspec sends no HEAD request, which it would answer to a dead host with "no such file".
    headers = {"Range": f"bytes={start}-"} if start else {}
    source = http().open(url, "rb", block_size=0, size=size, headers=headers)
    return source, start if source.r.status == 206 else 0


def http() -> Any:
    """An fsspec file system for http:// and https:// with the timeouts above."""
    import aiohttp
    from fsspec.implementations.http import HTTPFileSystem

    return HTTPFileSystem(
        client_kwargs={
            "timeout": aiohttp.ClientTimeout(total=None, connect=_CONNECT_TIMEOUT, sock_read=_READ_TIMEOUT),
            "trust_env": True,  # HTTP_PROXY and HTTPS_PROXY
            # A server that labels .gz files "Content-Encoding: gzip" must not have them unpacked on the way.
            "auto_decompress": False,
            "headers": {"Accept-Encoding": "identity"},
        }
    )


def _chunks(source: Any) -> Iterator[bytes]:
    while True:
        with explained():
            chunk = source.read(CHUNK)
        if not chunk:
            return
        yield chunk


@contextmanager
def explained() -> Iterator[None]:
    """Turns whatever a file system raises into one reason; each of fsspec's back-ends has exceptions of its own."""
    try:
        yield
    except (SourceError, UnavailableError):
        raise
    except FileNotFoundError as error:
        # Asked about a file, fsspec says so of a server that is dead or refuses, too.
        cause = error.__cause__
        if isinstance(cause, Exception) and getattr(cause, "status", None) != 404:
            raise UnavailableError(without_password(_reason(cause))) from error
        raise AbsentError("no such file") from None
    except Exception as error:
        raise UnavailableError(without_password(_reason(error))) from error


def _reason(error: Exception) -> str:
    """One short line; aiohttp knows more than it should say."""
    if status := getattr(error, "status", None):
        return f"HTTP status {status}"
    if refused := getattr(getattr(error, "os_error", None), "strerror", None):
        return f"cannot connect ({refused})"
    if isinstance(error, TimeoutError):
        return f"silent for {_READ_TIMEOUT} seconds"
    return " ".join(str(error).split()) or type(error).__name__


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
