import re
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pipeline.dataset import SourceFile
from pipeline.errors import SourceError
from pipeline.ingest import transfer

CONTENT = bytes(range(256)) * 2000
FILE, HALF = SourceFile("pictures.gz", 512_000, "not looked at here"), 256_000


class Server:
    """An HTTP server on 127.0.0.1 that knows ranges and can misbehave."""

    def __init__(self) -> None:
        self.content, self.asked = CONTENT, list[str | None]()
        self.knows_ranges, self.broken_transfers, self.silent, self.headers = True, 0, False, dict[str, str]()
        self.pause = 0.0  # seconds between tenths of the file
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                owner.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/pictures.gz"

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        wanted = request.headers["Range"]
        self.asked.append(wanted)
        if request.path != "/pictures.gz":
            return request.send_error(404)
        partial = wanted is not None and self.knows_ranges
        body = self.content[int(wanted[len("bytes=") : -1]) if partial else 0 :]
        request.send_response(206 if partial else 200)
        for header, value in {"Content-Length": str(len(body)), **self.headers}.items():
            request.send_header(header, value)
        request.end_headers()
        if self.silent:
            return time.sleep(1)
        if self.broken_transfers:
            self.broken_transfers -= 1
            request.wfile.write(body[: len(body) // 2])
            return time.sleep(0.3)  # so that the half arrives before the connection closes
        with suppress(ConnectionError):  # the client may have had enough
            for start in range(0, len(body), len(body) // 10):
                request.wfile.write(body[start : start + len(body) // 10])
                time.sleep(self.pause)
        return None


@pytest.fixture
def server() -> Iterator[Server]:
    started = Server()
    threading.Thread(target=started.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield started
    started.http.shutdown()
    started.http.server_close()


@pytest.fixture
def part(tmp_path: Path) -> Path:
    return tmp_path / "downloads" / "pictures.gz.part"


def begun(part: Path, content: bytes = CONTENT[:HALF]) -> Path:
    part.parent.mkdir()
    part.write_bytes(content)
    return part


def test_new_part_is_filled_with_one_line_that_says_from_where(
    part: Path, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    transfer.fill(part, FILE, server.url)
    assert part.read_bytes() == CONTENT
    assert server.asked == [None]
    assert capsys.readouterr().err == f"downloading pictures.gz (512,000 bytes) from {server.url}\n"


def test_begun_part_is_taken_up_where_it_stopped(part: Path, server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    transfer.fill(begun(part), FILE, server.url)
    assert part.read_bytes() == CONTENT
    assert server.asked == ["bytes=256000-"]
    assert "(512,000 bytes, from byte 256,000)" in capsys.readouterr().err


def test_server_without_ranges_is_read_from_the_start(part: Path, server: Server) -> None:
    server.knows_ranges = False
    transfer.fill(begun(part, b"?" * HALF), FILE, server.url)
    assert part.read_bytes() == CONTENT


def test_broken_transfer_is_taken_up_at_once(part: Path, server: Server) -> None:
    server.broken_transfers = 1
    transfer.fill(part, FILE, server.url)
    assert part.read_bytes() == CONTENT
    first, second = server.asked
    assert first is None
    assert second is not None
    assert 0 < int(second[len("bytes=") : -1]) <= HALF


def test_transfer_that_keeps_breaking_ends_and_keeps_what_came(part: Path, server: Server) -> None:
    server.broken_transfers = 99
    with pytest.raises(transfer.UnavailableError):
        transfer.fill(part, FILE, server.url)
    assert len(server.asked) <= transfer.ATTEMPTS
    assert CONTENT.startswith(part.read_bytes())
    assert part.stat().st_size > 0


def test_silent_server_is_given_up_with_the_time_waited(part: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.silent = True
    monkeypatch.setattr(transfer, "_READ_TIMEOUT", 0.2)
    with pytest.raises(transfer.UnavailableError, match=r"^silent for 0\.2 seconds$"):
        transfer.fill(part, FILE, server.url)


def test_slow_server_is_waited_for_as_long_as_bytes_come_and_shows_how_far_it_is(
    part: Path, server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server.pause = 0.1
    monkeypatch.setattr(transfer, "_READ_TIMEOUT", 0.7)  # less than the second that all of it takes
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    transfer.fill(part, FILE, server.url)
    assert part.read_bytes() == CONTENT
    assert server.asked == [None]
    shares = [int(share) for share in re.findall(r"pictures\.gz: +(\d+)%", capsys.readouterr().err)]
    assert shares[0] == 0
    assert any(0 < share < 100 for share in shares)


def test_endless_file_is_cut_one_byte_after_its_end(part: Path, server: Server) -> None:
    server.content = CONTENT * 9
    transfer.fill(part, FILE, server.url)
    assert part.stat().st_size == 512_001


def test_gzip_file_sent_as_a_gzip_encoding_stays_packed(part: Path, server: Server) -> None:
    server.headers["Content-Encoding"] = "gzip"
    transfer.fill(part, FILE, server.url)
    assert part.read_bytes() == CONTENT


def test_other_file_systems_are_taken_up_too(part: Path) -> None:
    from fsspec.implementations.memory import MemoryFileSystem

    MemoryFileSystem().pipe("/somewhere/pictures.gz", b"?" * HALF + CONTENT[HALF:])
    transfer.fill(begun(part), FILE, "memory://somewhere/pictures.gz")
    assert part.read_bytes() == CONTENT


def test_missing_file_is_told_from_a_dead_host(part: Path, server: Server) -> None:
    with pytest.raises(transfer.AbsentError, match="no such file"):
        transfer.fill(part, FILE, f"{server.url}/more")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    with pytest.raises(transfer.UnavailableError, match="cannot connect") as raised:
        transfer.fill(part, FILE, f"http://127.0.0.1:{port}/pictures.gz")
    assert not isinstance(raised.value, transfer.AbsentError)
    assert not part.exists()


def test_part_that_cannot_be_written_is_named(tmp_path: Path, server: Server) -> None:
    (tmp_path / "downloads").write_text("a file, not a folder")
    with pytest.raises(SourceError, match=r"pictures\.gz\.part cannot be written \((File exists|Not a directory)\)"):
        transfer.fill(tmp_path / "downloads" / "pictures.gz.part", FILE, server.url)


def test_password_is_never_printed() -> None:
    assert transfer.without_password("https://me:secret@host/folder") == "https://host/folder"
