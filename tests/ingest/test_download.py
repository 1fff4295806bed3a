import gzip
import hashlib
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pipeline.dataset import SourceFile
from pipeline.errors import DownloadError, SourceError
from pipeline.ingest.catalog import IdxFiles
from pipeline.ingest.download import fetch, fetch_files
from pipeline.workspace import Workspace

FILES = {
    "train-images.gz": bytes(range(256)) * 2000,
    "train-labels.gz": gzip.compress(b"labels", mtime=0),
    "test-images.gz": b"test pictures",
    "test-labels.gz": b"test labels",
}
IMAGES, HALF = "train-images.gz", 256_000


class Server:
    def __init__(self) -> None:
        owner, self.files, self.requests, self.status = self, dict(FILES), list[str](), 200

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.rsplit("/", 1)[1]
                owner.requests.append(name)
                if self.headers["Range"] in ("bytes=512000-", "bytes=999999-"):  # beyond the end of train-images.gz
                    return self.send_error(416)
                if owner.status != 200 or name not in owner.files:
                    return self.send_error(404 if owner.status == 200 else owner.status)
                self.send_response(200)
                self.send_header("Content-Length", str(len(owner.files[name])))
                self.end_headers()
                self.wfile.write(owner.files[name])
                return None

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"


Start = Callable[[], Server]


@pytest.fixture
def start() -> Iterator[Start]:
    running = []

    def started() -> Server:
        server = Server()
        running.append(server)
        threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return server

    yield started
    for server in running:
        server.http.shutdown()
        server.http.server_close()


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.delenv("DATASET_MIRROR", raising=False)
    return Workspace(tmp_path / "checkout", tmp_path / "checkout")


def known(*urls: str) -> IdxFiles:
    a, b, c, d = (SourceFile(name, len(content), hashlib.sha256(content).hexdigest()) for name, content in FILES.items())
    return IdxFiles("clothes", ("a", "b"), a, b, c, d, urls, horizontal_flip=True)


def put(folder: Path, **changed: bytes) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in {**FILES, **changed}.items():
        (folder / name).write_bytes(content)


def contents(paths: Mapping[str, Path]) -> dict[str, bytes]:
    return {name: path.read_bytes() for name, path in paths.items()}


def dead() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return f"http://127.0.0.1:{listening.getsockname()[1]}"


