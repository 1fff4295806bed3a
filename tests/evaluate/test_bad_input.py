"""The whole stage on models, predictions and test splits that are not as they should be."""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import pytest

from pipeline import dataset
from pipeline.dataset import Split
from pipeline.errors import DatasetError, EvaluationError
from pipeline.evaluate import stage
from pipeline.params import EvaluateParams
from pipeline.workspace import Workspace
from tests.data_sets import flip

BuildModel = Callable[..., Any]
INPUTS = ["baseline.parquet", "features.parquet", "history.csv", "validation.json"]


class Trained(Protocol):
    workspace: Workspace

    def save(self, model: Any) -> None: ...
    def record(self, **changes: Any) -> None: ...
    def test_on(self, test: Split, class_names: tuple[str, ...] = ...) -> None: ...


def rows_of(trained: Trained, keep: Callable[[Any], Any]) -> Split:
    """The rows of the test split whose labels `keep` keeps."""
    test = dataset.read(trained.workspace.dataset).test
    kept = keep(test.labels)
    return Split(np.asarray(test.images[kept]), np.asarray(test.labels[kept]), np.asarray(test.source_index[kept]))


def other_data(trained: Trained, _: BuildModel) -> None:
    trained.record(dataset_digest="f" * 64)


def other_class_list(trained: Trained, _: BuildModel) -> None:
    test = rows_of(trained, lambda labels: labels >= 0)
    trained.test_on(test, tuple("abcdefghij"))
    trained.record(dataset_digest="f" * 64, class_names=tuple("jihgfedcba"))


def other_number_of_classes(trained: Trained, build: BuildModel) -> None:
    trained.save(build(classes=7))


def other_shape(trained: Trained, build: BuildModel) -> None:
    trained.save(build(shape=(9, 8, 1)))


def colour(trained: Trained, build: BuildModel) -> None:
    trained.save(build(shape=(8, 8, 3)))


def no_numbers(trained: Trained, build: BuildModel) -> None:
    trained.save(build(bias=[np.nan] * 10))


def no_probabilities(trained: Trained, build: BuildModel) -> None:
    trained.save(build(activation="linear", bias=[3.0] * 10))


def damaged_data(trained: Trained, _: BuildModel) -> None:
    flip(trained.workspace.dataset / "test/images.npy")


def other_weights(trained: Trained, build: BuildModel) -> None:
    build().save(trained.workspace.model)


def no_images(trained: Trained, _: BuildModel) -> None:
    trained.test_on(rows_of(trained, lambda labels: labels < 0))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (other_data, r"trained on other data \(digits ffffffffffff\).*`dvc repro train`"),
        (other_class_list, r"trained on other data .*`dvc repro train`"),
        (other_number_of_classes, "predicts 7 values, digits has 10 classes: run `dvc repro train`"),
        (other_shape, "takes images of shape 9 × 8 × 1, digits has 8 × 8 × 1: run `dvc repro train`"),
        (colour, "takes images of shape 8 × 8 × 3, digits has 8 × 8 × 1: run `dvc repro train`"),
        (no_numbers, r"test image 0 \(397 of 397 rows affected\) is not a number \(NaN or infinite\): lower the learning_rate"),
        (no_probabilities, r"test image 0 \(397 of 397 rows affected\) is not a probability distribution \(sum 30"),
        (damaged_data, r"^data/dataset/test/images\.npy changed on disk since ingest wrote it: run `dvc repro -s -f ingest`$"),
        (other_weights, r"^the weights in models/model\.keras are not those .* names: run `dvc repro -s -f train`$"),
        (no_images, r"the test split is empty: raise ingest\.test_fraction"),
    ],
    ids=lambda each: getattr(each, "__name__", ""),
)
def test_it_is_refused_in_one_line_and_nothing_is_written(
    trained: Trained, params: EvaluateParams, build_model: BuildModel, damage: Callable[..., None], message: str
) -> None:
    damage(trained, build_model)
    with pytest.raises((EvaluationError, DatasetError), match=message) as refused:
        stage.evaluate(params, trained.workspace)
    assert "\n" not in str(refused.value)
    assert sorted(path.name for path in trained.workspace.metrics.parent.iterdir()) == INPUTS


@pytest.mark.parametrize("keep", [1, 40], ids=["one-image", "forty"])
def test_a_test_split_of_one_class_is_scored_and_the_others_left_empty(
    trained: Trained, params: EvaluateParams, keep: int
) -> None:
    test = rows_of(trained, lambda labels: np.flatnonzero(labels == 3)[:keep])
    trained.test_on(test)
    evaluation = stage.evaluate(params, trained.workspace)
    assert evaluation.scores.per_class.support.tolist() == [0, 0, 0, len(test), 0, 0, 0, 0, 0, 0]
    assert np.isnan(np.delete(evaluation.scores.per_class.recall, 3)).all()
    html = trained.workspace.report.read_text(encoding="utf-8")
    assert f"accuracy on {len(test)} test images" in html
    assert ">nan" not in html
    ratios = evaluation.scores.per_class
    assert html.count(">–") == sum(
        int(np.isnan(values).sum()) for values in (ratios.recall, ratios.precision, ratios.f1, ratios.average_precision)
    )


@pytest.mark.slow
@pytest.mark.exhaustive
def test_a_thousand_classes_leave_the_report_usable(trained: Trained, params: EvaluateParams, build_model: BuildModel) -> None:
    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(1000, dtype=np.int32), 3)
    images = generator.integers(0, 256, (3000, 8, 8, 1)).astype(np.uint8)
    trained.test_on(Split(images, labels, np.arange(3000, dtype=np.int32)), tuple(f"kind {n} of a thing" for n in range(1000)))
    trained.save(build_model(classes=1000))
    stage.evaluate(params, trained.workspace)
    html = trained.workspace.report.read_text(encoding="utf-8")
    assert len(html) < 5_000_000
    assert "The 250 classes of lowest recall; 750 more are in per_class.csv" in html
    assert html.count('<tr><td class="name">kind') == 260  # those, and the ten most confused pairs
    assert trained.workspace.model_card.stat().st_size < 5_000  # what the registry takes


@pytest.mark.slow
@pytest.mark.exhaustive
def test_a_million_images_leave_the_report_as_small(trained: Trained, params: EvaluateParams) -> None:
    test = dataset.read(trained.workspace.dataset).test
    stage.evaluate(params, trained.workspace)
    of_few = trained.workspace.report.stat().st_size
    rows = np.arange(1_000_000, dtype=np.int32)
    trained.test_on(Split(np.asarray(test.images)[rows % len(test)], np.asarray(test.labels)[rows % len(test)], rows))
    evaluation = stage.evaluate(params.model_copy(update={"batch_size": 10_000}), trained.workspace)
    assert evaluation.scores.confusion.sum() == 1_000_000
    assert trained.workspace.report.stat().st_size < min(2 * of_few, 5_000_000)
    plots = [path for path in trained.workspace.report.parent.iterdir() if path.suffix == ".png"]
    assert max(path.stat().st_size for path in plots) < 1_000_000
