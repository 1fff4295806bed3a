import gzip
import hashlib
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from pipeline import dataset
from pipeline.dataset import SPLITS, SourceFile, Split
from pipeline.errors import SourceError
from pipeline.ingest import known, stage
from pipeline.ingest.images import draw_grid
from pipeline.ingest.known import Known
from pipeline.params import IngestParams
from pipeline.workspace import Workspace


def wanted(**changed: object) -> IngestParams:
    settings: dict[str, object] = {
        "dataset": "digits",
        "source": "data/source",
        "name": "",
        "class_names": [],
        "channels": 1,
    }
    settings |= {
        "image_size": 28,
        "resize": "stretch",
        "on_damaged": "stop",
        "validation_fraction": 0.1,
        "test_fraction": 0.2,
        "seed": 42,
    }
    return IngestParams.model_validate({**settings, **changed})


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.delenv("DATASET_MIRROR", raising=False)
    return Workspace(tmp_path, tmp_path)


@pytest.fixture
def tiny_fashion(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Known:
    """Two classes of 2×2 pixels in hand-made IDX files named fashion-mnist: 20 training images, 4 test images."""
    images = {"train": b"\0\0\x08\3" + bytes.fromhex("00000014 00000002 00000002") + bytes(range(80))}
    images["test"] = b"\0\0\x08\3" + bytes.fromhex("00000004 00000002 00000002") + bytes(range(100, 116))
    labels = {"train": b"\0\0\x08\1" + bytes.fromhex("00000014") + b"\0\1" * 10, "test": b"\0\0\x08\1\0\0\0\4\1\0\1\0"}
    files = []
    workspace.downloads.mkdir(parents=True)
    for split in ("train", "test"):
        for kind, content in (("images", images[split]), ("labels", labels[split])):
            packed = gzip.compress(content, mtime=0)
            (workspace.downloads / f"{split}-{kind}.gz").write_bytes(packed)
            files.append(SourceFile(f"{split}-{kind}.gz", len(packed), hashlib.sha256(packed).hexdigest()))
    tiny = Known("fashion-mnist", ("cat", "dog"), horizontal_flip=True, files=tuple(files))
    monkeypatch.setattr(known, "CATALOG", {"fashion-mnist": tiny})
    return tiny


def everything_in(workspace: Workspace) -> dict[str, bytes]:
    folders = (workspace.dataset.parent, workspace.samples_png.parent)
    paths = [path for folder in folders if folder.exists() for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(workspace.root)): path.read_bytes() for path in paths}


