"""A colour folder of the user's own, drawn here: through the whole graph, after changes to its files, and imported by DVC."""

import json
import shutil
import threading
from collections.abc import Callable
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from pipeline import dataset, params, tracking
from pipeline.commands.edit import set_dataset, set_values
from pipeline.workspace import Workspace
from tests.ingest.sources import write_npz

pytestmark = pytest.mark.slow
Shell = Callable[..., Any]
SHAPES = ("Ball & cube (red)", "disc", "frame")
COMMITTER = ("-c", "user.name=somebody", "-c", "user.email=somebody@localhost")
SHAPES_PARAMS: dict[str, object] = {
    "ingest.channels": 3,
    "train.architecture": "sprint",
    "train.recipes.sprint.epochs": 8,
    "train.recipes.sprint.batch_size": 32,
    "register.max_calibration_error": 0.5,
    "register.min_slice_accuracy": 0.0,
}


def draw(path: Path, label: int, seed: int) -> None:
    """Write one of three shapes in its colour, somewhere in 40×32 pixels of noise; PNG and JPEG in turn."""
    random = np.random.default_rng([label, seed])
    image = Image.fromarray(random.integers(0, 90, size=(32, 40, 3), dtype=np.uint8))
    left, top = random.integers(2, 14, size=2).tolist()
    box, pen = (left, top, left + 16, top + 14), ImageDraw.Draw(image)
    if label == 0:
        pen.rectangle(box, fill=(230, 60, 40))
    elif label == 1:
        pen.ellipse(box, fill=(60, 220, 80))
    else:
        pen.rectangle(box, outline=(90, 120, 250), width=3)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path.with_suffix(".png" if seed % 2 else ".jpg"))


def draw_all(folder: Path, count: int) -> None:
    """Write `count` images of each shape into its class folder."""
    for label, name in enumerate(SHAPES):
        for seed in range(count):
            draw(folder / name / f"{seed:03}", label, seed)


@pytest.fixture
def project(new_clone: Callable[[Path], Path], tmp_path: Path) -> Path:
    """A clone set to a folder of shapes, with the params that fit them; data/source is empty."""
    folder = new_clone(tmp_path / "project")
    set_dataset(folder / "params.yaml", "folder", "shapes")
    set_values(folder / "params.yaml", SHAPES_PARAMS)
    return folder


