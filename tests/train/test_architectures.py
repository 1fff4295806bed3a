"""The networks: sizes, inputs and outputs, and the whitening layer."""

import math
import tracemalloc
from typing import Any

import numpy as np
import pytest

from pipeline.errors import TrainingError
from pipeline.params import TrainParams
from pipeline.train import architectures
from pipeline.train.architectures import WHITENING


def test_the_notebooks_network_has_its_parameters(params: TrainParams) -> None:
    assert architectures.build(params, (28, 28, 1), 10).count_params() == 225_034


def test_the_classifier_maps_bytes_to_probabilities(params: TrainParams) -> None:
    model = architectures.classifier(architectures.build(params, (28, 28, 3), 4), flip_averaging=False)
    images = np.full((2, 28, 28, 3), 255, np.uint8)
    probabilities = np.asarray(model(images))
    assert probabilities.shape == (2, 4)
    assert probabilities.sum(axis=1) == pytest.approx([1, 1])


@pytest.mark.parametrize(
    ("architecture", "trained"), [("sprint", 34_058), ("compact", 96_458), ("default", 154_698), ("large", 8_948_922)]
)
def test_each_has_the_documented_number_of_trained_parameters(params: TrainParams, architecture: str, trained: int) -> None:
    model = architectures.build(params.model_copy(update={"architecture": architecture}), (28, 28, 1), 10)
    assert sum(int(np.prod(weight.shape)) for weight in model.trainable_weights) == trained


def test_compact_stays_below_100_000_parameters_frozen_ones_included(params: TrainParams) -> None:
    chosen = params.model_copy(update={"architecture": "compact"})
    assert architectures.build(chosen, (28, 28, 1), 10).count_params() < 100_000


@pytest.mark.parametrize("architecture", ["notebook", "sprint", "compact", "default", "large"])
def test_each_takes_colour_and_the_smallest_size_it_names(params: TrainParams, architecture: str) -> None:
    chosen = params.model_copy(update={"architecture": architecture})
    with pytest.raises(TrainingError, match=r"needs images of at least (\d+)×\1 pixels") as error:
        architectures.build(chosen, (1, 1, 3), 3)
    least = int(str(error.value).split("at least ")[1].split("×")[0])
    logits = architectures.build(chosen, (least, least + 5, 3), 3)(np.zeros((2, least, least + 5, 3), np.uint8))
    assert (tuple(logits.shape), str(logits.dtype)) == ((2, 3), "<dtype: 'float32'>")


def _multiply_adds(model: Any) -> int:
    """Return those of the convolutions for one image."""
    from keras.layers import Conv2D

    convolutions = [layer for layer in model.layers if type(layer) is Conv2D]
    return sum(math.prod(layer.output.shape[1:3]) * math.prod(layer.kernel.shape) for layer in convolutions)


@pytest.mark.parametrize(("architecture", "millions"), [("sprint", 0.6), ("compact", 10.0), ("default", 4.8)])
def test_larger_images_cost_far_less_than_their_pixels(params: TrainParams, architecture: str, millions: float) -> None:
    chosen = params.model_copy(update={"architecture": architecture})
    small, large = (architectures.build(chosen, (side, side, 1), 10) for side in (28, 224))
    assert _multiply_adds(small) / 1e6 == pytest.approx(millions, rel=0.1)
    assert _multiply_adds(large) < 30 * _multiply_adds(small)  # 64 times the pixels
    assert large.count_params() < 1.3 * small.count_params()


