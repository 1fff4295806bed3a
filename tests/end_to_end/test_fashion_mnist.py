"""The whole graph on the real Fashion-MNIST, with the params.yaml that is shipped."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline import params

pytestmark = [pytest.mark.slow, pytest.mark.exhaustive]
SHIPPED = Path(__file__).parents[2] / "params.yaml"


def test_the_shipped_params_register_a_model_of_the_promised_accuracy(
    new_clone: Callable[[Path], Path], fashion_mirror: Path, tmp_path: Path, shell: Callable[..., Any]
) -> None:
    shipped = params.load(SHIPPED)
    if (shipped.ingest.dataset, shipped.train.architecture) != ("fashion-mnist", "default"):
        pytest.skip("params.yaml was changed: this test knows what the shipped one promises")
    project = new_clone(tmp_path / "project")
    shutil.copy(SHIPPED, project)
    printed = shell("python", "-m", "pipeline", "run", cwd=project, DATASET_MIRROR=str(fashion_mirror)).stdout
    assert "passed: fashion-mnist-classifier version 1" in printed
    metrics = json.loads((project / "reports/metrics.json").read_text())
    assert 0.925 < metrics["accuracy"] < 0.945
    with (project / "reports/per_class.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["class"] for row in rows][::9] == ["T-shirt/top", "Ankle boot"]
    assert {row["support"] for row in rows} == {"1000"}
