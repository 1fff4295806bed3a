"""Where the data of a version comes from, and what is reported where it is not the recorded data."""

import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline import dataset, params, provenance
from pipeline.dataset import SPLITS, Description, Split
from pipeline.errors import PipelineError, RegistryError
from pipeline.ingest import stage
from pipeline.provenance import GitState
from pipeline.verify import data, rebuild
from pipeline.workspace import Workspace
from tests import data_sets
from tests.verify.entries import entry

Shell = Callable[..., subprocess.CompletedProcess[str]]
pytestmark = pytest.mark.slow


def bring(
    project: Path, wanted: Description, recorded_params: str = "", dvc_lock: str = "", git: GitState | None = None
) -> tuple[str, str]:
    """Bring the data of a version into a worktree; by default it was trained with the project as it is now."""
    here = Workspace(project, project)
    lock = project / "dvc.lock"
    files = entry(recorded_params or here.params.read_text(), dvc_lock or (lock.read_text() if lock.exists() else ""))
    with rebuild.worktree(git or provenance.git_state(project), "version 1", here) as there:
        rebuild.write_params(files, there, here)
        place, difference = data.bring(wanted, files.dvc_lock, there, here)
        if not difference:
            assert dataset.content_digest(there.dataset) == wanted.digest
        return place, difference