def test_digits_are_split_per_class_and_resized(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    stage.run(wanted(), workspace)
    data = dataset.read(workspace.dataset)
    assert np.bincount(data.train.labels).tolist() == [128, 131, 128, 131, 131, 131, 131, 129, 125, 130]
    assert np.bincount(data.validation.labels).tolist() == [14, 15, 14, 15, 14, 15, 14, 14, 14, 14]
    assert np.bincount(data.test.labels).tolist() == [36, 36, 35, 37, 36, 36, 36, 36, 35, 36]
    assert data.description.image_shape == (28, 28, 1)
    assert data.description.class_names == ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
    assert [(source.name, source.bytes) for source in data.description.sources] == [("scikit-learn digits.csv.gz", 57523)]
    assert (
        re.sub(r"[\d,]+ images/s", "N images/s", capsys.readouterr().out)
        == f"""\
digits from scikit-learn digits.csv.gz: 1,797 images of 10 classes
  train       images (1295, 28, 28, 1) uint8  labels (1295,) int32
  validation  images (143, 28, 28, 1) uint8   labels (143,) int32
  test        images (359, 28, 28, 1) uint8   labels (359,) int32
  the source has no test set: 20 % of each class are held out as one
wrote data/dataset/ and reports/samples.png, N images/s, digest {data.description.digest[:8]}
"""
    )


def test_digits_in_their_own_size_are_only_brightened(workspace: Workspace) -> None:
    stage.run(wanted(image_size=8), workspace)
    original = load_digits()
    for split in dataset.read(workspace.dataset).splits().values():
        brightened = np.rint(original.images[split.source_index] * 15.9375)  # 0-16 becomes 0-255
        assert np.array_equal(split.images[..., 0], brightened)
        assert np.array_equal(split.labels, original.target[split.source_index])


def test_equal_params_give_equal_bytes(workspace: Workspace) -> None:
    stage.run(wanted(), workspace)
    first = everything_in(workspace)
    assert sorted(first) == sorted(
        ["data/dataset/dataset.json", "reports/samples.png"]
        + [f"data/dataset/{split}/{part}.npy" for split in SPLITS for part in ("images", "labels", "source_index")]
    )
    stage.run(wanted(), workspace)
    assert everything_in(workspace) == first
    stage.run(wanted(seed=43), workspace)
    assert everything_in(workspace)["data/dataset/dataset.json"] != first["data/dataset/dataset.json"]


def test_idx_files_keep_their_test_set(workspace: Workspace, tiny_fashion: Known) -> None:
    stage.run(wanted(dataset="fashion-mnist", image_size=8), workspace)
    data = dataset.read(workspace.dataset)
    assert data.description.counts == {"train": 18, "validation": 2, "test": 4}
    assert data.description.sources == tiny_fashion.files
    assert data.test.labels.tolist() == [1, 0, 1, 0]
    assert data.test.source_index.tolist() == [0, 1, 2, 3]
    assert data.test.images[:, 0, 0, 0].tolist() == [100, 104, 108, 112]  # a corner stays what it was
    assert data.train.images[:, 0, 0, 0].tolist() == (data.train.source_index * 4).tolist()


def test_invalid_source_leaves_no_data(workspace: Workspace, tiny_fashion: Known) -> None:
    (workspace.downloads / tiny_fashion.files[3].name).write_bytes(b"?")
    before = everything_in(workspace)
    with pytest.raises(SourceError, match=r"data/downloads/test-labels\.gz holds 1 bytes"):
        stage.run(wanted(dataset="fashion-mnist"), workspace)
    assert everything_in(workspace) == before


def test_a_downloads_folder_that_cannot_be_written_is_named(
    workspace: Workspace, tiny_fashion: Known, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known, "CATALOG", {"fashion-mnist": replace(tiny_fashion, urls=("http://127.0.0.1:9",))})
    shutil.rmtree(workspace.downloads)
    workspace.downloads.write_text("a file, not a folder")
    with pytest.raises(SourceError, match=r"^data/downloads cannot be written \(Not a directory\): free disk space, or check"):
        stage.run(wanted(dataset="fashion-mnist"), workspace)


def test_interruption_leaves_what_was_there_before(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    for earlier_run in (False, True):
        if earlier_run:
            stage.run(wanted(), workspace)
        before = everything_in(workspace)
        monkeypatch.setattr(stage, "draw_grid", interrupted)
        with pytest.raises(KeyboardInterrupt):
            stage.run(wanted(seed=43), workspace)
        monkeypatch.setattr(stage, "draw_grid", draw_grid)
        assert everything_in(workspace) == before
        assert workspace.dataset.exists() == earlier_run


def test_sample_grid_shows_twelve_training_images_of_each_class(workspace: Workspace) -> None:
    stage.run(wanted(image_size=8), workspace)
    train = dataset.read(workspace.dataset).train
    with Image.open(workspace.samples_png) as grid:
        pixels = np.asarray(grid.convert("L"))
    zeros = train.images[train.labels == 0][..., 0]
    for column, image in ((0, zeros[0]), (11, zeros[-1])):
        right = pixels.shape[1] - 40 - (11 - column) * 92  # margin, then cells of 84 pixels 8 apart
        assert np.array_equal(pixels[40:124, right - 84 : right], np.asarray(Image.fromarray(image).resize((84, 84), 0)))
    assert pixels.shape[0] == 40 + 10 * 92 - 8 + 40


@pytest.mark.parametrize(("classes", "height"), [(50, 50 * 92 - 8), (136, 136 * 46 - 4), (1000, 201 * 46 - 4)])
def test_sample_grid_stays_an_image_that_can_be_opened(tmp_path: Path, classes: int, height: int) -> None:
    rows = np.arange(classes, dtype=np.int32)
    draw_grid(
        tmp_path / "grid.png",
        Split(np.zeros((classes, 8, 8, 1), np.uint8), rows, rows),
        ("猫" * 200, "x" * 200) * (classes // 2),
    )
    with Image.open(tmp_path / "grid.png") as grid:
        assert grid.height == 40 + height + 40
        assert grid.width < 2200


def test_ingest_loads_no_heavy_library_it_does_not_use(workspace: Workspace) -> None:
    code = f"""
import sys
from dataclasses import replace
from pathlib import Path
from pipeline.ingest import stage
from pipeline.params import IngestParams
from pipeline.workspace import Workspace
here = Path(sys.argv[1])
early = {{"pooch", "requests", "PIL", "sklearn", "tqdm", "filelock"}} & set(sys.modules)
assert not early, early
stage.run(IngestParams.model_validate({wanted().model_dump()}), Workspace(here, here))
heavy = {{"tensorflow", "keras", "mlflow", "matplotlib", "great_expectations", "pooch", "requests"}} & set(sys.modules)
assert not heavy, heavy
"""
    checkout = Path(stage.__file__).parents[2]
    subprocess.run([sys.executable, "-c", code, str(workspace.root)], check=True, timeout=60, cwd=checkout)
