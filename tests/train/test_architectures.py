import numpy as np
import pytest

from pipeline.errors import TrainingError
from pipeline.params import TrainParams
from pipeline.train import architectures


def test_the_notebooks_network_has_its_parameters(params: TrainParams) -> None:
    assert architectures.build(params, (28, 28, 1), 10).count_params() == 225_034


def test_it_takes_bytes_and_gives_probabilities(params: TrainParams) -> None:
    model = architectures.classifier(architectures.build(params, (28, 28, 3), 4), flip_averaging=False)
    images = np.full((2, 28, 28, 3), 255, np.uint8)
    answers = np.asarray(model(images))
    assert answers.shape == (2, 4)
    assert answers.sum(axis=1) == pytest.approx([1, 1])


def test_its_own_preprocessing_is_inside(params: TrainParams) -> None:
    rescaling = architectures.build(params, (28, 28, 1), 10).get_layer("rescaling")
    assert np.asarray(rescaling(np.array([0, 255], np.uint8))).tolist() == [0.0, 1.0]


def test_pictures_too_small_name_the_least_size(params: TrainParams) -> None:
    assert architectures.build(params, (10, 10, 1), 10).count_params() > 0
    with pytest.raises(TrainingError, match=r"10×10 pixels at least, these are 9×12: raise ingest\.image_size"):
        architectures.build(params, (9, 12, 1), 10)
