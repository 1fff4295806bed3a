"""Predictions are those of the model, whatever the batch size; unsuitable models and outputs are refused in one line."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from pipeline import dataset, model_file
from pipeline.errors import EvaluationError
from pipeline.workspace import Workspace

BuildModel = Callable[..., Any]


def predicting(rows: list[list[float]]) -> Any:
    """Stands in for a model with given outputs: no real layer makes one bad row on purpose."""

    class Output:
        shape = (None, 3)

    class Model:
        outputs = (Output,)

        def predict_on_batch(self, images: Any) -> Any:
            return np.array(rows, np.float32)[images[:, 0, 0, 0]]

    return Model()


def numbered(count: int) -> Any:
    """Images whose first pixel is their number."""
    return np.arange(count, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 1), np.uint8)


@pytest.mark.parametrize("batch_size", [1, 64, 397, 1000])
def test_predictions_do_not_depend_on_the_batch_size(learned: Workspace, batch_size: int) -> None:
    import keras

    data = dataset.read(learned.dataset)
    model = model_file.load(learned.model, data.description)
    probabilities, images_per_second = model_file.predict(model, data.test.images, batch_size)
    expected = keras.saving.load_model(learned.model)(np.asarray(data.test.images)).numpy()
    assert probabilities.dtype == np.float32
    assert probabilities.shape == (397, 10)
    assert_allclose(probabilities, expected, atol=1e-6)
    assert 0 < images_per_second < np.inf


def test_a_model_of_any_image_size_fits(learned: Workspace, tmp_path: Any) -> None:
    import keras

    layers = [keras.Input((None, None, 1), dtype="uint8"), keras.layers.GlobalAveragePooling2D()]
    keras.Sequential([*layers, keras.layers.Dense(10, "softmax")]).save(tmp_path / "any.keras")
    data = dataset.read(learned.dataset)
    model = model_file.load(tmp_path / "any.keras", data.description)
    assert model_file.predict(model, data.test.images[:3], 2)[0].shape == (3, 10)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        ({"shape": (9, 8, 1)}, "model.keras takes images of shape 9 × 8 × 1, digits has 8 × 8 × 1: run `dvc repro train`"),
        ({"classes": 7}, "model.keras predicts 7 values, digits has 10 classes: run `dvc repro train`"),
    ],
)
def test_a_model_for_other_data_is_refused(
    learned: Workspace, tmp_path: Any, build_model: BuildModel, made: dict[str, Any], message: str
) -> None:
    build_model(**made).save(tmp_path / "model.keras")
    with pytest.raises(EvaluationError, match=f"^{re.escape(message)}$"):
        model_file.load(tmp_path / "model.keras", dataset.describe(learned.dataset))


@pytest.mark.parametrize("damage", ["garbage", "truncated", "bit-flipped"])
def test_a_damaged_model_file_is_refused_in_one_line(learned: Workspace, tmp_path: Any, damage: str) -> None:
    content = bytearray(learned.model.read_bytes())
    if damage == "garbage":
        content = bytearray(b"not a model")
    elif damage == "truncated":
        content = content[: len(content) // 2]
    else:
        content[len(content) // 2] ^= 0xFF
    (tmp_path / "model.keras").write_bytes(content)
    with pytest.raises(
        EvaluationError, match=r"^model\.keras (is no Keras model|cannot be loaded).*: run `dvc repro -s -f train`$"
    ):
        model_file.load(tmp_path / "model.keras", dataset.describe(learned.dataset), lambda: "run `dvc repro -s -f train`")


def test_the_first_row_that_is_not_a_number_is_named() -> None:
    model = predicting([[1, 0, 0], [0, 1, 0], [np.nan, 0, 1], [np.inf, 0, 0]])
    with pytest.raises(EvaluationError, match=r"test image 2 \(2 of 4 rows affected\) is not a number"):
        model_file.predict(model, numbered(4), batch_size=3)


@pytest.mark.parametrize("bad", [[0.6, 0.6, 0.0], [1.5, -0.5, 0.0], [0, 0, 0]])
def test_the_first_row_that_holds_no_probabilities_is_named(bad: list[float]) -> None:
    with pytest.raises(EvaluationError, match=r"test image 1 \(1 of 3 rows affected\) is not a probability.*softmax"):
        model_file.predict(predicting([[1, 0, 0], bad, [0, 0, 1]]), numbered(3), batch_size=2)


def test_a_model_without_softmax_is_refused(learned: Workspace, tmp_path: Any, build_model: BuildModel) -> None:
    build_model(activation="linear", bias=[3.0] * 10).save(tmp_path / "model.keras")
    data = dataset.read(learned.dataset)
    model = model_file.load(tmp_path / "model.keras", data.description)
    with pytest.raises(EvaluationError, match=r"test image 0 \(397 of 397 rows affected\) is not a probability .*\(sum 30"):
        model_file.predict(model, data.test.images, 64)


def test_an_empty_test_split_is_refused() -> None:
    with pytest.raises(EvaluationError, match=r"the test split is empty: raise ingest\.test_fraction"):
        model_file.predict(predicting([[1, 0, 0]]), numbered(0), batch_size=2)


def test_rows_keep_their_order_over_batches() -> None:
    rows = [[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0], [0.5, 0.5, 0], [0, 0.5, 0.5]]
    assert_array_equal(model_file.predict(predicting(rows), numbered(5), batch_size=2)[0], rows)
