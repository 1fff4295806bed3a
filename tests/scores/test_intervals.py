"""Intervals of proportions against SciPy and exact coverage, bootstrap intervals against what repeated test sets give."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import binom, binomtest

from pipeline.scores import intervals, metrics


def test_a_proportion_has_wilsons_interval() -> None:
    hits, of = np.array([0, 3, 88, 10]), np.array([10, 7, 100, 10])
    low, high = intervals.proportion(hits, of)
    for place, (k, n) in enumerate(zip(hits.tolist(), of.tolist(), strict=True)):
        expected = binomtest(k, n).proportion_ci(0.95, method="wilson")
        assert_allclose((low[place], high[place]), (expected.low, expected.high), atol=1e-6)


def test_with_one_mistake_or_one_hit_the_nearer_end_is_an_eighth_of_a_count_away() -> None:
    low, high = intervals.proportion(np.array([1, 99]), np.array([100, 100]))
    assert (low[0], high[1]) == (0.00125, 0.99875)


def coverage(images: int, mistakes: np.ndarray) -> np.ndarray:
    """How often the interval holds each share of mistakes, exactly: the sum of the binomial over the counts that do."""
    low, high = intervals.proportion(np.arange(images + 1), np.full(images + 1, images))
    first, last = np.searchsorted(high, mistakes), np.searchsorted(low, mistakes, side="right") - 1  # the counts that hold it
    below = np.where(first > 0, binom.cdf(first - 1, images, mistakes), 0)
    return np.asarray(binom.cdf(last, images, mistakes) - below)


@pytest.mark.parametrize("images", [50, 75, 100, 150, 200, 359, 500, 1000, 2000, 5000, 10_000])
def test_intervals_of_accuracies_from_80_to_99_9_percent_cover_93_to_97_percent(images: int) -> None:
    """Between neighbouring accuracies the coverage of any interval jumps, as mistakes are counted in ones; what is promised is
    the mean over shares of mistakes from half to twice the one at hand."""
    steps = 40  # per doubling
    mistakes = 0.2 * 2.0 ** -(np.arange(-steps, 8.65 * steps) / steps)  # from twice 0.2 to half of 0.001
    found = np.convolve(coverage(images, mistakes), np.full(2 * steps + 1, 1 / (2 * steps + 1)), "valid")
    assert found.min() >= 0.93
    assert found.max() <= 0.97
    assert coverage(images, mistakes).min() >= 0.86  # of any single one


def test_a_share_of_nothing_has_no_interval() -> None:
    low, high = intervals.proportion(np.array([0]), np.array([0]))
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
    others = [found(*predictions(generator, 1000)) for _ in range(150)]
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


def test_without_a_mistake_every_interval_has_a_width() -> None:
    """Wilson's upper end for 0 of 30 mistakes is 1.96^2 / (30 + 1.96^2) = 0.1135: 3.4 images, of which four are counted."""
    labels = np.arange(30, dtype=np.int32) % 3
    probabilities = np.eye(3, dtype=np.float32)[labels]
    got = intervals.bootstrap(labels, probabilities, metrics.score(labels, probabilities, bins=10).calibration)
    assert got["accuracy"] == got["top2_accuracy"] == pytest.approx((1 - 0.1135, 1), abs=1e-4)
    assert got["brier"] == pytest.approx((0, 4 * 2 / 30))
    assert got["calibration_error"] == pytest.approx((0, 4 / 30))
    assert got["log_loss"] == pytest.approx((0, 4 * 15.942 / 30), abs=1e-3)
    assert got["macro_f1"].high == got["weighted_f1"].high == 1
    assert 0.8 < got["macro_f1"].low < 0.9


def test_three_mistakes_of_359_are_not_all_there_could_have_been() -> None:
    labels, probabilities = mistaken(images=359, mistakes=3)
    got = intervals.bootstrap(labels, probabilities, metrics.score(labels, probabilities, bins=10).calibration)
    wilson = binomtest(356, 359).proportion_ci(0.95, method="wilson")
    assert got["accuracy"] == pytest.approx((wilson.low, wilson.high), abs=1e-6)
    assert (round(got["accuracy"].low, 4), round(got["accuracy"].high, 4)) == (0.9757, 0.9972)
    assert got["top2_accuracy"] == (1, 1)  # of two classes, one is always the true one


def mistaken(images: int, mistakes: int) -> tuple[np.ndarray, np.ndarray]:
    """Two classes and a model that is 0.9 sure of each prediction, of which the first ones are incorrect."""
    labels = np.arange(images, dtype=np.int32) % 2
    predicted = np.where(np.arange(images) < mistakes, 1 - labels, labels)
    return labels, np.where(np.eye(2)[predicted] > 0, 0.9, 0.1).astype(np.float32)


@pytest.mark.parametrize(("lost", "won", "images"), [(0, 0, 36), (4, 0, 36), (0, 5, 100), (12, 21, 360), (160, 190, 10_000)])
def test_the_ends_of_a_difference_are_those_that_the_score_test_just_allows(lost: int, won: int, images: int) -> None:
    """The test by the likelihood itself: the share lost that is likeliest for a given difference, found on a grid."""
    for end in intervals.difference(lost, won, images):
        shares = np.linspace(max(0.0, -end), (1 - end) / 2, 200_001)[1:-1]  # lost; won is that + end
        same = images - lost - won
        chances = lost * np.log(shares) + won * np.log(np.maximum(shares + end, 1e-300)) + same * np.log(1 - 2 * shares - end)
        likely = shares[chances.argmax()] if lost + won else max(0.0, -end)
        z = (won - lost - images * end) / np.sqrt(images * (2 * likely + end * (1 - end)))
        assert abs(z) == pytest.approx(1.96, abs=2e-3)


def test_the_difference_of_models_that_agree_on_every_image_has_a_width() -> None:
    """Of n images without one that only one model gets: z^2 / (n + z^2), as Wilson's for 0 of n."""
    share = 1.959964**2 / (100 + 1.959964**2)
    assert intervals.difference(0, 0, 100) == pytest.approx((-share, share))
    assert intervals.lowest_difference(0, 0, 100) == pytest.approx(-(1.644854**2) / (100 + 1.644854**2))


def test_the_ends_of_a_difference_stay_between_minus_one_and_one() -> None:
    assert intervals.difference(3, 0, 3).low == -1
    assert intervals.difference(0, 1, 1).high == 1


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
    others = [differences(*pair(generator, 1000)) for _ in range(150)]
    for name, value in differences(*models).items():
        assert got[name].low <= value <= got[name].high
        scatter = np.std([each[name] for each in others]) * 2 * 1.96
        assert got[name].high - got[name].low == pytest.approx(scatter, rel=0.3), name
    alone = intervals.bootstrap(models[0], *models[1])["accuracy"]
    assert got["accuracy"].high - got["accuracy"].low < 0.8 * (alone.high - alone.low)


def test_a_model_and_itself_do_not_differ() -> None:
    labels, a, _ = pair(np.random.default_rng(7), 200)
    assert {(each.low, each.high) for each in intervals.paired(labels, a, a).values()} == {(0, 0)}
