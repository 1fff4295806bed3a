"""A web server on 127.0.0.1 that serves a folder as `python -m http.server` does, with ranges, and can misbehave."""

import base64
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class Shelf:
    """What it does and what it was asked."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.asked = folder, list[tuple[str, str]]()  # method and path
        self.status: dict[str, int] = {}  # path → what it answers instead
        self.pages: dict[str, bytes] = {}  # path → HTML that it answers instead
        self.hidden: tuple[str, ...] = ()  # headers that it does not send
        self.cut: set[str] = set()  # paths whose transfers break off after a third
        self.ranges: list[int] = []  # where it was asked to begin
        self.login = ""  # "user:password", without which it answers 401
        self.leads: dict[str, str] = {}  # path → where it redirects to
        owner = self

        class Handler(SimpleHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def __init__(self, *arguments: Any) -> None:
                super().__init__(*arguments, directory=str(owner.folder))

            def send_head(self) -> Any:
                owner.asked.append((self.command, self.path))
                given = (self.headers["Authorization"] or "").removeprefix("Basic ")
                if owner.login and base64.b64decode(given).decode() != owner.login:
                    self.send_error(HTTPStatus.UNAUTHORIZED)
                    return None
                if self.path in owner.status:
                    self.send_error(owner.status[self.path])
                    return None
                if self.path in owner.leads:
                    self.send_response(HTTPStatus.FOUND)
                    self.send_header("Location", owner.leads[self.path])
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return None
                if self.path in owner.pages:
                    return self._page(owner.pages[self.path])
                wanted = self.headers["Range"]
                if self.command == "GET" and (wanted or self.path in owner.cut):
                    return self._rest(int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0)
                return super().send_head()

            def _page(self, content: bytes) -> None:
                self.send_response(HTTPStatus.OK)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(content)

            def _rest(self, start: int) -> None:
                content = Path(self.translate_path(self.path)).read_bytes()[start:]
                owner.ranges.append(start)
                self.send_response(HTTPStatus.PARTIAL_CONTENT if start else HTTPStatus.OK)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if self.path not in owner.cut:
                    self.wfile.write(content)
                    return
                self.wfile.write(content[: len(content) // 3])
                self.wfile.flush()
                time.sleep(0.1)  # so that it arrives before the connection closes
                self.close_connection = True

            def send_header(self, keyword: str, value: str) -> None:
                if keyword not in owner.hidden:
                    super().send_header(keyword, value)

            def end_headers(self) -> None:
                if "Content-Length" in owner.hidden:
                    super().send_header("Connection", "close")  # which is then the end
                super().end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}"

    def fetched(self) -> list[str]:
        """The files that were sent since the last call, by path."""
        paths = sorted(path for method, path in self.asked if method == "GET" and not path.endswith("/"))
        self.asked.clear()
        return paths


@contextmanager
def serving(folder: Path) -> Iterator[Shelf]:
    """Serves `folder` until the block ends."""
    shelf = Shelf(folder)
    threading.Thread(target=shelf.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield shelf
    finally:
        shelf.http.shutdown()
        shelf.http.server_close()
