"""Times the pipeline around the fit: every stage as its own process, as `dvc repro` runs it.

    .venv/bin/python -m benchmarks.pipeline_overhead [RUNS]

Works on the data set that params.yaml names, in scratch clones, with one epoch. Prints median, least and most seconds of RUNS
runs (3): of the whole `dvc repro` with the fit taken out, and of each stage alone.
"""

import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.measure import record

PROJECT = Path(__file__).parents[1]
STAGES = ("ingest", "validate", "train", "evaluate", "register")
_COPIED = (
    "pipeline",
    "params.yaml",
    "dvc.yaml",
    ".dvc",
    ".dvcignore",
    "data/.gitignore",
    "data/source",
    "models/.gitignore",
    "reports/.gitignore",
)


def main(runs: int) -> None:
    """Measure, print and store."""
    if "DATASET_MIRROR" in os.environ:
        os.environ["DATASET_MIRROR"] = str(Path(os.environ["DATASET_MIRROR"]).resolve())
    measured = [measure() for _ in range(runs)]
    figures = []
    for part in measured[0]:
        seconds = [each[part] for each in measured]
        found = {"median": statistics.median(seconds), "min": min(seconds), "max": max(seconds)}
        print(f"{part:<26} {found['median']:6.1f} s   ({found['min']:.1f}–{found['max']:.1f})")
        figures.append({"part": part, "seconds": {key: round(value, 1) for key, value in found.items()}})
    record("pipeline_overhead", figures)


def measure() -> dict[str, float]:
    """Return the seconds of the whole without the fit, from a clone without a tracking store, then of each stage alone."""
    with tempfile.TemporaryDirectory() as folder:
        project = scratch(Path(folder))
        whole = timed(project, "-m", "dvc", "repro")
        fit: float = json.loads((project / "models/training.json").read_text())["fit_seconds"]
        if json.loads((project / "reports/registration.json").read_text())["verdict"] != "accepted":
            sys.exit("the scratch clone's gate refused its model, so registering was not measured")
        shutil.rmtree(project / ".checkpoints")  # a finished training would only be written again
        alone = {stage: timed(project, "-m", "pipeline", stage) for stage in STAGES}
    return {"dvc repro without its fit": whole - fit, **alone, "fit, within train": fit}


def scratch(folder: Path) -> Path:
    """Make a git repository with what the pipeline needs, one epoch, and a gate that accepts its model."""
    for name in _COPIED:
        source, target = PROJECT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("tmp", "cache", "__pycache__"))
        else:
            shutil.copy(source, target)
    params = folder / "params.yaml"
    text = params.read_text()
    for key, value in (
        ("epochs", "1"),
        ("baseline_significance", "null"),
        ("min_accuracy", "0.0"),
        ("min_class_recall", "0.0"),
        ("max_calibration_error", "1.0"),
        ("min_slice_accuracy", "0.0"),
    ):
        text = re.sub(rf"^( +{key}:) \S+", rf"\1 {value}", text, flags=re.MULTILINE)
    params.write_text(text)
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    return folder


def timed(project: Path, *arguments: str) -> float:
    """Return the seconds that `python ARGUMENTS` takes as a process of its own."""
    start = time.perf_counter()
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    subprocess.run([sys.executable, *arguments], cwd=project, env=environment, check=True, capture_output=True)
    return time.perf_counter() - start


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
