"""What is said of two models on the same pictures, against figures worked out by hand; and its page, which stays bounded."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from pipeline.compare import comparison, models, report
from pipeline.compare.comparison import Comparison
from pipeline.compare.models import Evaluated, Pair
from pipeline.project import Project
from pipeline.scores import metrics
from tests.compare.trainings import Trainings


@pytest.fixture(scope="module")
def pair(versions: Trainings) -> Pair:
    return models.pair(versions.client, "1", "2", Project.load(versions.workspace))


@pytest.fixture(scope="module")
def found(pair: Pair) -> Comparison:
    return comparison.compare(pair)


def answered(like: Evaluated, labels: Sequence[int], said: Sequence[int], sure: float = 0.9) -> Evaluated:
    """`like`, with other pictures and answers."""
    classes = len(like.class_names)
    probabilities = np.full((len(said), classes), (1 - sure) / (classes - 1), np.float32)
    probabilities[range(len(said)), list(said)] = sure
    truth = np.array(labels, np.int32)
    scores = metrics.score(truth, probabilities, 10)
    index = np.arange(len(truth), dtype=np.int32)
    return replace(like, source_index=index, labels=truth, probabilities=probabilities, scores=scores)


def test_changes_of_scores_are_b_less_a(found: Comparison) -> None:
    change = {each.score.key: each.b - each.a for each in found.changes}
    assert change["accuracy"] == pytest.approx(6 / 8 - 3 / 8)
    assert change["macro_f1"] == pytest.approx(((4 / 5 + 4 / 6 + 4 / 5) - (4 / 5 + 2 / 6 + 0)) / 3)
    assert change["log_loss"] == pytest.approx(3 / 8 * (np.log(0.05) - np.log(0.9)), rel=1e-4)
    assert list(change) == [
        "accuracy",
        "top2_accuracy",
        "macro_f1",
        "weighted_f1",
        "log_loss",
        "brier",
        "calibration_error",
    ]


def test_mcnemar_counts_what_only_one_has_right(found: Comparison) -> None:
    assert (found.lost, found.won) == (1, 4)
    assert found.p == pytest.approx(2 * (5 + 1) / 32)
    assert found.verdict == "open"
    assert found.headline == "No clear difference: 75.00 % instead of 37.50 % accuracy"
    assert "B has 4 right that A has wrong, and 1 wrong that A has right (exact McNemar test, p = 0.38)" in found.evidence


def test_classes_say_where_it_changed(found: Comparison) -> None:
    assert [(each.pictures, each.lost, each.won) for each in found.classes] == [(3, 0, 0), (3, 1, 2), (2, 0, 2)]
    assert [each.recall for each in found.classes] == [
        pytest.approx((2 / 3, 2 / 3)),
        pytest.approx((1 / 3, 2 / 3)),
        pytest.approx((0, 1)),
    ]
    assert found.classes[2].f1 == pytest.approx((0, 4 / 5))
    assert [each.verdict for each in found.classes] == ["", "", ""]
    assert found.confusion.tolist() == [[0, 1, -1], [0, 1, -1], [0, -2, 2]]


@pytest.mark.parametrize(("won", "verdict"), [(0, "worse"), (12, "better")])
def test_twelve_to_none_is_more_than_luck_also_for_the_class_among_three(pair: Pair, won: int, verdict: str) -> None:
    labels, wrong = [1] * 12 + [0] * 4 + [2] * 4, [2] * 12 + [0] * 4 + [2] * 4
    a, b = (answered(each, labels, said) for each, said in ((pair.a, wrong), (pair.b, labels)))
    found = comparison.compare(replace(pair, a=a, b=b) if won else replace(pair, a=b, b=a))
    assert (found.won, found.verdict) == (won, verdict)
    assert found.p == pytest.approx(2 / 2**12)
    assert found.headline.startswith(f"B is {verdict}: ")
    assert [each.verdict for each in found.classes] == ["", verdict, ""]
    assert found.classes[1].p == pytest.approx(3 * 2 / 2**12)
    assert found.changes[0].verdict == verdict
    assert {each.score.key: each.verdict for each in found.changes}["log_loss"] == verdict


def test_five_to_none_is_luck_among_three_classes(pair: Pair) -> None:
    labels, wrong = [1] * 5 + [0, 2], [2] * 5 + [0, 2]
    a, b = (answered(each, labels, said) for each, said in ((pair.a, wrong), (pair.b, labels)))
    found = comparison.compare(replace(pair, a=a, b=b))
    assert found.p == pytest.approx(2 / 2**5)
    assert found.verdict == "open"
    assert found.classes[1].p == pytest.approx(3 * 2 / 2**5)


def test_the_same_weights_are_said_to_be_the_same_model(pair: Pair) -> None:
    found = comparison.compare(replace(pair, b=pair.a))
    assert found.verdict == "same"
    assert found.headline == "A and B are the same model: equal weights, 37.50 % accuracy"
    assert found.evidence == "Both are right on the same of 8 test pictures."
    assert [(each.b - each.a, each.interval.low, each.interval.high) for each in found.changes] == [(0, 0, 0)] * 7


def test_newly_wrong_are_those_of_the_surest_mistakes_first(pair: Pair) -> None:
    a = answered(pair.a, [0, 0, 0, 1], [0, 0, 0, 2])
    b = answered(pair.b, [0, 0, 0, 1], [1, 0, 2, 1])
    sure = b.probabilities.copy()
    sure[2] = [0.01, 0.01, 0.98]
    found = comparison.compare(replace(pair, a=a, b=replace(b, probabilities=sure)))
    assert found.newly(right=False, most=5).tolist() == [2, 0]
    assert found.newly(right=False, most=1).tolist() == [2]
    assert found.newly(right=True, most=5).tolist() == [3]


def test_a_page_of_a_thousand_classes_and_large_pictures_stays_under_five_megabytes(pair: Pair) -> None:
    generator = np.random.default_rng(1)
    names = tuple(f"class {label:04}" for label in range(1000))
    labels = generator.integers(0, 1000, 2000)
    both = []
    for each in (pair.a, pair.b):
        said = np.where(generator.uniform(size=2000) < 0.7, labels, generator.integers(0, 1000, 2000))
        named = replace(each, record=replace(each.record, class_names=names))
        both.append(answered(named, labels.tolist(), said.tolist()))
    noise = generator.integers(0, 256, (1, 300, 300, 3), np.uint8)
    page = report.html(comparison.compare(Pair(both[0], both[1], np.broadcast_to(noise, (2000, 300, 300, 3)), "")))
    assert page.count('<img src="data:image/png;base64,') == 2 * 24 + 1
    assert len(page) < 5_000_000
    assert "The 100 classes whose recall changed most; 900 more are not shown" in page
