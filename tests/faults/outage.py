"""A proxy in front of an MLflow server, through which the server goes away in each way that servers do, and comes back."""

import threading
import time
import urllib.error
import urllib.request
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

from tests import servers

Mode = Literal["down", "500", "401", "slow", "hang", "lost answer"]
_SLOW = 0.4  # seconds until each answer


class Proxy:
    """Passes requests on, except while `mode` is set. With `trigger`, the outage begins with a request that contains it."""

    def __init__(self, behind: str) -> None:
        self.behind, self.port = behind, servers.free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self.mode: Mode | None = None
        self.trigger: tuple[bytes, Mode] | None = None
        self.lost: list[str] = []  # whose first answer was lost
        self.back = threading.Event()  # set: nothing hangs any longer
        self._listening: ThreadingHTTPServer | None = None

    def __enter__(self) -> "Proxy":
        self._listen()
        return self

    def __exit__(self, *_: object) -> None:
        self.back.set()
        self._close()

    def fail(self, mode: Mode, trigger: bytes = b"") -> None:
        """Begin the outage, or let it begin with the first request that contains `trigger`."""
        if trigger:
            self.trigger = (trigger, mode)
            return
        self.mode, self.trigger = mode, None
        self.back.clear()
        if mode == "down":
            self._close()

    def recover(self) -> None:
        """End the outage."""
        was, self.mode, self.trigger = self.mode, None, None
        self.back.set()
        if was == "down":
            self._listen()

    def _listen(self) -> None:
        proxy = self

        class Handler(_Passing):
            outer = proxy

        self._listening = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._listening.daemon_threads = True
        self._listening.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client that did not wait
        threading.Thread(target=self._listening.serve_forever, args=(0.05,), daemon=True).start()

    def _close(self) -> None:
        if self._listening:
            self._listening.shutdown()
            self._listening.server_close()
            self._listening = None


class _Passing(BaseHTTPRequestHandler):
    outer: Proxy

    def do_GET(self) -> None:
        proxy, body = self.outer, b"".join(servers.chunks(self))
        if proxy.trigger and proxy.trigger[0] in self.path.encode() + body:
            proxy.fail(proxy.trigger[1])
        mode = proxy.mode
        if mode == "slow":
            time.sleep(_SLOW)
        if mode == "hang":
            proxy.back.wait(120)
        self.close_connection = True
        if mode in ("down", "hang"):
            return
        if mode in ("500", "401"):
            self._send(int(mode), Message(), b"a page of words")
            return
        answer = self._forward(body)
        if mode == "lost answer" and self.command != "GET" and (path := self.path.partition("?")[0]) not in proxy.lost:
            proxy.lost.append(path)
            return
        self._send(*answer)

    do_POST = do_PATCH = do_PUT = do_DELETE = do_GET  # noqa: N815  # the names of BaseHTTPRequestHandler

    def _send(self, status: int, headers: Message, content: bytes) -> None:
        self.send_response(status)
        for name in ("Content-Type", "X-Accel-Buffering"):
            if name in headers:
                self.send_header(name, headers[name])
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _forward(self, body: bytes) -> tuple[int, Message, bytes]:
        own = ("host", "content-length", "transfer-encoding", "connection")
        headers = {name: value for name, value in self.headers.items() if name.lower() not in own}
        url = f"{self.outer.behind}{self.path}"
        request = urllib.request.Request(url, body or None, headers, method=self.command)  # noqa: S310  # our own http://
        try:
            answer: Any = urllib.request.urlopen(request, timeout=60)  # noqa: S310
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            return answer.status, answer.headers, answer.read()

    def log_message(self, *_: object) -> None:
        """Print nothing."""
