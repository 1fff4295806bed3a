"""Two models on the same images, against numbers worked out by hand; their training data; and the page, which stays bounded."""

import re
import shlex
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from pipeline import tracking
from pipeline.compare import command, comparison, models
from pipeline.compare.comparison import Comparison, DataDrift
from pipeline.compare.models import Evaluated, Pair
from pipeline.project import Project
from pipeline.scores import metrics
from pipeline.tracking import Source
from pipeline.workspace import write_text
from tests.compare.profiles import profile
from tests.compare.trainings import MODEL, PLAIN, Trainings, write_data
from tests.conftest import Shell


@pytest.fixture(scope="module")
def pair(versions: Trainings) -> Pair:
    return models.pair(versions.client, "1", "2", Project.load(versions.workspace))


@pytest.fixture(scope="module")
def found(pair: Pair) -> Comparison:
    return compared(pair)


def compared(pair: Pair) -> Comparison:
    return comparison.compare(pair, DataDrift(""))


def predicting(like: Evaluated, labels: Sequence[int], predicted: Sequence[int], confidence: float = 0.9) -> Evaluated:
    """`like`, with other images and predictions."""
    classes = len(like.class_names)
    probabilities = np.full((len(predicted), classes), (1 - confidence) / (classes - 1), np.float32)
    probabilities[range(len(predicted)), list(predicted)] = confidence
    truth = np.array(labels, np.int32)
    scores = metrics.score(truth, probabilities, 10)
    index = np.arange(len(truth), dtype=np.int32)
    return replace(like, source_index=index, labels=truth, probabilities=probabilities, scores=scores)


def test_changes_of_scores_are_b_less_a(found: Comparison) -> None:
    change = {each.metric.key: each.b - each.a for each in found.changes}
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


def test_mcnemar_counts_what_only_one_predicts_correctly(found: Comparison) -> None:
    assert (found.lost, found.won) == (1, 4)
    assert found.p == pytest.approx(2 * (5 + 1) / 32)
    assert found.verdict == "open"
    assert found.headline == "No clear difference: accuracy 37.50 % → 75.00 %"
    assert found.evidence == "Of 8 test images, only B is correct on 4 and only A on 1 (exact McNemar test, p = 0.38)."


def test_classes_say_where_it_changed(found: Comparison) -> None:
    assert [(each.images, each.lost, each.won) for each in found.classes] == [(3, 0, 0), (3, 1, 2), (2, 0, 2)]
    assert [each.recall for each in found.classes] == [
        pytest.approx((2 / 3, 2 / 3)),
        pytest.approx((1 / 3, 2 / 3)),
        pytest.approx((0, 1)),
    ]
    assert found.classes[2].f1 == pytest.approx((0, 4 / 5))
    assert [each.verdict for each in found.classes] == ["", "", ""]
    assert found.confusion.tolist() == [[0, 1, -1], [0, 1, -1], [0, -2, 2]]


@pytest.mark.parametrize(("won", "verdict"), [(0, "worse"), (12, "better")])
def test_twelve_to_none_is_more_than_chance_also_for_the_class_among_three(pair: Pair, won: int, verdict: str) -> None:
    labels, mistaken = [1] * 12 + [0] * 4 + [2] * 4, [2] * 12 + [0] * 4 + [2] * 4
    a, b = (predicting(each, labels, predicted) for each, predicted in ((pair.a, mistaken), (pair.b, labels)))
    found = compared(replace(pair, a=a, b=b) if won else replace(pair, a=b, b=a))
    assert (found.won, found.verdict) == (won, verdict)
    assert found.p == pytest.approx(2 / 2**12)
    assert found.headline.startswith(f"B is {verdict}: ")
    assert [each.verdict for each in found.classes] == ["", verdict, ""]
    assert found.classes[1].p == pytest.approx(3 * 2 / 2**12)
    assert found.changes[0].verdict == verdict
    assert {each.metric.key: each.verdict for each in found.changes}["log_loss"] == verdict


def test_five_to_none_is_chance_among_three_classes(pair: Pair) -> None:
    labels, mistaken = [1] * 5 + [0, 2], [2] * 5 + [0, 2]
    a, b = (predicting(each, labels, predicted) for each, predicted in ((pair.a, mistaken), (pair.b, labels)))
    found = compared(replace(pair, a=a, b=b))
    assert found.p == pytest.approx(2 / 2**5)
    assert found.verdict == "open"
    assert found.classes[1].p == pytest.approx(3 * 2 / 2**5)


def test_equal_weights_are_reported_as_the_same_model(pair: Pair) -> None:
    found = compared(replace(pair, b=pair.a))
    assert found.verdict == "same"
    assert found.headline == "A and B are the same model: equal weights, 37.50 % accuracy"
    assert found.evidence == "Both predict the same of 8 test images correctly."
    assert [(each.b - each.a, each.interval.low, each.interval.high) for each in found.changes] == [(0, 0, 0)] * 7


