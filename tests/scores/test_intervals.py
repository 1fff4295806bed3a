"""Wilson intervals against scipy, bootstrap intervals against what repeated test sets give."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from pipeline.scores import intervals, metrics


def test_wilson_is_scipys() -> None:
    from scipy.stats import binomtest

    hits, of = np.array([0, 3, 88, 10]), np.array([10, 7, 100, 10])
    low, high = intervals.wilson(hits, of)
    for place, (k, n) in enumerate(zip(hits.tolist(), of.tolist(), strict=True)):
        expected = binomtest(k, n).proportion_ci(0.95, method="wilson")
        assert_allclose((low[place], high[place]), (expected.low, expected.high), atol=1e-6)


def test_a_share_of_nothing_has_no_interval() -> None:
    low, high = intervals.wilson(np.array([0]), np.array([0]))
    assert np.isnan([low[0], high[0]]).all()


def predictions(generator: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    labels = generator.integers(0, 4, n).astype(np.int32)
    odds = np.exp(generator.normal(size=(n, 4)) + 1.5 * np.eye(4)[labels])
    return labels, (odds / odds.sum(axis=1, keepdims=True)).astype(np.float32)


def found(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    scores = metrics.score(labels, probabilities, bins=10)
    names = ("accuracy", "log_loss", "brier", "macro_f1", "weighted_f1", "top2_accuracy")
    return {name: getattr(scores, name) for name in names} | {"calibration_error": scores.calibration.error}


def test_intervals_are_as_wide_as_scores_scatter_over_test_sets() -> None:
    generator = np.random.default_rng(3)
    labels, probabilities = predictions(generator, 1000)
    calibration = metrics.score(labels, probabilities, bins=10).calibration
    got = intervals.bootstrap(labels, probabilities, calibration)
    others = [found(*predictions(generator, 1000)) for _ in range(300)]
    for name, value in found(labels, probabilities).items():
        assert got[name].low <= value <= got[name].high
        scatter = np.std([each[name] for each in others]) * 2 * 1.96
        assert got[name].high - got[name].low == pytest.approx(scatter, rel=0.25), name


def test_a_calibration_error_that_is_all_chance_lies_in_its_interval() -> None:
    generator = np.random.default_rng(4)
    confidence = generator.uniform(0.5, 1, 2000)
    labels = (generator.uniform(size=2000) > confidence).astype(np.int32)  # as often correct as it is confident
    probabilities = np.stack([confidence, 1 - confidence], axis=1).astype(np.float32)
    calibration = metrics.score(labels, probabilities, bins=15).calibration
    got = intervals.bootstrap(labels, probabilities, calibration)["calibration_error"]
    assert got.low <= calibration.error <= got.high


def test_equal_predictions_have_equal_intervals() -> None:
    labels, probabilities = predictions(np.random.default_rng(5), 200)
    calibration = metrics.score(labels, probabilities, bins=10).calibration
    assert intervals.bootstrap(labels, probabilities, calibration) == intervals.bootstrap(labels, probabilities, calibration)


def test_a_model_without_mistakes_has_intervals_without_width() -> None:
    labels = np.arange(30, dtype=np.int32) % 3
    probabilities = np.eye(3, dtype=np.float32)[labels]
    got = intervals.bootstrap(labels, probabilities, metrics.score(labels, probabilities, bins=10).calibration)
    assert (got["accuracy"].low, got["accuracy"].high, got["calibration_error"].high) == (1, 1, 0)


def pair(generator: np.random.Generator, n: int) -> tuple[np.ndarray, intervals.Predicted, intervals.Predicted]:
    """Two models that find the same images hard; the second is a little better."""
    labels = generator.integers(0, 4, n).astype(np.int32)
    hard = generator.normal(size=(n, 4))
    both = []
    for skill in (1.5, 1.8):
        odds = np.exp(hard + generator.normal(size=(n, 4)) / 4 + skill * np.eye(4)[labels])
        probabilities = (odds / odds.sum(axis=1, keepdims=True)).astype(np.float32)
        both.append((probabilities, metrics.score(labels, probabilities, bins=10).calibration))
    return labels, both[0], both[1]


def differences(labels: np.ndarray, a: intervals.Predicted, b: intervals.Predicted) -> dict[str, float]:
    old, new = found(labels, a[0]), found(labels, b[0])
    return {name: new[name] - old[name] for name in old}


def test_paired_intervals_are_as_wide_as_differences_scatter_over_test_sets() -> None:
    generator = np.random.default_rng(6)
    models = pair(generator, 1000)
    got = intervals.paired(*models)
    others = [differences(*pair(generator, 1000)) for _ in range(300)]
    for name, value in differences(*models).items():
        assert got[name].low <= value <= got[name].high
        scatter = np.std([each[name] for each in others]) * 2 * 1.96
        assert got[name].high - got[name].low == pytest.approx(scatter, rel=0.3), name
    alone = intervals.bootstrap(models[0], *models[1])["accuracy"]
    assert got["accuracy"].high - got["accuracy"].low < 0.8 * (alone.high - alone.low)


def test_a_model_and_itself_do_not_differ() -> None:
    labels, a, _ = pair(np.random.default_rng(7), 200)
    assert {(each.low, each.high) for each in intervals.paired(labels, a, a).values()} == {(0, 0)}
