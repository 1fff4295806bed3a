"""The whole graph on the real Fashion-MNIST, with one epoch."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow


def test_one_epoch_on_the_real_data(
    new_clone: Callable[[Path], Path], fashion_mirror: Path, tmp_path: Path, shell: Callable[..., Any]
) -> None:
    project = new_clone(tmp_path / "project")
    params = project / "params.yaml"
    params.write_text(
        params.read_text().replace("  epochs: 10", "  epochs: 1").replace("min_accuracy: 0.90", "min_accuracy: 0.7")
    )
    params.write_text(params.read_text().replace("min_class_recall: 0.60", "min_class_recall: 0.05"))
    params.write_text(params.read_text().replace("min_slice_accuracy: 0.50", "min_slice_accuracy: 0.05"))
    said = shell("python", "-m", "pipeline", "run", cwd=project, DATASET_MIRROR=str(fashion_mirror)).stdout
    assert "54,000 train · 6,000 validation · 10,000 test pictures" in said
    assert "gate           passed: fashion-mnist-classifier version 1" in said
    metrics = json.loads((project / "reports/metrics.json").read_text())
    assert metrics["test_pictures"] == 10_000
    assert 0.8 < metrics["accuracy"] < 0.93
    with (project / "reports/per_class.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["class"] for row in rows][::9] == ["T-shirt/top", "Ankle boot"]
    assert {row["support"] for row in rows} == {"1000"}
