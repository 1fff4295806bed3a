"""What the network sees, its confidence, and precision against recall: every architecture and every kind of picture."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from PIL import Image

from pipeline import params
from pipeline.evaluate import confidence, examples, layers, network, precision_recall
from pipeline.params import TrainParams
from pipeline.scores import metrics
from pipeline.train import architectures
from pipeline.train.recipe import recipe_of

PARAMS = Path(__file__).parents[1] / "params.yaml"


def classifier(architecture: str, shape: tuple[int, int, int]) -> Any:
    base = params.load(PARAMS).train.model_dump() | {"architecture": architecture}
    chosen = TrainParams.model_validate(base)
    return architectures.classifier(architectures.build(chosen, shape, 10), recipe_of(chosen).flip_averaging)


@pytest.mark.parametrize("shape", [(28, 28, 1), (28, 28, 3), (10, 10, 1)], ids=["grey", "colour", "small"])
@pytest.mark.parametrize("architecture", ["notebook", "sprint", "compact", "default"])
def test_every_architecture_shows_its_layers(architecture: str, shape: tuple[int, int, int], tmp_path: Path) -> None:
    draw(classifier(architecture, shape), shape, tmp_path / "network.png")


@pytest.mark.slow
def test_forty_layers_are_thinned_out(tmp_path: Path) -> None:
    model = classifier("large", (8, 8, 1))
    insight = layers.look(model, pictures((8, 8, 1)), 7)
    assert (len(insight.steps), insight.steps[0].name) == (7, "Convolution 1")
    assert insight.of > 30
    draw(model, (8, 8, 1), tmp_path / "network.png")


def pictures(shape: tuple[int, int, int]) -> Any:
    return np.random.default_rng(0).integers(0, 256, (12, *shape)).astype(np.uint8)


def draw(model: Any, shape: tuple[int, int, int], path: Path) -> None:
    answers = np.asarray(model.predict_on_batch(pictures(shape)))
    labels = (np.arange(12) % 10).astype(np.int32)
    network.draw(model, pictures(shape), labels, answers, tuple(f"class {n}" for n in range(10)), path)
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        assert 1000 < picture.width < 2500
        assert 2000 < picture.height < 3000


def test_the_notebooks_layers_come_in_order_and_are_its_own() -> None:
    import keras

    model, images = classifier("notebook", (28, 28, 1)), pictures((28, 28, 1))
    insight = layers.look(model, images, 7)
    assert [step.name for step in insight.steps] == ["Convolution 1", "Pooling 1", "Convolution 2", "Pooling 2"]
    assert [step.maps.shape[1:] for step in insight.steps] == [(26, 26, 32), (13, 13, 32), (11, 11, 64), (5, 5, 64)]
    assert insight.filters.shape == (3, 3, 1, 32)
    inner = next(layer for layer in model.layers if isinstance(layer, keras.Model))
    first = inner.get_layer("conv_1")(images.astype(np.float32) / 255)
    assert_allclose(insight.steps[0].maps, np.asarray(first), atol=1e-5)


def test_a_step_is_told_after_its_batch_norm_and_activation() -> None:
    insight = layers.look(classifier("sprint", (28, 28, 1)), pictures((28, 28, 1)), 7)
    assert all(step.maps.min() >= 0 for step in insight.steps)


def test_a_network_without_convolutions_shows_pictures_and_answers(build_model: Callable[..., Any], tmp_path: Path) -> None:
    insight = layers.look(build_model(), pictures((8, 8, 1)), 7)
    assert (insight.steps, insight.filters.size) == ([], 0)
    answers = np.full((12, 10), 0.1, np.float32)
    path = tmp_path / "network.png"
    network.draw(build_model(), pictures((8, 8, 1)), np.zeros(12, np.int32), answers, tuple("abcdefghij"), path)
    assert path.exists()


def test_a_right_answer_stands_for_its_class_where_there_is_one() -> None:
    answers = np.eye(3, dtype=np.float32)[[1, 0, 0, 2]]
    assert network.choose(np.array([0, 0, 1, 2], np.int32), answers) == [1, 2, 3]


def test_answers_at_least_so_sure() -> None:
    sure = np.array([0.5, 0.6, 0.7, 0.8], np.float32)
    thresholds, share, accuracy = confidence.at_least(sure, np.array([False, True, True, True]), 0.5)
    assert (thresholds[0], share[0], accuracy[0]) == (0.5, 1, 0.75)
    assert (share[-1], accuracy[-1]) == (0.25, 1)
    assert_allclose(share[np.searchsorted(thresholds, 0.65)], 0.5)


@pytest.mark.parametrize("right", [[True] * 3, [False] * 3])
def test_confidence_is_drawn_where_all_are_right_or_wrong(right: list[bool], tmp_path: Path) -> None:
    confidence.draw(np.array([0.4, 1, 1], np.float32), np.array(right), tmp_path / "confidence.png")
    assert (tmp_path / "confidence.png").exists()


def test_curves_keep_their_ends_and_are_thinned_out() -> None:
    generator = np.random.default_rng(0)
    given = generator.random(5000).astype(np.float32)
    is_class = generator.random(5000) < given
    precision, recall = precision_recall.curve(is_class, given)
    full, _ = metrics.precision_recall(is_class, given)
    assert len(precision) <= 200
    assert recall[-1] == 1
    assert set(precision.tolist()) <= set(full.tolist())


def test_panels_are_of_the_weakest_classes_that_have_pictures(tmp_path: Path) -> None:
    precisions = np.array([np.nan, *np.linspace(1, 0.5, 12)])
    assert precision_recall.choose(precisions) == list(range(3, 13))
    labels = np.array([0, 0, 2], np.int32)  # nothing of class 1
    answers = np.array([[0.8, 0.1, 0.1], [0.4, 0.5, 0.1], [0.2, 0.2, 0.6]], np.float32)
    scores = metrics.score(labels, answers, 2)
    precision_recall.draw(labels, answers, scores.per_class, ("a", "b", "c"), tmp_path / "curves.png")
    assert precision_recall.choose(scores.per_class.average_precision) == [0, 2]


def test_the_surest_mistake_stands_for_its_pair() -> None:
    labels, predicted = np.array([0, 0, 1, 0], np.int32), np.array([1, 1, 0, 0], np.int32)
    sure = np.array([0.6, 0.9, 0.7, 0.99], np.float32)
    assert examples.one_per_pair(labels, predicted, sure, [(0, 1), (1, 0)]) == [1, 2]
