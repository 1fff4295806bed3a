"""What can go wrong with a URL: one line each, no listing, no data."""

import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline import cli
from pipeline.errors import SourceError
from pipeline.ingest import listing, remote, stage, transfer, web
from pipeline.workspace import Workspace
from tests.ingest.damage import good_folder, good_npz
from tests.ingest.shelf import Shelf, serving
from tests.ingest.test_remote import wanted


@pytest.fixture
def there(tmp_path: Path) -> Path:
    folder = tmp_path / "there"
    folder.mkdir()
    good_folder(folder)
    good_npz(folder)
    return folder


@pytest.fixture
def shelf(there: Path) -> Iterator[Shelf]:
    with serving(there) as started:
        yield started


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "here", tmp_path / "here")


def refused(url: str, workspace: Workspace, kind: str = "folder") -> str:
    with pytest.raises(SourceError) as error:
        remote.refresh(wanted(url, kind), workspace)
    assert not list(workspace.root.rglob("listing.json*"))
    assert "\n" not in str(error.value)
    return str(error.value)


def page(*links: str) -> bytes:
    return "".join(f'<A class="x" HREF="{link}">{link}</A>\n' for link in links).encode()


def deep(shelf: Shelf) -> None:
    shelf.pages |= {f"/{'in/' * depth}": page("in/") for depth in range(20)}


def no_html(shelf: Shelf) -> None:
    shelf.leads["/"] = "/cat/00.png"


BREAKS: dict[str, tuple[Callable[[Shelf], object], str]] = {
    "forbidden": (lambda shelf: shelf.status.update({"/": 403}), " cannot be listed (HTTP status 403): set ingest.url right"),
    "not there": (lambda shelf: shelf.status.update({"/": 404}), " cannot be listed (no such file)"),
    "broken": (lambda shelf: shelf.status.update({"/": 500}), " cannot be listed (HTTP status 500)"),
    "a folder forbidden": (lambda shelf: shelf.status.update({"/dog/": 403}), " cannot be listed (HTTP status 403)"),
    "a file forbidden": (lambda shelf: shelf.status.update({"/dog/00.png": 403}), " cannot be listed (HTTP status 403)"),
    "empty": (lambda shelf: shelf.pages.update({"/": page()}), " holds no files: it must be the folder with the data"),
    "an HTML page for a picture": (
        lambda shelf: shelf.pages.update({"/dog/00.png": b"<p>log in"}),
        "/dog/00.png is an HTML page instead of data: look at it in a browser",
    ),
    "a page elsewhere": (
        lambda shelf: (shelf.leads.update({"/": "/login"}), shelf.pages.update({"/login": page("help.txt")})),
        "/login: write that into ingest.url, or log in",
    ),
    "no index": (no_html, "/ is image/png, not an HTML index: this server does not list its files"),
    "out of the folder": (
        lambda shelf: shelf.pages.update({"/": page("%2e%2e/%2e%2e/etc/passwd")}),
        "which is no path within it",
    ),
    "out by a double slash": (
        lambda shelf: shelf.pages.update({"/": page("cat/%2Fetc/passwd")}),
        "'cat//etc/passwd', which is no",
    ),
    "a control character": (lambda shelf: shelf.pages.update({"/": page("a%0Ab.png")}), r"lists 'a\nb.png', which is no path"),
    "no end of folders": (deep, "has folders more than 8 deep"),
    "a size that is not told": (lambda shelf: setattr(shelf, "hidden", ("Content-Length",)), "does not say how large it is"),
}


@pytest.mark.parametrize(("damage", "line"), BREAKS.values(), ids=BREAKS)
def test_what_a_web_server_can_answer_is_one_line(
    workspace: Workspace, shelf: Shelf, damage: Callable[[Shelf], object], line: str
) -> None:
    damage(shelf)
    assert line in refused(f"{shelf.url}/", workspace)


def test_links_to_other_places_are_left_out(workspace: Workspace, shelf: Shelf) -> None:
    elsewhere = (
        "http://127.0.0.1:9/cat/x.png",
        "//127.0.0.1:9/cat/y.png",
        "../",
        "/",
        "?C=N;O=D",
        "03.png?size=small",
        "#top",
        "mailto:me@host",
        "index.html",
    )
    shelf.pages["/cat/"] = page(*elsewhere, "/dog/01.png", "00.png", "./01.png", f"{shelf.url}/cat/02.png", "00.png")
    remote.refresh(wanted(f"{shelf.url}/cat"), workspace)
    found = listing.read(workspace.root / "data/source/listing.json", f"{shelf.url}/cat")
    assert [entry.path for entry in found.files] == ["00.png", "01.png", "02.png"]


def test_a_server_that_is_not_there_is_one_line(workspace: Workspace) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/pets"
    assert f"{url} cannot be listed (cannot connect (" in refused(url, workspace)
    assert f"{url}.npz cannot be listed (cannot connect (" in refused(f"{url}.npz", workspace, "npz")


