"""Where the files of a known data set come from, with real HTTP servers on this machine that can misbehave."""

import gzip
import hashlib
import socket
import threading
import types
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pooch
import pytest

from pipeline.dataset import SourceFile
from pipeline.errors import DownloadError, SourceError
from pipeline.ingest import known
from pipeline.ingest.known import CATALOG, Known, fetch
from pipeline.params import KNOWN
from pipeline.workspace import Workspace

FILES = {
    "train-images.gz": gzip.compress(np.random.default_rng(0).bytes(512_000), mtime=0),
    "train-labels.gz": gzip.compress(b"labels", mtime=0),
    "test-images.gz": b"test images",
    "test-labels.gz": b"test labels",
}
IMAGES = "train-images.gz"
SIZE = len(FILES[IMAGES])


class Server:
    """An HTTP server on 127.0.0.1 with the four files in every folder."""

    def __init__(self) -> None:
        self.files, self.requests, self.status = dict(FILES), list[str](), 200
        self.headers: dict[str, str] = {}
        self.signed: list[str] = []  # folder and query of each request
        self.interrupted = 0  # how many transfers break off in the middle
        self.silent = threading.Event()  # set: sends nothing
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                folder, _, name = self.path.partition("?")[0].rpartition("/")
                owner.signed.append(f"{folder}?{urlsplit(self.path).query}")
                owner.respond(self, name)

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def respond(self, request: BaseHTTPRequestHandler, name: str) -> None:
        self.requests.append(name)
        if self.status != 200 or name not in self.files:
            return request.send_error(404 if self.status == 200 else self.status)
        request.send_response(200)
        for header, value in {"Content-Length": str(len(self.files[name])), **self.headers}.items():
            request.send_header(header, value)
        request.end_headers()
        if self.silent.is_set():
            self.silent.wait(1)
            return None
        content = self.files[name]
        if self.interrupted:
            self.interrupted -= 1
            content = content[: len(content) // 2]
        request.wfile.write(content)
        return None


Start = Callable[[], Server]


@pytest.fixture
def start() -> Iterator[Start]:
    running: list[Server] = []

    def started() -> Server:
        running.append(Server())
        return running[-1]

    yield started
    for server in running:
        server.http.shutdown()
        server.http.server_close()


@pytest.fixture(autouse=True)
def _no_pause_before_a_retry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pooch.core, "time", types.SimpleNamespace(sleep=lambda _: None))


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "checkout", tmp_path / "checkout")


def clothes(*urls: str) -> Known:
    files = tuple(SourceFile(name, len(content), hashlib.sha256(content).hexdigest()) for name, content in FILES.items())
    return Known("clothes", ("a", "b"), horizontal_flip=True, files=files, urls=urls)


def put(folder: Path, **changed: bytes) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in {**FILES, **changed}.items():
        (folder / name).write_bytes(content)


def contents(paths: tuple[Path, ...]) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in paths}


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def dead() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return f"http://127.0.0.1:{listening.getsockname()[1]}"


def test_catalog_holds_what_params_allow() -> None:
    assert tuple(CATALOG) == KNOWN


