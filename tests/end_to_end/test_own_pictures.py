"""A colour folder of one's own, drawn here: through the whole graph, and what `dvc repro` does when pictures come and go."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from pipeline import dataset, params, tracking
from pipeline.commands.run import set_dataset
from pipeline.workspace import Workspace

pytestmark = pytest.mark.slow
Shell = Callable[..., Any]
SHAPES = ("Ball & cube (red)", "disc", "frame")


def draw(path: Path, label: int, seed: int) -> None:
    """One of three shapes in its colour, somewhere in 40×32 pixels of noise; PNG and JPEG in turn."""
    dice = np.random.default_rng([label, seed])
    image = Image.fromarray(dice.integers(0, 90, size=(32, 40, 3), dtype=np.uint8))
    left, top = dice.integers(2, 14, size=2).tolist()
    box, pen = (left, top, left + 16, top + 14), ImageDraw.Draw(image)
    if label == 0:
        pen.rectangle(box, fill=(230, 60, 40))
    elif label == 1:
        pen.ellipse(box, fill=(60, 220, 80))
    else:
        pen.rectangle(box, outline=(90, 120, 250), width=3)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path.with_suffix(".png" if seed % 2 else ".jpg"))


@pytest.fixture
def project(new_clone: Callable[[Path], Path], tmp_path: Path) -> Path:
    """A clone with 150 pictures of each shape in data/source, and the params that fit them."""
    folder = new_clone(tmp_path / "project")
    for label, name in enumerate(SHAPES):
        for seed in range(150):
            draw(folder / "data/source" / name / f"{seed:03}", label, seed)
    path = folder / "params.yaml"
    text = path.read_text(encoding="utf-8")
    for old, new in {
        "dataset: fashion-mnist": "dataset: folder",
        'name: ""': "name: shapes",
        "channels: 1": "channels: 3",
        "architecture: notebook": "architecture: sprint",
        "max_class_imbalance: 1.5": "max_class_imbalance: 4",
        "min_images_per_class: 10": "min_images_per_class: 4",
        "pixel_std_min: 50.0": "pixel_std_min: 10.0",
        "      epochs: 3\n      batch_size: 250": "      epochs: 8\n      batch_size: 32",
        "max_calibration_error: 0.08": "max_calibration_error: 0.5",
        "min_slice_accuracy: 0.50": "min_slice_accuracy: 0.0",
    }.items():
        assert old in text
        text = text.replace(old, new, 1)
    path.write_text(text, encoding="utf-8")
    return folder


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def ran(output: str) -> list[str]:
    return [line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")]


def test_colour_pictures_go_through_the_whole_graph_into_their_own_model(project: Path, shell: Shell) -> None:
    said = shell("dvc", "repro", cwd=project).stdout
    assert ran(said) == ["ingest", "validate", "train", "evaluate", "register"]
    assert "no test set in the source: about 20 % of each class were cut off for one" in said
    description = dataset.describe(project / "data/dataset")
    assert (description.name, description.image_shape, description.class_names) == ("shapes", (28, 28, 3), SHAPES)
    assert sum(description.counts.values()) == 450
    registration = json.loads((project / "reports/registration.json").read_text())
    assert registration["verdict"] == "accepted"
    assert (registration["model_name"], registration["version"]) == ("shapes-classifier", "1")
    report = (project / "reports/report.html").read_text(encoding="utf-8")
    assert "Ball &amp; cube (red)" in report
    workspace = Workspace(project, project)
    client = tracking.connect(workspace)
    (run,) = client.search_runs([tracking.experiment_id(client, workspace, "shapes")])
    assert run.data.params["ingest.name"] == "shapes"
    assert run.data.metrics["test/accuracy"] > 0.9
    assert "shapes-classifier" in shell("python", "-m", "pipeline", "versions", cwd=project).stdout


def test_pictures_that_come_and_go_and_other_data_sets_never_leave_stale_data(project: Path, shell: Shell) -> None:
    def repro() -> tuple[list[str], dataset.Description]:
        said = shell("dvc", "repro", "ingest", cwd=project).stdout
        return ran(said), dataset.describe(project / "data/dataset")

    _, first = repro()
    assert repro() == ([], first)
    draw(project / "data/source/disc/new", 1, 1000)
    stages, more = repro()
    assert (stages, sum(more.counts.values())) == (["ingest"], 451)
    draw(project / "data/source/disc/new", 1, 2000)  # another picture under the same name
    assert repro()[1].digest not in (first.digest, more.digest)
    (project / "data/source/disc/new.jpg").unlink()
    assert repro()[1] == first
    there = params.load(project / "params.yaml")
    set_dataset(project / "params.yaml", "digits")
    assert repro()[1].name == "digits"
    (project / "data/source/frame/000.jpg").unlink()
    set_dataset(project / "params.yaml", "folder", "shapes")
    edit(project / "params.yaml", "channels: 1", "channels: 3")
    assert params.load(project / "params.yaml").ingest == there.ingest
    stages, fewer = repro()
    assert (fewer.name, sum(fewer.counts.values())) == ("shapes", 449)
    set_dataset(project / "params.yaml", "digits")
    assert repro()[1].name == "digits"