def test_newly_incorrect_images_begin_with_the_most_confident_mistakes(pair: Pair) -> None:
    a = predicting(pair.a, [0, 0, 0, 1], [0, 0, 0, 2])
    b = predicting(pair.b, [0, 0, 0, 1], [1, 0, 2, 1])
    confidence = b.probabilities.copy()
    confidence[2] = [0.01, 0.01, 0.98]
    found = compared(replace(pair, a=a, b=replace(b, probabilities=confidence)))
    assert found.newly(correct=False, most=5).tolist() == [2, 0]
    assert found.newly(correct=False, most=1).tolist() == [2]
    assert found.newly(correct=True, most=5).tolist() == [3]


def test_a_page_of_a_thousand_classes_and_large_images_stays_under_five_megabytes(pair: Pair) -> None:
    generator = np.random.default_rng(1)
    names = tuple(f"class {label:04}" for label in range(1000))
    labels = generator.integers(0, 1000, 2000)
    both = []
    for each in (pair.a, pair.b):
        predicted = np.where(generator.uniform(size=2000) < 0.7, labels, generator.integers(0, 1000, 2000))
        named = replace(each, record=replace(each.record, class_names=names))
        both.append(predicting(named, labels.tolist(), predicted.tolist()))
    noise = generator.integers(0, 256, (1, 300, 300, 3), np.uint8)
    page = command.html(compared(Pair(both[0], both[1], np.broadcast_to(noise, (2000, 300, 300, 3)), None, "")))
    assert page.count('<img src="data:image/png;base64,') == 2 * 24 + 1
    assert len(page) < 5_000_000
    assert "The 250 classes whose recall changed most; 750 more are not shown" in page


def test_training_data_drifts_where_its_profiles_differ_beyond_chance(trainings: Trainings) -> None:
    write_data(trainings.workspace)
    sources = []
    for name, content in (
        ("a", profile(100, {"shirt": 500, "bag": 500, "hat": 0})),
        ("b", profile(100, {"shirt": 800, "bag": 200, "hat": 9})),
    ):
        run = trainings.add(PLAIN, training_id=name)
        trainings.client.log_text(run, content, "data/profile.json")
        sources.append(Source(f"run {run[:8]}", run, MODEL))
    found = comparison.data_drift(trainings.client, *sources)
    drifts = {each.name: each for each in found.drift}
    assert (drifts["pixel_mean"].psi, drifts["contrast"].beyond_chance) == (0, 0)
    # (0.7997 - 0.5) ln(0.7997 / 0.5) + (0.2003 - 0.5) ln(0.2003 / 0.5), less 10.83 · (1/1000 + 1/1000)
    assert drifts["class shares"].psi == pytest.approx(0.4149, abs=1e-4)
    assert drifts["class shares"].beyond_chance == pytest.approx(0.4149 - 0.0217, abs=1e-4)
    assert (found.only_a, found.only_b) == ([], ["hat"])
    assert found.summary == "class shares PSI 0.39 beyond chance; only in B: hat"
    assert comparison.data_drift(trainings.client, sources[0], sources[0]).summary == ""


@pytest.mark.parametrize(("content", "reason"), [(None, "no profile on run"), ("{}", r"data/profile.json on run .* is damag")])
def test_training_data_without_a_usable_profile_is_not_compared(trainings: Trainings, content: str | None, reason: str) -> None:
    write_data(trainings.workspace)
    run = trainings.add(PLAIN, training_id=reason[:6])
    if content:
        trainings.client.log_text(run, content, "data/profile.json")
    source = Source(f"run {run[:8]}", run, MODEL)
    found = comparison.data_drift(trainings.client, source, source)
    assert re.match(reason, found.unknown)
    assert (found.summary, list(found.drift)) == ("", [])


@pytest.mark.exhaustive
def test_the_advice_replaces_a_damaged_profile(trainings: Trainings, shell: Shell) -> None:
    write_data(trainings.workspace)
    run = trainings.add(PLAIN, training_id="damaged")
    trainings.client.log_text(run, "{}", "data/profile.json")
    write_text(trainings.workspace.profile, profile(100, {"shirt": 500, "bag": 500}))
    source = Source(f"run {run[:8]}", run, MODEL)
    command = comparison.data_drift(trainings.client, source, source).unknown.split("`")[1]
    uri = tracking.tracking_uri(trainings.workspace)
    shell(*shlex.split(command), cwd=trainings.workspace.root, MLFLOW_TRACKING_URI=uri)
    assert comparison.data_drift(trainings.client, source, source).unknown == ""
