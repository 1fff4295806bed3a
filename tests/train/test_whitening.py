import numpy as np
import pytest

from pipeline.params import TrainParams
from pipeline.train import architectures, whitening


@pytest.mark.parametrize("channels", [1, 3])
def test_the_features_are_uncorrelated_and_of_unit_variance(params: TrainParams, channels: int) -> None:
    import keras

    smooth = np.random.default_rng(0).integers(0, 256, (200, 5, 5, channels)).repeat(4, axis=1).repeat(4, axis=2)
    noise = np.random.default_rng(1).integers(-40, 40, smooth.shape)
    images = np.clip(smooth + noise, 0, 255).astype(np.uint8)
    model = architectures.build(params.model_copy(update={"architecture": "sprint"}), (20, 20, channels), 4)
    whitening.measure(model, images, seed=1)
    layer = model.get_layer(whitening.LAYER)
    layer.activation = keras.activations.linear
    inside = np.asarray(layer(images.astype(np.float32) / 255))[:, 1:-1, 1:-1].reshape(-1, layer.filters)
    half = layer.filters // 2
    assert np.corrcoef(inside[:, :half], rowvar=False) == pytest.approx(np.eye(half), abs=0.06)
    assert inside[:, :half].std(axis=0) == pytest.approx(np.ones(half), abs=0.15)
    assert inside[:, half:] == pytest.approx(-inside[:, :half], abs=1e-4)


def test_it_is_not_trained(params: TrainParams) -> None:
    model = architectures.build(params.model_copy(update={"architecture": "sprint"}), (28, 28, 1), 10)
    assert not any(whitening.LAYER in weight.path for weight in model.trainable_weights)


def test_a_network_without_it_is_left_alone(params: TrainParams) -> None:
    model = architectures.build(params, (28, 28, 1), 10)
    before = model.get_weights()
    whitening.measure(model, np.zeros((4, 28, 28, 1), np.uint8), seed=1)
    assert all((a == b).all() for a, b in zip(before, model.get_weights(), strict=True))
