"""A proxy in front of an MLflow server, through which the server goes away in each way that servers do, and comes back."""

import threading
import time
from email.message import Message
from http.server import ThreadingHTTPServer
from typing import Literal

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


class _Passing(servers.Forwarding):
    outer: Proxy

    def answer(self, body: bytes) -> None:
        proxy = self.outer
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
            self.send(int(mode), Message(), b"a page of words")
            return
        found = self.forward(proxy.behind, body)
        if mode == "lost answer" and self.command != "GET" and (path := self.path.partition("?")[0]) not in proxy.lost:
            proxy.lost.append(path)
            return
        self.send(*found)
