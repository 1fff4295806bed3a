"""Training curves, confidence, and precision against recall."""

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose
from PIL import Image

from pipeline.errors import EvaluationError
from pipeline.evaluate.plots import charts
from pipeline.predictions import Predictions
from pipeline.scores import metrics

HEADER = "epoch,train/loss,validation/loss,train/accuracy,validation/accuracy\n"


def test_the_columns_are_read_by_name(tmp_path: Path) -> None:
    (tmp_path / "history.csv").write_text(HEADER + "1,1.5,2,0.5,0.4\n2,0.5,1,0.7,0.6\n")
    read = charts.read_history(tmp_path / "history.csv")
    assert read["train/loss"] == [1.5, 0.5]
    assert read["validation/accuracy"] == [0.4, 0.6]


@pytest.mark.parametrize("content", ["garbage", HEADER, "epoch,train/loss\n1,2\n", HEADER + "1,many,2,3,4\n"])
def test_a_foreign_history_is_one_line(tmp_path: Path, content: str) -> None:
    (tmp_path / "dvc.yaml").touch()
    (tmp_path / "history.csv").write_text(content)
    with pytest.raises(EvaluationError, match=r"history\.csv is not what train writes .*dvc repro -s -f train"):
        charts.read_history(tmp_path / "history.csv")


def test_equal_histories_give_equal_sharp_images(tmp_path: Path) -> None:
    values: charts.History = {
        name: [1.0, 0.5] for name in ("train/loss", "validation/loss", "train/accuracy", "validation/accuracy")
    }
    for name in ("one.png", "two.png"):
        charts.draw_history(values, tmp_path / name)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    with Image.open(tmp_path / "one.png") as image:
        assert image.width >= 1600


def test_share_and_accuracy_above_a_confidence() -> None:
    confidence = np.array([0.5, 0.6, 0.7, 0.8], np.float32)
    thresholds, share, accuracy = charts.at_least(confidence, np.array([False, True, True, True]), 0.5)
    assert (thresholds[0], share[0], accuracy[0]) == (0.5, 1, 0.75)
    assert (share[-1], accuracy[-1]) == (0.25, 1)
    assert_allclose(share[np.searchsorted(thresholds, 0.65)], 0.5)


@pytest.mark.parametrize("correct", [[True] * 3, [False] * 3])
def test_confidence_is_drawn_where_all_are_correct_or_none(correct: list[bool], tmp_path: Path) -> None:
    charts.draw_confidence(np.array([0.4, 1, 1], np.float32), np.array(correct), tmp_path / "confidence.png")
    assert (tmp_path / "confidence.png").exists()


def test_precision_recall_curves_keep_their_ends_and_are_thinned_out() -> None:
    from sklearn.metrics import precision_recall_curve

    generator = np.random.default_rng(0)
    probability = generator.random(5000).astype(np.float32)
    is_class = generator.random(5000) < probability
    precision, recall = charts.curve(is_class, probability)
    assert len(precision) <= 200
    assert (recall[0], recall[-1]) == (0, 1)
    assert set(precision.tolist()) <= set(precision_recall_curve(is_class, probability)[0].tolist())


def test_panels_are_of_the_weakest_classes_that_have_images(tmp_path: Path) -> None:
    assert charts.weakest(np.array([np.nan, *np.linspace(1, 0.5, 12)])) == list(range(3, 13))
    labels = np.array([0, 0, 2], np.int32)  # nothing of class 1
    probabilities = np.array([[0.8, 0.1, 0.1], [0.4, 0.5, 0.1], [0.2, 0.2, 0.6]], np.float32)
    scores = metrics.score(labels, probabilities, 2)
    found = Predictions(source_index=labels, labels=labels, probabilities=probabilities)
    charts.draw_precision_recall(found, scores.per_class, ("a", "b", "c"), tmp_path / "curves.png")
    assert charts.weakest(scores.per_class.average_precision) == [0, 2]