@pytest.mark.parametrize(
    "shape", [(8, 8, 1), (39, 39, 3), (40, 40, 3), (50, 50, 1), (100, 100, 3), (64, 200, 3), (224, 224, 3)]
)
def test_images_of_any_size_are_brought_to_about_the_resolution_of_28_pixels(
    params: TrainParams, shape: tuple[int, int, int]
) -> None:
    model = architectures.build(params.model_copy(update={"architecture": "default"}), shape, 3)
    images = np.random.default_rng(0).integers(0, 256, (4, *shape), np.uint8)
    architectures.whiten(model, images, seed=1)
    assert np.isfinite(model(images)).all()
    first_of_main_part = next(layer for layer in model.layers if layer.name != WHITENING and layer.output.shape[-1] == 32)
    assert (4 if shape[0] == 8 else 9) <= math.sqrt(math.prod(first_of_main_part.output.shape[1:3])) <= 20


def test_features_are_averaged_over_images_larger_than_the_design(params: TrainParams) -> None:
    chosen = params.model_copy(update={"architecture": "default"})
    names = [[layer.name for layer in architectures.build(chosen, (side, side, 1), 10).layers] for side in (39, 40)]
    assert ["flatten" in each for each in names] == [True, False]
    assert ["mean" in each for each in names] == [False, True]


def test_rescaling_is_inside_the_network(params: TrainParams) -> None:
    rescaling = architectures.build(params, (28, 28, 1), 10).get_layer("rescaling")
    assert np.asarray(rescaling(np.array([0, 255], np.uint8))).tolist() == [0.0, 1.0]


def test_images_too_small_are_refused_with_the_smallest_size(params: TrainParams) -> None:
    assert architectures.build(params, (10, 10, 1), 10).count_params() > 0
    with pytest.raises(TrainingError, match=r"at least 10×10 pixels, these are 9×12: raise ingest\.image_size"):
        architectures.build(params, (9, 12, 1), 10)


@pytest.mark.parametrize("channels", [1, 3])
def test_whitened_features_are_uncorrelated_and_have_unit_variance(params: TrainParams, channels: int) -> None:
    import keras

    smooth = np.random.default_rng(0).integers(0, 256, (200, 5, 5, channels)).repeat(4, axis=1).repeat(4, axis=2)
    noise = np.random.default_rng(1).integers(-40, 40, smooth.shape)
    images = np.clip(smooth + noise, 0, 255).astype(np.uint8)
    model = architectures.build(params.model_copy(update={"architecture": "sprint"}), (20, 20, channels), 4)
    architectures.whiten(model, images, seed=1)
    layer = model.get_layer(WHITENING)
    layer.activation = keras.activations.linear
    inside = np.asarray(layer(images.astype(np.float32) / 255))[:, 1:-1, 1:-1].reshape(-1, layer.filters)
    half = layer.filters // 2
    assert np.corrcoef(inside[:, :half], rowvar=False) == pytest.approx(np.eye(half), abs=0.06)
    assert inside[:, :half].std(axis=0) == pytest.approx(np.ones(half), abs=0.15)
    assert inside[:, half:] == pytest.approx(-inside[:, :half], abs=1e-4)


def test_whitening_takes_no_more_memory_for_larger_images(params: TrainParams) -> None:
    model = architectures.build(params.model_copy(update={"architecture": "sprint"}), (96, 96, 1), 4)
    one = np.random.default_rng(0).integers(0, 256, (1, 96, 96, 1), np.uint8)
    tracemalloc.start()
    architectures.whiten(model, np.broadcast_to(one, (5_000, 96, 96, 1)), seed=1)  # 11 million patches, 2 GB
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 250e6


def test_the_whitening_layer_is_not_trained(params: TrainParams) -> None:
    model = architectures.build(params.model_copy(update={"architecture": "sprint"}), (28, 28, 1), 10)
    assert not any(WHITENING in weight.path for weight in model.trainable_weights)


def test_a_network_without_a_whitening_layer_is_left_alone(params: TrainParams) -> None:
    model = architectures.build(params, (28, 28, 1), 10)
    before = model.get_weights()
    architectures.whiten(model, np.zeros((4, 28, 28, 1), np.uint8), seed=1)
    assert all((a == b).all() for a, b in zip(before, model.get_weights(), strict=True))
