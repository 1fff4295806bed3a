"""One's own data at a URL, from real servers on this machine: listed by `run`, brought and read by ingest."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline import dataset
from pipeline.dataset import Description
from pipeline.errors import SourceError
from pipeline.ingest import listing, remote, stage
from pipeline.params import IngestParams
from pipeline.workspace import Workspace
from tests.ingest.damage import good_folder, good_idx, good_npz
from tests.ingest.shelf import Shelf, serving


def wanted(url: str, kind: str = "folder", **changed: object) -> IngestParams:
    settings: dict[str, object] = {"dataset": kind, "source": "data/source", "url": url, "name": "pets", "class_names": []}
    settings |= {"channels": 1, "image_size": 8, "resize": "stretch", "seed": 42}
    return IngestParams.model_validate({**settings, "validation_fraction": 0.1, "test_fraction": 0.2, **changed})


@pytest.fixture
def there(tmp_path: Path) -> Path:
    """Where the data lies: cat/ and dog/ with 20 pictures each."""
    folder = tmp_path / "there"
    folder.mkdir()
    good_folder(folder)
    return folder


@pytest.fixture
def shelf(there: Path) -> Iterator[Shelf]:
    with serving(there) as started:
        yield started


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    (tmp_path / "here/data/source").mkdir(parents=True)
    return Workspace(tmp_path / "here", tmp_path / "here")


def ingest(params: IngestParams, workspace: Workspace) -> Description:
    """What `run` does as far as the data set."""
    remote.refresh(params, workspace)
    stage.run(params, workspace)
    return dataset.describe(workspace.dataset)


def put(path: Path, seed: int) -> Path:
    Image.fromarray(np.random.default_rng(seed).integers(256, size=(8, 8), dtype=np.uint8)).save(path)
    return path


def brought(workspace: Workspace) -> dict[str, bytes]:
    folder = workspace.downloads / "pets"
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def held(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def said_by(params: IngestParams, workspace: Workspace) -> str:
    with pytest.raises(SourceError) as error:
        ingest(params, workspace)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_folder_on_a_web_server_gives_the_data_set_that_it_gives_on_disk(
    workspace: Workspace, there: Path, shelf: Shelf, capsys: pytest.CaptureFixture[str]
) -> None:
    (there / ".DS_Store").touch()
    put(there / "cat/a b#é%20&+.png", 1)
    stage.run(wanted("", source=str(there)), workspace)
    on_disk = dataset.describe(workspace.dataset)
    assert ingest(wanted(shelf.url), workspace) == on_disk
    assert brought(workspace) == {name: content for name, content in held(there).items() if name != ".DS_Store"}
    said = capsys.readouterr()
    assert f"{shelf.url}: 41 files, " in said.out
    assert f"from {shelf.url} into data/dataset/" in said.out
    assert f"downloading 41 of 41 files ({sum(map(len, brought(workspace).values())):,} bytes) from {shelf.url}" in said.err


def test_what_is_added_changed_or_removed_there_is_listed_and_only_that_is_brought(
    workspace: Workspace, there: Path, shelf: Shelf
) -> None:
    params, path = wanted(f"{shelf.url}/"), workspace.root / "data/source/listing.json"
    first, listed = ingest(params, workspace), path.read_bytes()
    shelf.asked.clear()
    assert ingest(params, workspace) == first
    assert path.read_bytes() == listed
    assert shelf.fetched() == []

    put(there / "cat/new.png", 1)
    assert sum(ingest(params, workspace).counts.values()) == 41
    assert path.read_bytes() != listed
    assert shelf.fetched() == ["/cat/new.png"]

    before = brought(workspace)
    os.utime(put(there / "cat/new.png", 2), (10**9, 10**9))
    ingest(params, workspace)
    assert shelf.fetched() == ["/cat/new.png"]
    assert brought(workspace)["cat/new.png"] != before["cat/new.png"]

    (there / "cat/new.png").unlink()
    assert ingest(params, workspace) == first
    assert path.read_bytes() == listed
    assert brought(workspace) == held(there)


def test_other_urls_and_data_sets_under_the_same_name_never_bring_stale_data(
    workspace: Workspace, there: Path, shelf: Shelf, tmp_path: Path
) -> None:
    first = ingest(wanted(shelf.url), workspace)
    other = tmp_path / "other"
    for name, content in held(there).items():  # the same names, sizes and dates; other pictures
        (other / name).parent.mkdir(parents=True, exist_ok=True)
        (other / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        put(other / name, len(name) + int(name[4:6]))
        os.utime(other / name, (10**9, 10**9))
        os.utime(there / name, (10**9, 10**9))
    with serving(other) as second:
        assert ingest(wanted(second.url), workspace).digest != first.digest
        assert brought(workspace) == held(other)
    digits = wanted("", "digits", name="")
    assert ingest(digits, workspace).name == "digits"
    assert not (workspace.root / "data/source/listing.json").exists()
    (there / "dog/00.png").unlink()
    assert sum(ingest(wanted(shelf.url), workspace).counts.values()) == 39
    assert brought(workspace) == held(there)


@pytest.mark.parametrize("web", [True, False])
def test_idx_files_and_an_npz_file_are_read_from_a_url(
    workspace: Workspace, there: Path, shelf: Shelf, tmp_path: Path, web: bool
) -> None:
    (there / "idx").mkdir()
    good_idx(there / "idx")
    good_npz(there)
    place = shelf.url if web else f"file://{tmp_path}/there"
    assert ingest(wanted(f"{place}/idx", "idx"), workspace).counts["test"] == 40
    assert ingest(wanted(f"{place}/pets.npz", "npz"), workspace).counts["test"] == 40
    assert list(brought(workspace)) == ["pets.npz"]
    assert "pets.npz is a file: folder needs the folder" in said_by(wanted(f"{place}/pets.npz"), workspace)


def test_a_folder_by_file_url_and_one_in_memory(workspace: Workspace, there: Path) -> None:
    from fsspec.implementations.memory import MemoryFileSystem

    first = ingest(wanted(f"file://{there}"), workspace)
    assert ingest(wanted(f"file://{there}/"), workspace) == first
    MemoryFileSystem().put(str(there), "/pets", recursive=True)
    assert ingest(wanted("memory://pets"), workspace) == first
    assert brought(workspace) == held(there)


def test_what_came_before_the_line_broke_is_not_fetched_again(workspace: Workspace, there: Path, shelf: Shelf) -> None:
    (there / "cat/film.avi").write_bytes(np.random.default_rng(0).bytes(3_000_000))
    shelf.cut.add("/cat/film.avi")
    remote.refresh(wanted(shelf.url), workspace)
    with pytest.raises(SourceError, match=r"cat/film\.avi cannot be had \(.+\): try again, what came is kept"):
        stage.run(wanted(shelf.url), workspace)
    assert not workspace.dataset.exists()
    shelf.cut.clear()
    shelf.ranges.clear()
    stage.run(wanted(shelf.url), workspace)
    (start,) = shelf.ranges
    assert start > 1_000_000
    assert brought(workspace) == held(there)


def test_a_password_is_taken_from_netrc(
    workspace: Workspace, shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf.login = "me:secret"
    assert "cannot be listed (HTTP status 401)" in said_by(wanted(shelf.url), workspace)
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert sum(ingest(wanted(shelf.url), workspace).counts.values()) == 40


def test_a_source_that_is_gone_or_changed_since_it_was_listed(workspace: Workspace, there: Path, shelf: Shelf) -> None:
    params = wanted(shelf.url)
    remote.refresh(params, workspace)
    os.utime(put(there / "cat/00.png", 7), (10**9, 10**9))
    with pytest.raises(
        SourceError, match=r"cat/00\.png has changed since it was listed: `python -m pipeline run` lists it again"
    ):
        stage.run(params, workspace)
    (there / "cat/00.png").unlink()
    with pytest.raises(SourceError, match=r"/cat/00\.png cannot be had \(no such file\): try again, what came is kept"):
        stage.run(params, workspace)
    remote.refresh(params, workspace)
    stage.run(params, workspace)
    assert sum(dataset.describe(workspace.dataset).counts.values()) == 39


def test_ingest_needs_the_listing_of_the_url_that_params_say(workspace: Workspace, shelf: Shelf) -> None:
    path = workspace.root / "data/source/listing.json"
    with pytest.raises(SourceError, match=r"listing\.json does not exist: `python -m pipeline run` makes it"):
        stage.run(wanted(shelf.url), workspace)
    remote.refresh(wanted(shelf.url), workspace)
    with pytest.raises(SourceError, match=rf"lists {shelf.url}, but ingest.url is {shelf.url}/cat: `python -m pipeline run`"):
        stage.run(wanted(f"{shelf.url}/cat"), workspace)
    for content in (b"", b"[]", b'{"url": "x"}', path.read_bytes().replace(b"cat/00.png", b"../../00.png")):
        path.write_bytes(content)
        with pytest.raises(SourceError, match=r"listing\.json is not what `run` writes"):
            stage.run(wanted(shelf.url), workspace)
    assert not (workspace.downloads / "pets").exists()


def test_a_file_of_ones_own_called_listing_is_neither_overwritten_nor_deleted(workspace: Workspace, shelf: Shelf) -> None:
    path = workspace.root / "data/source/listing.json"
    path.write_text("{}")
    assert "is not what `run` writes, and would be overwritten: move it away" in said_by(wanted(shelf.url), workspace)
    remote.refresh(wanted(""), workspace)
    assert path.read_text() == "{}"


@pytest.mark.parametrize("source", ["data/source/README.md", "data/downloads/pets"])
def test_with_a_url_the_source_is_a_folder_of_the_users(workspace: Workspace, shelf: Shelf, source: str) -> None:
    (workspace.root / "data/source/README.md").touch()
    assert "with ingest.url it must be a folder outside data/downloads" in said_by(wanted(shelf.url, source=source), workspace)
    assert listing.FILE not in {path.name for path in workspace.root.rglob("*")}