def test_a_silent_server_is_given_up_with_the_time_waited(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "_READ_TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/pets"
        assert "cannot be listed (silent for 0.2 seconds)" in refused(url, workspace)


@pytest.mark.parametrize(
    ("url", "line"),
    [
        ("oss://bucket/pets", "oss://bucket/pets/ cannot be opened: Install ossfs to access Alibaba"),
        ("htps://host/pets", "htps://host/pets/ cannot be opened: Protocol not known: htps"),
        ("file:///nowhere/pets", "file:///nowhere/pets cannot be listed (no such file)"),
    ],
)
def test_a_place_that_cannot_be_opened_is_one_line(workspace: Workspace, url: str, line: str) -> None:
    assert line in refused(url, workspace)


def test_links_that_leave_a_folder_on_disk_are_refused(workspace: Workspace, there: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.png").touch()
    for target in (tmp_path / "secret.png", there / "cat", there / "gone.png"):
        (there / "dog/link.png").symlink_to(target)
        assert "dog/link.png is a link that leaves" in refused(f"file://{there}", workspace)
        (there / "dog/link.png").unlink()
    (there / "dog/link.png").symlink_to(there / "cat/00.png")
    remote.refresh(wanted(f"file://{there}"), workspace)
    found = listing.read(workspace.root / "data/source/listing.json", f"file://{there}")
    sizes = {entry.path: entry.bytes for entry in found.files}
    assert sizes["dog/link.png"] == sizes["cat/00.png"]


def test_too_many_files_are_refused_before_all_are_listed(
    workspace: Workspace, shelf: Shelf, there: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "MOST", 30)
    assert "holds more than 30 files: give the folder that holds the data" in refused(f"file://{there}", workspace)
    shelf.pages["/cat/"] = page(*(f"{number}.png" for number in range(100)))
    assert "holds more than 30 files: give the folder that holds the data" in refused(f"{shelf.url}/cat", workspace)
    assert shelf.asked == [("GET", "/cat/")]


def test_a_page_without_end_is_cut(workspace: Workspace, shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "_MOST", 1000)
    shelf.pages["/"] = page(*(f"{number}.png" for number in range(10**5)))
    assert "is longer than 1,000 bytes" in refused(shelf.url, workspace)


def test_a_listing_that_is_both_a_file_and_a_folder_is_refused() -> None:
    entries = [listing.Entry(path, 1, "") for path in ("cat", "cat/black/1.png", "dog/1.png")]
    with pytest.raises(SourceError, match="holds cat both as a file and as a folder"):
        listing.make("s3://bucket/pets", entries)


@pytest.mark.parametrize("content", [b"", b"longer" * 1000])
def test_a_file_of_another_size_than_listed_is_refused(
    workspace: Workspace, shelf: Shelf, there: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    params, inspect = wanted(shelf.url), web.Web.inspect
    remote.refresh(params, workspace)
    listed = {entry.path: entry for entry in listing.read(workspace.root / "data/source/listing.json", shelf.url).files}

    def then_changed(site: web.Web, path: str) -> listing.Entry:  # between the question and the answer
        (there / "cat/00.png").write_bytes(content)
        return listed[path] if path == "cat/00.png" else inspect(site, path)

    monkeypatch.setattr(web.Web, "inspect", then_changed)
    with pytest.raises(
        SourceError, match=r"cat/00\.png was listed with \d+ bytes and holds (only 0|more): `python -m pipeline run`"
    ):
        stage.run(params, workspace)
    assert not workspace.dataset.exists()


def test_a_server_that_tells_no_version_is_said(workspace: Workspace, shelf: Shelf, capsys: pytest.CaptureFixture[str]) -> None:
    shelf.hidden = ("Last-Modified", "Date")
    remote.refresh(wanted(shelf.url), workspace)
    assert "if they change and keep their size, nobody will see it" in capsys.readouterr().out


@pytest.mark.parametrize("url", ["https://me:hunter2@host/pets", "https://hunter2@host/pets", "s3://me:hunter2@bucket/pets"])
def test_a_password_in_the_url_never_reaches_params_or_the_screen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], url: str
) -> None:
    (tmp_path / "dvc.yaml").touch()
    before = (Path(__file__).parents[1] / "params.yaml").read_text(encoding="utf-8")
    (tmp_path / "params.yaml").write_text(before, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["pipeline", "run", "--dataset", "folder", "--name", "pets", "--url", url])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capsys.readouterr()
    assert ended.value.code == 1
    assert "ingest: url holds a user, a password or a query, which git and MLflow would show" in said.err
    assert said.err.count("\n") == 1
    assert "hunter2" not in said.err + said.out
    assert (tmp_path / "params.yaml").read_text(encoding="utf-8") == before
