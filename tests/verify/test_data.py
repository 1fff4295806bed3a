"""Where the data of a version is had from, and what is said where it is not the recorded data."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline import dataset, params, provenance
from pipeline.dataset import SPLITS, Description, Split
from pipeline.errors import RegistryError
from pipeline.ingest import stage
from pipeline.verify import arrays, data, worktree
from pipeline.verify.worktree import Worktree
from pipeline.workspace import Workspace

Shell = Callable[..., subprocess.CompletedProcess[str]]
SOMEONE = ("-c", "user.name=somebody", "-c", "user.email=somebody@localhost")


@contextmanager
def beside(project: Path) -> Iterator[tuple[Worktree, Workspace]]:
    """The project's code as it is now, checked out beside it; and the project."""
    here = Workspace(project, project)
    with worktree.checked_out(provenance.git_state(project), "version 1", here) as copy:
        yield copy, here


def bring(project: Path, wanted: Description) -> tuple[str, str]:
    with beside(project) as (copy, here):
        where, difference = data.bring(wanted, copy, here)
        if not difference:
            assert dataset.content_digest(copy.workspace.dataset) == wanted.digest
        return where, difference


@pytest.mark.slow
def test_it_comes_from_here_else_dvcs_cache_else_its_remote_else_the_source(
    built_copy: Path, tmp_path: Path, shell: Shell
) -> None:
    wanted = dataset.describe(built_copy / "data/dataset")
    shell("dvc", "remote", "add", "--local", "--default", "store", str(tmp_path / "remote"), cwd=built_copy)
    shell("dvc", "push", cwd=built_copy)
    shell("git", "add", "-A", cwd=built_copy)
    shell("git", *SOMEONE, "commit", "-q", "-m", "results", cwd=built_copy)
    assert bring(built_copy, wanted) == ("data/dataset of this checkout", "")
    shutil.rmtree(built_copy / "data/dataset")
    assert bring(built_copy, wanted) == ("DVC's cache", "")
    shutil.rmtree(built_copy / ".dvc/cache")
    assert bring(built_copy, wanted) == ("DVC's remote", "")
    shutil.rmtree(tmp_path / "remote")
    assert bring(built_copy, wanted) == ("the source, ingested again", "")
    assert not (built_copy / "data/dataset").exists()


@pytest.mark.slow
def test_a_damaged_cache_is_passed_over(built_copy: Path) -> None:
    wanted = dataset.describe(built_copy / "data/dataset")
    digest = (built_copy / "data/dataset/train/images.npy").stat().st_size
    for path in (built_copy / ".dvc/cache/files/md5").rglob("*"):
        if path.is_file() and path.stat().st_size == digest:
            path.chmod(0o644)
            path.write_bytes(b"nothing of this")
    shutil.rmtree(built_copy / "data/dataset")
    assert bring(built_copy, wanted) == ("the source, ingested again", "")


@pytest.fixture
def own(new_clone: Callable[[Path], Path], tmp_path: Path) -> Path:
    """A clone with pictures of one's own, ingested; DVC knows nothing of them."""
    folder = new_clone(tmp_path / "project")
    dice = np.random.default_rng(0)
    for name in ("disc", "frame"):
        for number in range(10):
            path = folder / "data/source" / name / f"{number}.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(dice.integers(0, 255, size=(28, 28), dtype=np.uint8)).save(path)
    path = folder / "params.yaml"
    text = path.read_text().replace("dataset: fashion-mnist", "dataset: folder").replace('name: ""', "name: shapes")
    path.write_text(text)
    stage.run(params.load(path).ingest, Workspace(folder, folder))
    return folder


@pytest.mark.slow
def test_an_altered_picture_of_ones_own_is_named_as_well_as_it_was_recorded(own: Path) -> None:
    wanted = dataset.describe(own / "data/dataset")
    shutil.rmtree(own / "data/dataset")
    assert bring(own, wanted) == ("the source, ingested again", "")
    picture = own / "data/source/disc/3.png"
    pixels = np.array(Image.open(picture))
    pixels[4, 5] ^= 1
    Image.fromarray(pixels).save(picture)
    where, difference = bring(own, wanted)
    assert where == "the source, ingested again"
    assert difference.startswith("pictures in the source was altered: its SHA-256 is ")
    shutil.rmtree(own / "data/source")
    with pytest.raises(RegistryError, match=r"^the data shapes \w{12} cannot be had: it is not in .* and ingest failed there:"):
        bring(own, wanted)


def everything_below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.slow
@pytest.mark.parametrize("source", ["../photos", "../../../../../../../../../..{photos}", "data", ".", "data/dataset"])
def test_whatever_source_was_recorded_nothing_outside_the_worktree_is_removed_or_written(own: Path, source: str) -> None:
    wanted = dataset.describe(own / "data/dataset")
    photos = own.parent / "photos"
    shutil.copytree(own / "data/source", photos)
    path = own / "params.yaml"
    path.write_text(path.read_text().replace("source: data/source ", f"source: {source.format(photos=photos)} "))
    shutil.rmtree(own / "data/dataset")
    (own / "data/dataset").mkdir()
    (own / "data/dataset/notes.txt").write_text("the user's own")
    before = everything_below(photos), everything_below(own / "data")
    if "photos" in source:
        assert bring(own, wanted) == ("the source, ingested again", "")
    else:  # these hold other pictures or none
        with pytest.raises(RegistryError, match="cannot be had"):
            bring(own, wanted)
    assert (everything_below(photos), everything_below(own / "data")) == before
    assert not photos.is_symlink()
    assert not (own / "data/dataset").is_symlink()


@pytest.mark.slow
def test_an_altered_pixel_is_named_where_the_right_data_can_be_made_again(own: Path) -> None:
    wanted = dataset.describe(own / "data/dataset")
    images = np.load(own / "data/dataset/test/images.npy", mmap_mode="r+")
    images[1, 2, 3, 0] ^= 1
    images.flush()
    where, difference = bring(own, wanted)
    assert where == "data/dataset of this checkout"
    assert f"says that it is {wanted.digest[:12]}, and is not: test/images.npy row 1 (row" in difference
    shutil.rmtree(own / "data/source")
    assert "its arrays are not those that it was made of (the data shapes" in bring(own, wanted)[1]


def made(folder: Path, **arrays_of_test: Any) -> dataset.Dataset:
    part = Split(np.zeros((5000, 2, 2, 1), np.uint8), np.zeros(5000, np.int32), np.arange(5000, dtype=np.int32) + 7)
    folder.mkdir()
    parts = {**dict.fromkeys(SPLITS, part), "test": replace(part, **arrays_of_test)}
    dataset.write(folder, "toys", ("a", "b"), parts, ())
    return dataset.read(folder)


def test_the_first_row_that_differs_is_told_with_its_place_and_values(tmp_path: Path) -> None:
    images, labels = np.zeros((5000, 2, 2, 1), np.uint8), np.zeros(5000, np.int32)
    images[4500, 1, 0, 0], images[4500, 1, 1, 0], labels[4999] = 9, 9, 1
    right = made(tmp_path / "right")
    assert arrays.first_difference(right, right) == ""
    assert arrays.first_difference(right, made(tmp_path / "images", images=images)) == (
        "test/images.npy row 4500 (row 4507 of the source) is 9 at (1, 0, 0), not 0, and 1 more"
    )
    assert arrays.first_difference(right, made(tmp_path / "labels", labels=labels)) == (
        "test/labels.npy row 4999 (row 5006 of the source) is 1, not 0"
    )
