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


@pytest.mark.parametrize(
    ("architecture", "trained"), [("sprint", 34_058), ("compact", 96_458), ("default", 154_698), ("large", 8_948_922)]
)
def test_each_has_the_parameters_that_it_says(params: TrainParams, architecture: str, trained: int) -> None:
    model = architectures.build(params.model_copy(update={"architecture": architecture}), (28, 28, 1), 10)
    assert sum(int(np.prod(weight.shape)) for weight in model.trainable_weights) == trained


def test_compact_stays_below_its_limit_frozen_weights_included(params: TrainParams) -> None:
    chosen = params.model_copy(update={"architecture": "compact"})
    assert architectures.build(chosen, (28, 28, 1), 10).count_params() < 100_000


@pytest.mark.parametrize("architecture", ["notebook", "sprint", "compact", "default", "large"])
def test_colour_and_the_least_size_are_taken(params: TrainParams, architecture: str) -> None:
    chosen = params.model_copy(update={"architecture": architecture})
    with pytest.raises(TrainingError, match=r"takes pictures of (\d+)×\1 pixels at least") as error:
        architectures.build(chosen, (1, 1, 3), 3)
    least = int(str(error.value).split("pictures of ")[1].split("×")[0])
    logits = architectures.build(chosen, (least, least + 5, 3), 3)(np.zeros((2, least, least + 5, 3), np.uint8))
    assert (tuple(logits.shape), str(logits.dtype)) == ((2, 3), "<dtype: 'float32'>")


def test_its_own_preprocessing_is_inside(params: TrainParams) -> None:
    rescaling = architectures.build(params, (28, 28, 1), 10).get_layer("rescaling")
    assert np.asarray(rescaling(np.array([0, 255], np.uint8))).tolist() == [0.0, 1.0]


def test_pictures_too_small_name_the_least_size(params: TrainParams) -> None:
    assert architectures.build(params, (10, 10, 1), 10).count_params() > 0
    with pytest.raises(TrainingError, match=r"10×10 pixels at least, these are 9×12: raise ingest\.image_size"):
        architectures.build(params, (9, 12, 1), 10)
