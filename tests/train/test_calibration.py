"""Temperature scaling on the validation split."""

import numpy as np
import pytest

from pipeline.dataset import Split
from pipeline.params import TrainParams
from pipeline.train import architectures, calibration

TWO = np.log([[0.8, 0.2]])  # the logits of an image whose first class has the probability 0.8


def test_probabilities_that_are_as_sure_as_correct_stay() -> None:
    logits, labels = np.repeat(TWO, 1000, axis=0), np.array([0] * 800 + [1] * 200)
    assert calibration.fitted(logits, labels) == pytest.approx(1, abs=0.001)


@pytest.mark.parametrize("factor", [0.5, 2.0, 3.0])
def test_the_temperature_undoes_a_factor(factor: float) -> None:
    logits, labels = np.repeat(TWO * factor, 10_000, axis=0), np.array([0] * 8_000 + [1] * 2_000)
    assert calibration.fitted(logits, labels) == pytest.approx(factor, rel=0.01)


def test_few_images_all_correct_prove_little_and_many_are_limited() -> None:
    few, many = (calibration.fitted(np.repeat(TWO, count, axis=0), np.zeros(count, int)) for count in (10, 1_000_000))
    assert 0.5 < few < 1
    assert many == pytest.approx(0.25, abs=0.001)


def test_the_saved_classifier_is_scaled_flips_included(params: TrainParams) -> None:
    random = np.random.default_rng(0)
    images, labels = random.integers(0, 256, (64, 12, 12, 1), np.uint8), random.integers(0, 3, 64).astype(np.int32)
    network = architectures.build(params, (12, 12, 1), 3)
    before = architectures.classifier(network, True).predict_on_batch(images)
    temperature = calibration.calibrate(network, Split(images, labels, labels), True)
    after = architectures.classifier(network, True).predict_on_batch(images)
    scaled = before ** (1 / temperature)
    assert temperature != 1
    np.testing.assert_allclose(after, scaled / scaled.sum(axis=1, keepdims=True), rtol=1e-4)
    assert -np.log(after[range(64), labels]).mean() < -np.log(before[range(64), labels]).mean()
