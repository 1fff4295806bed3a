"""What the network sees: every architecture and every kind of image."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from PIL import Image

from pipeline import params
from pipeline.evaluate.plots import network
from pipeline.params import TrainParams
from pipeline.predictions import Predictions
from pipeline.train import architectures
from pipeline.train.recipe import recipe_of

PARAMS = Path(__file__).parents[1] / "params.yaml"


def classifier(architecture: str, shape: tuple[int, int, int]) -> Any:
    base = params.load(PARAMS).train.model_dump() | {"architecture": architecture}
    chosen = TrainParams.model_validate(base)
    return architectures.classifier(architectures.build(chosen, shape, 10), recipe_of(chosen).flip_averaging)


@pytest.mark.parametrize(
    ("architecture", "shape"),
    [("notebook", (28, 28, 1)), ("sprint", (28, 28, 3)), ("compact", (10, 10, 1)), ("default", (28, 28, 1))],
    ids=["notebook-grey", "sprint-colour", "compact-small", "default-grey"],
)
def test_every_architecture_shows_its_layers(architecture: str, shape: tuple[int, int, int], tmp_path: Path) -> None:
    draw(classifier(architecture, shape), shape, tmp_path / "network.png")


@pytest.mark.slow
@pytest.mark.exhaustive
def test_forty_layers_are_thinned_out(tmp_path: Path) -> None:
    model = classifier("large", (8, 8, 1))
    insight = network.look(model, images_of((8, 8, 1)), 7)
    assert (len(insight.steps), insight.steps[0].name) == (7, "Convolution 1")
    assert insight.of > 30
    draw(model, (8, 8, 1), tmp_path / "network.png")


def predictions(labels: Any, probabilities: Any) -> Predictions:
    return Predictions(source_index=labels, labels=labels, probabilities=probabilities)


def images_of(shape: tuple[int, int, int]) -> Any:
    return np.random.default_rng(0).integers(0, 256, (12, *shape)).astype(np.uint8)


def draw(model: Any, shape: tuple[int, int, int], path: Path) -> None:
    found = predictions((np.arange(12) % 10).astype(np.int32), np.asarray(model.predict_on_batch(images_of(shape))))
    network.draw(model, images_of(shape), found, tuple(f"class {n}" for n in range(10)), path)
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert 1000 < image.width < 2500
        assert 2000 < image.height < 3000


def test_the_notebooks_layers_come_in_order_and_are_its_own() -> None:
    import keras

    model, images = classifier("notebook", (28, 28, 1)), images_of((28, 28, 1))
    insight = network.look(model, images, 7)
    assert [step.name for step in insight.steps] == ["Convolution 1", "Pooling 1", "Convolution 2", "Pooling 2"]
    assert [step.maps.shape[1:] for step in insight.steps] == [(26, 26, 32), (13, 13, 32), (11, 11, 64), (5, 5, 64)]
    assert insight.filters.shape == (3, 3, 1, 32)
    inner = next(layer for layer in model.layers if isinstance(layer, keras.Model))
    first = inner.get_layer("conv_1")(images.astype(np.float32) / 255)
    assert_allclose(insight.steps[0].maps, np.asarray(first), atol=1e-5)


def test_a_step_is_shown_after_its_batch_norm_and_activation() -> None:
    insight = network.look(classifier("sprint", (28, 28, 1)), images_of((28, 28, 1)), 7)
    assert all(step.maps.min() >= 0 for step in insight.steps)


def test_a_network_without_convolutions_shows_images_and_predictions(build_model: Callable[..., Any], tmp_path: Path) -> None:
    insight = network.look(build_model(), images_of((8, 8, 1)), 7)
    assert (insight.steps, insight.filters.size) == ([], 0)
    found = predictions(np.zeros(12, np.int32), np.full((12, 10), 0.1, np.float32))
    path = tmp_path / "network.png"
    network.draw(build_model(), images_of((8, 8, 1)), found, tuple("abcdefghij"), path)
    assert path.exists()


def test_a_correct_prediction_is_the_example_of_its_class_where_there_is_one() -> None:
    found = predictions(np.array([0, 0, 1, 2], np.int32), np.eye(3, dtype=np.float32)[[1, 0, 0, 2]])
    assert network.choose(found) == [1, 2, 3]