def test_official_site_fills_the_downloads_folder_with_one_line_per_file(
    workspace: Workspace, start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    server = start()
    assert contents(fetch_files(known(server.url), workspace)) == FILES
    assert sorted(path.name for path in workspace.downloads.iterdir()) == sorted(FILES)
    assert [line.split()[:2] for line in capsys.readouterr().err.splitlines()] == [["downloading", name] for name in FILES]


def test_files_in_the_downloads_folder_come_before_every_other_place(workspace: Workspace, start: Start) -> None:
    put(workspace.downloads)
    server = start()
    assert contents(fetch_files(known(server.url), workspace)) == FILES
    assert server.requests == []


@pytest.mark.parametrize("mirror", ["{root}/mirror", "../mirror", "file://{root}/mirror"])
def test_mirror_folder_is_read_in_place(workspace: Workspace, monkeypatch: pytest.MonkeyPatch, mirror: str) -> None:
    folder = workspace.home.parent / "mirror" / "clothes"
    put(folder)
    workspace.home.mkdir()
    monkeypatch.setenv("DATASET_MIRROR", mirror.format(root=workspace.home.parent))
    assert set(fetch_files(known(dead()), workspace).values()) == {folder / name for name in FILES}
    assert not workspace.downloads.exists()


def test_mirror_url_is_asked_before_the_official_one(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, start: Start
) -> None:
    mirror, official = start(), start()
    monkeypatch.setenv("DATASET_MIRROR", mirror.url)
    assert contents(fetch_files(known(official.url), workspace)) == FILES
    assert (len(mirror.requests), official.requests) == (4, [])


def test_any_fsspec_url_can_be_the_mirror(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    from fsspec.implementations.memory import MemoryFileSystem

    for name, content in FILES.items():
        MemoryFileSystem().pipe(f"/mirror/clothes/{name}", content)
    put(workspace.downloads, **{f"{IMAGES}.part": FILES[IMAGES][:HALF]})
    (workspace.downloads / IMAGES).unlink()
    monkeypatch.setenv("DATASET_MIRROR", "memory://mirror/")
    assert contents(fetch_files(known(dead()), workspace)) == FILES


def test_what_the_mirror_lacks_comes_from_the_official_site(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, server = workspace.home.parent / "clothes", start()
    put(folder)
    (folder / IMAGES).unlink()
    monkeypatch.setenv("DATASET_MIRROR", str(folder.parent))
    paths = fetch_files(known(server.url), workspace)
    assert contents(paths) == FILES
    assert paths[IMAGES].parent == workspace.downloads
    assert server.requests == [IMAGES]
    assert f"clothes: DATASET_MIRROR: {folder} has no train-images.gz" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("part", "requests"),
    [(FILES[IMAGES][:HALF], 1), (FILES[IMAGES], 0), (b"?" * 512_000, 1), (b"?" * 999_999, 1)],
    ids=["half", "whole", "of another file", "too long"],
)
def test_part_of_an_earlier_process_is_completed_or_replaced(
    workspace: Workspace, start: Start, part: bytes, requests: int
) -> None:
    server = start()
    workspace.downloads.mkdir(parents=True)
    (workspace.downloads / f"{IMAGES}.part").write_bytes(part)
    assert contents(fetch_files(known(server.url), workspace)) == FILES
    assert server.requests.count(IMAGES) == requests
    assert sorted(path.name for path in workspace.downloads.iterdir()) == sorted(FILES)


WRONG = [
    (FILES[IMAGES][:-1], "holds 511,999 bytes instead of 512,000"),
    (FILES[IMAGES] + b"?", "holds more than the 512,000 bytes of train-images.gz"),
    (b"?" + FILES[IMAGES][1:], r"has SHA-256 [0-9a-f]{64} instead of " + hashlib.sha256(FILES[IMAGES]).hexdigest()),
]


@pytest.mark.parametrize(
    ("folder", "way_out"), [("checkout/data/downloads", "delete it"), ("mirror/clothes", "put the right file there")]
)
@pytest.mark.parametrize(("content", "problem"), WRONG)
def test_wrong_file_in_a_local_folder_is_named(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, content: bytes, problem: str, folder: str, way_out: str
) -> None:
    put(workspace.home.parent / folder, **{IMAGES: content})
    monkeypatch.setenv("DATASET_MIRROR", str(workspace.home.parent / "mirror"))
    with pytest.raises(SourceError, match=f"{folder.removeprefix('checkout/')}/train-images.gz {problem}: {way_out}"):
        fetch_files(known(dead()), workspace)


@pytest.mark.parametrize(("content", "problem"), WRONG)
def test_wrong_file_on_a_mirror_url_is_named_and_not_kept(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, start: Start, content: bytes, problem: str
) -> None:
    server = start()
    server.files[IMAGES] = content
    monkeypatch.setenv("DATASET_MIRROR", server.url)
    with pytest.raises(SourceError, match=f"^{server.url}/clothes/train-images.gz {problem}: put the right file there"):
        fetch_files(known(dead()), workspace)
    assert list(workspace.downloads.iterdir()) == []


def test_wrong_file_on_an_official_site_sends_to_the_next(workspace: Workspace, start: Start) -> None:
    wrong, right = start(), start()
    wrong.files[IMAGES] = b"<html>Please log in to the hotel's network</html>"
    assert contents(fetch_files(known(wrong.url, right.url), workspace)) == FILES


def test_site_that_fails_is_asked_once_not_once_per_file(workspace: Workspace, start: Start) -> None:
    failing, working = start(), start()
    failing.status = 503
    assert contents(fetch_files(known(dead(), failing.url, working.url), workspace)) == FILES
    assert failing.requests == [IMAGES]


def test_no_answer_names_three_ways_out_and_leaves_nothing(workspace: Workspace) -> None:
    with pytest.raises(DownloadError) as raised:
        fetch_files(known(dead(), dead()), workspace)
    for way_out in ("put the 4 files into data/downloads/", "set DATASET_MIRROR", "python -m pipeline run --dataset digits"):
        assert way_out in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not workspace.downloads.exists()


def test_two_at_once_download_each_file_once(workspace: Workspace, start: Start) -> None:
    server, results = start(), list[dict[str, bytes]]()
    fetching = [
        threading.Thread(target=lambda: results.append(contents(fetch_files(known(server.url), workspace)))) for _ in range(3)
    ]
    for thread in fetching:
        thread.start()
    for thread in fetching:
        thread.join()
    assert results == [FILES] * 3
    assert sorted(server.requests) == sorted(FILES)


@pytest.mark.parametrize("mirror", ["htp://somewhere", "http+x://me:secret@somewhere"])
def test_mirror_nobody_can_open_is_an_error_without_its_password(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, mirror: str
) -> None:
    monkeypatch.setenv("DATASET_MIRROR", mirror)
    with pytest.raises(SourceError, match=r"^DATASET_MIRROR=ht.*://somewhere cannot be opened") as raised:
        fetch_files(known(dead()), workspace)
    assert "secret" not in str(raised.value)


def test_embedded_data_needs_no_file(workspace: Workspace) -> None:
    assert fetch("digits", workspace) == {}
