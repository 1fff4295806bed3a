"""What identifies a model."""

from typing import Any

import numpy as np

from pipeline import environment, provenance


def network(shift: float = 0.0, filters: int = 2) -> Any:
    """A small network whose layers Keras names, with fixed weights."""
    environment.load_tensorflow()
    from keras import Input, Sequential, layers

    parts = [layers.Conv2D(filters, 2), layers.BatchNormalization(), layers.Flatten(), layers.Dense(3)]
    model = Sequential([Input((4, 4, 1)), *parts])
    model.set_weights([np.arange(weight.size).reshape(weight.shape) / 8 + shift for weight in model.get_weights()])
    return model


def test_equal_weights_have_one_digest_whatever_was_built_before() -> None:
    first = network()
    network(filters=3)
    again = network()
    assert [layer.name for layer in first.layers] != [layer.name for layer in again.layers]  # Keras counts
    assert provenance.weights_digest(again) == provenance.weights_digest(first)


def test_other_weights_and_other_shapes_have_another_digest() -> None:
    assert len({provenance.weights_digest(model) for model in (network(), network(shift=1e-3), network(filters=3))}) == 3
