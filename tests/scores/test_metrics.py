"""Every score by hand on six images of three classes, and against scikit-learn on random predictions."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray

from pipeline.scores import metrics
from pipeline.scores.metrics import ConfusedPair

LABELS = np.array([0, 0, 0, 1, 1, 2], np.int32)
PROBABILITIES = np.array(
    [
        [0.75, 0.25, 0.00],  # correct
        [0.25, 0.50, 0.25],  # 0 predicted as 1
        [1.00, 0.00, 0.00],  # correct
        [0.25, 0.75, 0.00],  # correct
        [0.50, 0.25, 0.25],  # 1 predicted as 0
        [0.00, 1.00, 0.00],  # 2 predicted as 1, with full confidence
    ],
    np.float32,
)


@pytest.fixture
def random_predictions() -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    generator = np.random.default_rng(7)
    labels = generator.integers(0, 6, 500).astype(np.int32)
    scores = generator.normal(size=(500, 6)) + 1.5 * np.eye(6)[labels]
    odds = np.exp(scores)
    return labels, (odds / odds.sum(axis=1, keepdims=True)).astype(np.float32)


def test_confusion_has_true_classes_in_rows() -> None:
    confusion = metrics.score(LABELS, PROBABILITIES, bins=4).confusion
    assert confusion.tolist() == [[2, 1, 0], [1, 1, 0], [0, 1, 0]]


def test_scores_are_those_worked_out_by_hand() -> None:
    scores = metrics.score(LABELS, PROBABILITIES, bins=4)
    assert scores.accuracy == 3 / 6
    # ln(1/0.75) twice, ln 4 twice, ln 1, and the confident mistake counts ln(2**23): float32's resolution is 2**-23.
    assert scores.log_loss == pytest.approx((2 * np.log(4 / 3) + 2 * np.log(4) + 23 * np.log(2)) / 6)
    # F1: 2·2/(3+3), 2·1/(3+2), 0/(0+1)
    assert scores.macro_f1 == pytest.approx((2 / 3 + 2 / 5 + 0) / 3)
    # Squares, by hand: (1/4)² + (1/4)² twice; (3/4)² + (1/2)² + (1/4)²; 0; (1/2)² + (3/4)² + (1/4)²; 1 + 1.
    assert scores.brier == pytest.approx((1 / 8 + 1 / 8 + 7 / 8 + 7 / 8 + 0 + 2) / 6)
    assert scores.weighted_f1 == pytest.approx((3 * 2 / 3 + 2 * 2 / 5 + 0) / 6)
    # Of equal probabilities the first class comes first: so class 0 is second of image 1, and class 2 third of image 5.
    assert scores.top2_accuracy == 5 / 6
    assert scores.weakest == 2


def test_scores_per_class_are_those_worked_out_by_hand() -> None:
    per_class = metrics.score(LABELS, PROBABILITIES, bins=4).per_class
    assert_array_equal(per_class.precision, [2 / 3, 1 / 3, np.nan])  # 2 was never predicted
    assert_array_equal(per_class.recall, [2 / 3, 1 / 2, 0])
    assert_allclose(per_class.f1, [2 / 3, 2 / 5, 0])
    assert per_class.support.tolist() == [3, 2, 1]


def test_calibration_error_is_the_one_worked_out_by_hand() -> None:
    # Both of confidence 0.5 are incorrect, gap 0.5; both of 0.75 correct, gap 0.25; one of the two of 1 correct, gap 0.5.
    assert metrics.score(LABELS, PROBABILITIES, bins=3).calibration.error == pytest.approx((2 * 0.5 + 2 * 0.25 + 2 * 0.5) / 6)


def test_calibration_error_cancels_only_within_a_bin() -> None:
    # One bin for all: mean confidence 4.5/6, accuracy 3/6.
    assert metrics.score(LABELS, PROBABILITIES, bins=1).calibration.error == pytest.approx(1.5 / 6)


def test_perfect_confident_predictions_have_no_error() -> None:
    labels = np.array([0, 1, 2], np.int32)
    scores = metrics.score(labels, np.eye(3, dtype=np.float32), bins=15)
    assert (scores.accuracy, scores.log_loss, scores.macro_f1, scores.calibration.error, scores.brier) == (1, 0, 1, 0, 0)
    assert metrics.confused_pairs(scores.confusion, 10) == []


def test_a_class_that_is_nowhere_has_no_scores_and_does_not_count() -> None:
    labels = np.array([0, 1], np.int32)
    probabilities = np.array([[0.75, 0.25, 0], [0.25, 0.75, 0]], np.float32)
    scores = metrics.score(labels, probabilities, bins=4)
    assert np.isnan([scores.per_class.precision[2], scores.per_class.recall[2], scores.per_class.f1[2]]).all()
    assert scores.macro_f1 == 1
    assert scores.weakest == 0


def test_normalized_rows_are_shares_and_absent_classes_are_undefined() -> None:
    shares = metrics.normalized(np.array([[3, 1], [0, 0]]))
    assert_array_equal(shares, [[0.75, 0.25], [np.nan, np.nan]])


def test_confused_pairs_come_by_frequency_then_by_class() -> None:
    confusion = np.array([[5, 2, 3], [2, 5, 0], [1, 0, 9]])
    assert metrics.confused_pairs(confusion, 3) == [
        ConfusedPair(0, 2, 3, 0.3),
        ConfusedPair(0, 1, 2, 0.2),
        ConfusedPair(1, 0, 2, 2 / 7),
    ]


def test_scores_agree_with_scikit_learn(random_predictions: tuple[NDArray[np.int32], NDArray[np.float32]]) -> None:
    import sklearn.metrics as reference

    labels, probabilities = random_predictions
    predicted = probabilities.argmax(axis=1)
    scores = metrics.score(labels, probabilities, bins=15)
    assert scores.accuracy == pytest.approx(reference.accuracy_score(labels, predicted))
    assert scores.macro_f1 == pytest.approx(reference.f1_score(labels, predicted, average="macro"))
    assert scores.log_loss == pytest.approx(reference.log_loss(labels, probabilities), rel=1e-6)
    assert_array_equal(scores.confusion, reference.confusion_matrix(labels, predicted))
    assert scores.weighted_f1 == pytest.approx(reference.f1_score(labels, predicted, average="weighted"))
    assert scores.top2_accuracy == pytest.approx(reference.top_k_accuracy_score(labels, probabilities, k=2))
    assert scores.brier == pytest.approx(reference.brier_score_loss(labels, probabilities, scale_by_half=False), rel=1e-6)
    expected = reference.precision_recall_fscore_support(labels, predicted)
    per_class = scores.per_class
    for ours, theirs in zip((per_class.precision, per_class.recall, per_class.f1, per_class.support), expected, strict=True):
        assert_allclose(ours, theirs)
    one_hot = np.eye(6)[labels]
    assert_allclose(per_class.average_precision, reference.average_precision_score(one_hot, probabilities, average=None))


def test_average_precision_treats_equal_probabilities_as_one_threshold() -> None:
    import sklearn.metrics as reference

    probability = np.array([0.9, 0.5, 0.5, 0.5, 0.1, 0.1], np.float32)
    is_class = np.array([0, 1, 0, 1, 0, 1], np.int32)
    probabilities = np.stack([1 - probability, probability], axis=1)
    ours = metrics.average_precision(is_class, probabilities)
    assert ours[1] == pytest.approx(reference.average_precision_score(is_class, probability))
    assert np.isnan(metrics.average_precision(np.zeros(6, np.int32), probabilities)[1])