def files_in(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Path → content and time of change; the index that `git diff` refreshes is not looked at."""
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file() and ".git" not in path.parts)
    found = {path: path.lstat().st_mtime_ns for path in paths}
    return {str(path.relative_to(folder)): (path.read_bytes(), time) for path, time in found.items()}


def test_data_comes_from_the_checkout_else_dvcs_cache_else_its_remote_else_the_source(
    built_copy: Path, tmp_path: Path, shell: Shell
) -> None:
    wanted = dataset.describe(built_copy / "data/dataset")
    shell("dvc", "remote", "add", "--local", "--default", "store", "../remote", cwd=built_copy)
    shell("dvc", "push", cwd=built_copy)
    assert bring(built_copy, wanted) == ("data/dataset of this checkout", "")
    shutil.rmtree(built_copy / "data/dataset")
    before = files_in(built_copy / ".dvc")
    assert bring(built_copy, wanted) == ("DVC's cache", "")
    assert files_in(built_copy / ".dvc") == before
    shutil.rmtree(built_copy / ".dvc/cache")
    before = files_in(tmp_path / "remote")
    assert bring(built_copy, wanted) == ("DVC's remote", "")
    assert files_in(tmp_path / "remote") == before
    assert not (built_copy / ".dvc/cache").exists()
    shutil.rmtree(tmp_path / "remote")
    assert bring(built_copy, wanted) == ("the source, ingested again", "")
    assert not (built_copy / "data/dataset").exists()


def test_a_damaged_cache_is_left_as_it_is_and_the_data_ingested_again(built_copy: Path) -> None:
    wanted = dataset.describe(built_copy / "data/dataset")
    size = (built_copy / "data/dataset/train/images.npy").stat().st_size
    for path in (built_copy / ".dvc/cache/files/md5").rglob("*"):
        if path.is_file() and path.stat().st_size == size:
            path.chmod(0o644)
            path.write_bytes(b"damaged")
    shutil.rmtree(built_copy / "data/dataset")
    before = files_in(built_copy / ".dvc")
    assert bring(built_copy, wanted) == ("the source, ingested again", "")
    assert files_in(built_copy / ".dvc") == before


@pytest.mark.exhaustive
def test_a_lock_file_of_other_data_is_no_obstacle(built_copy: Path) -> None:
    wanted = dataset.describe(built_copy / "data/dataset")
    shutil.rmtree(built_copy / "data/dataset")
    (built_copy / "dvc.lock").write_text("schema: '2.0'\nstages: {}\n")
    assert bring(built_copy, wanted) == ("the source, ingested again", "")


@pytest.fixture(scope="module")
def own_data(new_clone: Callable[[Path], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone with images of one's own, ingested; DVC knows nothing of them."""
    folder = new_clone(tmp_path_factory.mktemp("own") / "project")
    generator = np.random.default_rng(0)
    for name in ("disc", "frame"):
        for number in range(30):
            path = folder / "data/source" / name / f"{number}.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(generator.integers(0, 255, size=(28, 28), dtype=np.uint8)).save(path)
    path = folder / "params.yaml"
    text = path.read_text().replace("dataset: fashion-mnist", "dataset: folder").replace('name: ""', "name: shapes")
    path.write_text(text)
    stage.run(params.load(path).ingest, Workspace(folder, folder))
    return folder


@pytest.fixture
def own(own_data: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(own_data, tmp_path / "project"))


def test_an_altered_image_in_the_source_fails_with_its_digests_and_a_missing_source_with_where_it_looked(own: Path) -> None:
    wanted = dataset.describe(own / "data/dataset")
    shutil.rmtree(own / "data/dataset")
    assert bring(own, wanted) == ("the source, ingested again", "")
    image = own / "data/source/disc/3.png"
    pixels = np.array(Image.open(image))
    pixels[4, 5] ^= 1
    Image.fromarray(pixels).save(image)
    place, difference = bring(own, wanted)
    assert place == "the source, ingested again"
    assert " in the source was altered: its SHA-256 is " in difference
    shutil.rmtree(own / "data/source")
    with pytest.raises(RegistryError, match=r"^the data set shapes \w{12} is not in .*, and ingest failed in the worktree: "):
        bring(own, wanted)


@pytest.fixture
def photos(own: Path) -> Path:
    """The same images outside the checkout, as a folder, an archive and a table; links to them; and no data in the checkout."""
    folder = own.parent / "photos"
    shutil.copytree(own / "data/source", folder)
    shutil.make_archive(str(folder), "zip", folder)
    rows = [f"{path.relative_to(folder)},{path.parent.name}\n" for path in sorted(folder.glob("*/*.png"))]
    (folder / "table.csv").write_text("".join(["file,label\n", *rows]))
    for link in (own.parent / "link-to-photos", own / "data/link-to-photos"):
        link.symlink_to(folder)
    shutil.rmtree(own / "data/dataset")
    (own / "data/dataset").mkdir()
    (own / "data/dataset/notes.txt").write_text("the user's own")
    return folder


@pytest.mark.parametrize(
    "source",
    [
        "../../../../../../../../../..{photos}",
        "../link-to-photos",
        "../photos.zip",
        "../photos/table.csv",
        "data",
        ".",
        "..",
        "data/dataset",
        "/",
        "/dev/zero",
        "../gone",
    ],
)
def test_whatever_source_was_recorded_nothing_outside_the_worktree_is_removed_or_written(
    own: Path, own_data: Path, photos: Path, source: str
) -> None:
    wanted = dataset.describe(own_data / "data/dataset")
    recorded = (own / "params.yaml").read_text().replace("source: data/source ", f"source: {source.format(photos=photos)} ")
    if source.endswith("csv"):
        recorded = recorded.replace("dataset: folder", "dataset: csv")
    before = files_in(own.parent)
    if "photos" in source:
        assert bring(own, wanted, recorded)[0] == "the source, ingested again"
    else:
        with pytest.raises(PipelineError, match=r"ingest\.source") as error:
            bring(own, wanted, recorded)
        assert ("is out of bounds" in str(error.value)) == (source not in ("/dev/zero", "../gone"))
        assert "\n" not in str(error.value)
    assert files_in(own.parent) == before
    assert not photos.is_symlink()
    assert (own / "data/link-to-photos").readlink() == photos


def test_recorded_dvc_files_that_lead_outside_are_never_acted_on(own: Path, own_data: Path, photos: Path, shell: Shell) -> None:
    for path, text, hostile_text in (
        ("dvc.yaml", "- data/dataset\n", f"- {photos}:\n    persist: false\n"),
        (".dvc/config", "[core]\n", f"[cache]\n    dir = {photos}\n    type = symlink\n[core]\n"),
    ):
        known = (own / path).read_text()
        assert text in known
        (own / path).write_text(known.replace(text, hostile_text))
    hostile = provenance.git_state(own)
    shell("git", "checkout", "-q", "dvc.yaml", ".dvc/config", cwd=own)
    outs = f"[{{path: {photos}, md5: {'aa' * 16}.dir}}, {{path: data/dataset, md5: {'bb' * 16}.dir}}]"
    before = files_in(own.parent)
    recorded = (own / "params.yaml").read_text().replace("source: data/source ", "source: ../photos ")
    wanted = dataset.describe(own_data / "data/dataset")
    lock = f"schema: '2.0'\nstages: {{ingest: {{cmd: evil, outs: {outs}}}}}\n"
    assert bring(own, wanted, recorded, lock, hostile) == ("the source, ingested again", "")
    assert files_in(own.parent) == before


def test_dvcs_files_are_copied_by_digest_and_nothing_else_that_they_say_is_done(tmp_path: Path) -> None:
    (tmp_path / ".dvc").mkdir()
    cache, target = tmp_path / ".dvc/cache/files/md5", tmp_path / "there/data/dataset"
    listing = "aa" * 16 + ".dir"

    def fetch(*members: tuple[str, str]) -> None:
        for md5, text in {
            "bb" * 16: "content",
            listing: json.dumps([{"relpath": path, "md5": md5} for path, md5 in members]),
        }.items():
            path = cache / md5[:2] / md5[2:]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        data.main(str(tmp_path), "cache", listing, str(target))

    fetch(("train/labels.npy", "bb" * 16), ("dataset.json", "bb" * 16))
    assert (target / "train/labels.npy").read_text() == (target / "dataset.json").read_text() == "content"
    shutil.rmtree(target)
    (tmp_path / "secret").write_text("of the user")
    for path, md5 in (
        ("../../../outside", "bb" * 16),
        (f"{tmp_path}/outside", "bb" * 16),
        ("a/../../outside", "bb" * 16),
        ("inside", "bb/../../../../../../../../secret"),
        ("inside", "zz" * 16),
    ):
        with pytest.raises(ValueError, match=r"^not a"):
            fetch((path, md5))
    with pytest.raises(ValueError, match="too large"):
        fetch(("x" * 1_000_000, "bb" * 16))
    assert not target.exists()
    assert {path.name for path in tmp_path.iterdir()} <= {".dvc", "there", "secret"}


@pytest.mark.parametrize(
    "lock",
    [
        "",
        "stages: [",
        "stages: {ingest: {outs: [{path: data/dataset, md5: 1}]}}",
        "stages: {ingest: {outs: [{path: data/dataset, md5: ../../../../etc.dir}]}}",
        "stages: {ingest: {outs: {path: data/dataset}}}",
        "[" * 100_000,
        f"stages: {'9' * 5000}",
    ],
)
def test_a_dvc_lock_that_names_no_digest_is_no_obstacle(lock: str) -> None:
    assert data._recorded_digest(lock) == ""


def test_an_altered_pixel_is_named_if_the_recorded_data_can_be_reproduced(own: Path) -> None:
    wanted = dataset.describe(own / "data/dataset")
    images = np.load(own / "data/dataset/test/images.npy", mmap_mode="r+")
    images[1, 2, 3, 0] ^= 1
    images.flush()
    place, difference = bring(own, wanted)
    assert place == "data/dataset"
    assert f"data/dataset claims digest {wanted.digest[:12]}, but test/images.npy row 1 (source row" in difference
    shutil.rmtree(own / "data/source")
    assert "its arrays were altered (the data set shapes" in bring(own, wanted)[1]


def toys(folder: Path, **test: Any) -> dataset.Dataset:
    part = Split(np.zeros((5000, 2, 2, 1), np.uint8), np.zeros(5000, np.int32), np.arange(5000, dtype=np.int32) + 7)
    folder.mkdir()
    data_sets.write(folder, "toys", ("a", "b"), {**dict.fromkeys(SPLITS, part), "test": replace(part, **test)}, ())
    return dataset.read(folder)


def test_the_first_row_that_differs_is_reported_with_its_place_and_values(tmp_path: Path) -> None:
    images, labels = np.zeros((5000, 2, 2, 1), np.uint8), np.zeros(5000, np.int32)
    images[4500, 1, 0, 0], images[4500, 1, 1, 0], labels[4999] = 9, 9, 1
    recorded = toys(tmp_path / "recorded")
    assert data.first_difference(recorded, toys(tmp_path / "images", images=images)) == (
        "test/images.npy row 4500 (source row 4507) is 9 at (1, 0, 0), not 0"
    )
    assert data.first_difference(recorded, toys(tmp_path / "labels", labels=labels)) == (
        "test/labels.npy row 4999 (source row 5006) is 1, not 0"
    )
    fewer = {"images": images[1:], "labels": labels[1:], "source_index": labels[1:]}
    assert data.first_difference(recorded, toys(tmp_path / "fewer", **fewer)) == (
        "test/images.npy has the shape (4999, 2, 2, 1), not (5000, 2, 2, 1)"
    )
    assert data.first_difference(recorded, recorded) == "its class names were altered"