def test_official_mirror_fills_the_downloads_folder_with_one_line_per_file(
    workspace: Workspace, start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    server = start()
    paths = fetch(clothes(server.url), workspace)
    assert contents(paths) == FILES
    assert [path.name for path in paths] == list(FILES)
    assert names_in(workspace.downloads) == sorted(FILES)
    assert {oct(path.stat().st_mode & 0o777) for path in paths} == {"0o644"}
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == f"downloading train-images.gz ({SIZE:,} bytes) from {server.url}/train-images.gz"
    assert len(lines) == 4


def test_files_in_the_downloads_folder_come_before_every_other_place(workspace: Workspace, start: Start) -> None:
    put(workspace.downloads)
    server = start()
    assert contents(fetch(clothes(server.url), workspace)) == FILES
    assert server.requests == []


@pytest.mark.parametrize("mirror", ["{root}/mirror", "{root}/mirror/", "../mirror", "file://{root}/mirror"])
def test_mirror_folder_is_read_in_place(workspace: Workspace, monkeypatch: pytest.MonkeyPatch, mirror: str) -> None:
    folder = workspace.home.parent / "mirror" / "clothes"
    put(folder)
    workspace.home.mkdir()
    monkeypatch.setenv("DATASET_MIRROR", mirror.format(root=workspace.home.parent))
    assert fetch(clothes(dead()), workspace) == tuple(folder / name for name in FILES)
    assert not workspace.downloads.exists()


@pytest.mark.parametrize("end", ["", "/"])
def test_mirror_url_is_tried_before_the_official_one(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, start: Start, end: str
) -> None:
    mirror, official = start(), start()
    monkeypatch.setenv("DATASET_MIRROR", mirror.url + end)
    assert contents(fetch(clothes(official.url), workspace)) == FILES
    assert (mirror.requests, official.requests) == (list(FILES), [])


def test_what_the_mirror_lacks_comes_from_the_official_one(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, server = workspace.home.parent / "clothes", start()
    put(folder)
    (folder / IMAGES).unlink()
    monkeypatch.setenv("DATASET_MIRROR", str(folder.parent))
    paths = fetch(clothes(server.url), workspace)
    assert contents(paths) == FILES
    assert paths[0].parent == workspace.downloads
    assert server.requests == [IMAGES]
    assert capsys.readouterr().err.count(f"clothes: DATASET_MIRROR: {folder} has no train-images.gz\n") == 1


def test_a_file_missing_from_a_mirror_url_is_looked_for_in_the_next_and_the_others_are_not(
    workspace: Workspace, start: Start
) -> None:
    first, second = start(), start()
    del first.files[IMAGES]
    assert contents(fetch(clothes(first.url, second.url), workspace)) == FILES
    assert ({*first.requests}, second.requests) == ({*FILES}, [IMAGES])


WRONG = [
    (FILES[IMAGES][:-1], f"holds {SIZE - 1:,} bytes instead of {SIZE:,}"),
    (FILES[IMAGES] + b"?", f"holds {SIZE + 1:,} bytes instead of {SIZE:,}"),
    (b"?" + FILES[IMAGES][1:], r"has SHA-256 [0-9a-f]{64} instead of " + hashlib.sha256(FILES[IMAGES]).hexdigest()),
]


@pytest.mark.parametrize(
    ("folder", "way_out"), [("checkout/data/downloads", "delete it"), ("mirror/clothes", "put the correct file there")]
)
@pytest.mark.parametrize(("content", "problem"), WRONG)
def test_invalid_file_in_a_local_folder_is_named(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, content: bytes, problem: str, folder: str, way_out: str
) -> None:
    put(workspace.home.parent / folder, **{IMAGES: content})
    monkeypatch.setenv("DATASET_MIRROR", str(workspace.home.parent / "mirror"))
    with pytest.raises(SourceError, match=f"{folder.removeprefix('checkout/')}/train-images.gz {problem}: {way_out}"):
        fetch(clothes(dead()), workspace)


@pytest.mark.parametrize("content", [content for content, _ in WRONG])
def test_invalid_file_on_a_mirror_url_is_named_and_not_kept(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, start: Start, content: bytes
) -> None:
    server = start()
    server.files[IMAGES] = content
    monkeypatch.setenv("DATASET_MIRROR", server.url)
    digest = hashlib.sha256(FILES[IMAGES]).hexdigest()
    message = f"^{server.url}/clothes/train-images.gz does not have the SHA-256 {digest}: put the correct file there, or unset"
    with pytest.raises(SourceError, match=message):
        fetch(clothes(dead()), workspace)
    assert names_in(workspace.downloads) == []


def test_invalid_file_on_an_official_mirror_leads_to_the_next(workspace: Workspace, start: Start) -> None:
    wrong, correct = start(), start()
    wrong.files[IMAGES] = b"<html>Please log in to the hotel's network</html>"
    assert contents(fetch(clothes(wrong.url, correct.url), workspace)) == FILES


def test_a_broken_transfer_is_retried(workspace: Workspace, start: Start) -> None:
    server = start()
    server.interrupted = 1
    assert contents(fetch(clothes(server.url), workspace)) == FILES
    assert server.requests.count(IMAGES) == 2


def test_a_transfer_that_keeps_breaking_leaves_no_partial_file(workspace: Workspace, start: Start) -> None:
    server = start()
    server.interrupted = 99
    with pytest.raises(DownloadError):
        fetch(clothes(server.url), workspace)
    assert names_in(workspace.downloads) == []


def test_what_a_killed_download_left_is_removed_by_the_next(workspace: Workspace, start: Start) -> None:
    (workspace.downloads / ".partial").mkdir(parents=True)
    (workspace.downloads / ".partial/tmp4711").write_bytes(b"half")
    fetch(clothes(start().url), workspace)
    assert names_in(workspace.downloads) == sorted(FILES)


def test_a_file_that_a_server_calls_gzip_encoded_stays_packed(workspace: Workspace, start: Start) -> None:
    server = start()
    server.headers["Content-Encoding"] = "gzip"
    assert contents(fetch(clothes(server.url), workspace)) == FILES


def test_a_mirror_that_fails_or_is_silent_is_tried_for_one_file_only(
    workspace: Workspace, start: Start, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failing, silent, working = start(), start(), start()
    failing.status = 503
    silent.silent.set()
    monkeypatch.setattr(known, "_TIMEOUT", (1, 0.1))
    assert contents(fetch(clothes(dead(), failing.url, silent.url, working.url), workspace)) == FILES
    assert {*failing.requests, *silent.requests} == {IMAGES}
    printed = capsys.readouterr().err
    assert f"clothes: {failing.url}/train-images.gz: HTTP status 503\n" in printed
    assert f"clothes: {silent.url}/train-images.gz: no complete response\n" in printed


def test_no_response_names_three_ways_out_and_leaves_nothing(workspace: Workspace) -> None:
    with pytest.raises(DownloadError) as raised:
        fetch(clothes(dead(), dead()), workspace)
    for way_out in ("put the 4 files into data/downloads/", "set DATASET_MIRROR", "python -m pipeline run --dataset digits"):
        assert way_out in str(raised.value)
    assert "\n" not in str(raised.value)
    assert names_in(workspace.downloads) == []


def test_processes_at_once_download_each_file_once(workspace: Workspace, start: Start) -> None:
    server, results = start(), list[dict[str, bytes]]()
    threads = [
        threading.Thread(target=lambda: results.append(contents(fetch(clothes(server.url), workspace)))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [FILES] * 3
    assert sorted(server.requests) == sorted(FILES)


@pytest.mark.parametrize(
    "mirror", ["s3://bucket/data", "htp://me:secret@host", "http://me:sec/ret@host/data", "http://host:x/"]
)
def test_mirror_url_that_cannot_be_used_is_an_error_without_its_password(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, mirror: str
) -> None:
    monkeypatch.setenv("DATASET_MIRROR", mirror)
    with pytest.raises(SourceError, match=r"^DATASET_MIRROR is not a valid http:// or https:// URL: set it to one") as raised:
        fetch(clothes(dead()), workspace)
    assert "sec" not in str(raised.value)


def test_a_signature_of_the_mirror_is_sent_with_each_file(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, start: Start
) -> None:
    server = start()
    monkeypatch.setenv("DATASET_MIRROR", f"{server.url}/a/?sig=b%2Fc&sv=2")
    fetch(clothes(dead()), workspace)
    assert server.signed == ["/a/clothes?sig=b%2Fc&sv=2"] * len(FILES)


def test_secrets_in_a_mirror_url_are_never_printed(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    server = start()
    server.status = 403
    monkeypatch.setenv("DATASET_MIRROR", server.url.replace("//", "//me:secret@") + "/a?token=secret#secret")
    with pytest.raises(DownloadError, match=rf"\(http://127\.0\.0\.1:{server.http.server_port}/a\)") as raised:
        fetch(clothes(dead()), workspace)
    assert server.requests != []
    assert "secret" not in str(raised.value) + "".join(capsys.readouterr())


def test_embedded_data_needs_no_file(workspace: Workspace) -> None:
    assert fetch(CATALOG["digits"], workspace) == ()