def stages_run(output: str) -> list[str]:
    return [line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")]


def test_colour_images_go_through_the_whole_graph_into_their_own_model(project: Path, shell: Shell) -> None:
    draw_all(project / "data/source", 150)
    printed = shell("dvc", "repro", cwd=project).stdout
    assert stages_run(printed) == ["ingest", "validate", "train", "evaluate", "register"]
    assert "the source has no test set: about 20 % of each class are held out as one" in printed
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


@pytest.mark.exhaustive
def test_changed_files_and_other_data_sets_never_leave_stale_data(project: Path, shell: Shell) -> None:
    source, path = project / "data/source", project / "params.yaml"
    draw_all(source, 30)

    def repro() -> tuple[list[str], dataset.Description]:
        printed = shell("dvc", "repro", "ingest", cwd=project).stdout
        return stages_run(printed), dataset.describe(project / "data/dataset")

    _, first = repro()
    assert repro() == ([], first)
    draw(source / "disc/new", 1, 1000)
    draw(source / "disc/000", 1, 2000)  # another image of the same name
    stages, more = repro()
    assert (stages, sum(more.counts.values())) == (["ingest"], 91)
    (source / "disc/new.jpg").unlink()
    assert repro()[1].digest not in (first.digest, more.digest)
    draw(source / "disc/000", 1, 0)
    assert repro()[1] == first
    chosen = params.load(path).ingest
    set_dataset(path, "digits")
    assert repro()[1].name == "digits"
    (source / "frame/000.jpg").unlink()
    set_dataset(path, "folder", "shapes")
    set_values(path, {"ingest.channels": 3})
    assert params.load(path).ingest == chosen
    _, fewer = repro()
    assert (fewer.name, sum(fewer.counts.values())) == ("shapes", 89)


def test_a_folder_that_dvc_imported_is_updated_pushed_and_pulled(project: Path, tmp_path: Path, shell: Shell) -> None:
    def ingest(project: Path) -> tuple[list[str], int]:
        stages = stages_run(shell("dvc", "repro", "ingest", cwd=project).stdout)
        return stages, sum(dataset.describe(project / "data/dataset").counts.values())

    draw_all(tmp_path / "shapes", 30)
    shell("dvc", "import-url", str(tmp_path / "shapes"), "data/source", cwd=project)
    set_values(project / "params.yaml", {"ingest.source": "data/source/shapes"})
    assert ingest(project) == (["ingest"], 90)
    draw(tmp_path / "shapes/disc/new", 1, 1000)
    assert ingest(project) == ([], 90)  # until the user asks for it
    shell("dvc", "update", "data/source/shapes.dvc", cwd=project)
    assert ingest(project) == (["ingest"], 91)

    shell("dvc", "remote", "add", "-d", "store", str(tmp_path / "store"), cwd=project)
    shell("dvc", "push", cwd=project)
    shell("git", "add", "-A", cwd=project)
    shell("git", *COMMITTER, "commit", "-q", "-m", "shapes", cwd=project)
    committed = shell("git", "show", "--name-only", "--format=", cwd=project).stdout.split()
    assert committed == [".dvc/config", "data/source/shapes.dvc", "dvc.lock", "params.yaml"]
    shell("git", "clone", "-q", str(project), "clone", cwd=tmp_path)
    shell("dvc", "pull", "data/source/shapes.dvc", "ingest", cwd=tmp_path / "clone")
    assert ingest(tmp_path / "clone") == ([], 91)


def test_a_file_that_dvc_imported_from_a_web_server_is_found_in_the_source(
    new_clone: Callable[[Path], Path], tmp_path: Path, shell: Shell
) -> None:
    project, files = new_clone(tmp_path / "project"), tmp_path / "files"
    files.mkdir()
    write_npz(files)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(files))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        shell("dvc", "import-url", f"http://127.0.0.1:{server.server_port}/pets.npz", "data/source", cwd=project)
        server.shutdown()
    set_dataset(project / "params.yaml", "npz", "pets")
    printed = shell("dvc", "repro", "ingest", cwd=project).stdout
    assert "pets from data/source: 80 images of 2 classes" in printed
    assert "data/source/pets.npz.dvc" in shell("git", "status", "--porcelain", cwd=project).stdout


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Path → content and time of change."""
    found = {path: path.lstat().st_mtime_ns for path in sorted(folder.rglob("*")) if path.is_file()}
    return {str(path): (path.read_bytes(), time) for path, time in found.items()}


@pytest.mark.exhaustive
@pytest.mark.parametrize("kind", ["folder", "archive", "table"])
def test_verify_reads_images_outside_the_checkout_and_leaves_them_as_they_were(
    project: Path, tmp_path: Path, shell: Shell, kind: str
) -> None:
    photos = tmp_path / "album" / "photos"
    draw_all(photos, 150)
    source = photos
    if kind == "archive":
        source = Path(shutil.make_archive(str(photos), "zip", photos))
    if kind == "table":
        set_dataset(project / "params.yaml", "csv", "shapes")
        rows = [f"{path.relative_to(photos)},{path.parent.name}\n" for path in sorted(photos.glob("*/*"))]
        (photos / "table.csv").write_text("".join(["file,label\n", *rows]))
        source = photos / "table.csv"
    set_values(project / "params.yaml", {"ingest.source": f"../{source.relative_to(tmp_path)}"})
    shell("dvc", "repro", cwd=project)
    for lost in ("data/dataset", ".dvc/cache"):  # as in a fresh clone
        shutil.rmtree(project / lost)
    before = contents(photos.parent), contents(project / "data"), contents(project / ".git")
    done = shell("python", "-m", "pipeline", "verify", "1", "--yes", cwd=project)
    assert "data      the source, ingested again" in done.stdout
    assert "\nbitwise: shapes-classifier version 1" in done.stdout
    assert (contents(photos.parent), contents(project / "data"), contents(project / ".git")) == before
