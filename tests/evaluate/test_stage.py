"""The whole stage on real digits and a real model: its files, how they agree, what it prints, what it refuses."""

import json
import re
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from pipeline import dataset, predictions, provenance, tracking
from pipeline.errors import MissingInputError
from pipeline.evaluate import stage, tables
from pipeline.evaluate.evaluation import Evaluation
from pipeline.params import EvaluateParams
from pipeline.workspace import Workspace
from tests.stores import LIMITS

NAMES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight, or 8", "<nine> & 'more'"]


class Trained(Protocol):
    workspace: Workspace

    def save(self, model: Any) -> None: ...
    def record(self, **changes: Any) -> None: ...
    def test_on(self, test: dataset.Split, class_names: tuple[str, ...], files: list[str]) -> None: ...


@pytest.fixture(scope="module")
def evaluated(learned: Workspace, params: EvaluateParams) -> tuple[Workspace, Evaluation]:
    return learned, stage.evaluate(params, learned)


def read_csv(path: Path, **options: Any) -> pd.DataFrame:
    frame: pd.DataFrame = pd.read_csv(path, encoding="utf-8", **options)
    return frame


def test_every_output_of_dvc_yaml_is_written_and_nothing_else(evaluated: tuple[Workspace, Evaluation]) -> None:
    reports = evaluated[0].metrics.parent
    assert sorted(path.name for path in reports.iterdir()) == [
        "baseline.parquet",  # of validate
        "calibration.csv",
        "calibration.png",
        "confidence.png",
        "confused_pairs.png",
        "confusion_matrix.csv",
        "confusion_matrix.png",
        "confusion_matrix_normalized.csv",
        "confusion_pairs.csv",
        "evaluation.json",
        "features.parquet",  # of validate
        "history.csv",  # of train
        "intervals.csv",
        "metrics.json",
        "model_card.md",
        "network.png",
        "per_class.csv",
        "precision_recall.png",
        "predictions.parquet",
        "predictions.png",
        "report.html",
        "slices.csv",
        "training_curves.png",
        "validation.json",  # of validate
    ]


def test_predictions_re_derive_the_metrics(evaluated: tuple[Workspace, Evaluation]) -> None:
    import sklearn.metrics as reference

    workspace, _ = evaluated
    frame = pd.read_parquet(workspace.predictions)
    assert list(frame.columns) == ["source_index", "label", "predicted", *NAMES]
    assert frame["source_index"].tolist() == list(range(1400, 1797))
    probabilities = frame[NAMES].to_numpy()
    assert probabilities.dtype == np.float32
    figures = json.loads(workspace.metrics.read_text())
    assert figures["accuracy"] == pytest.approx((frame["label"] == frame["predicted"]).mean())
    assert figures["accuracy"] > 0.8  # it learned something
    assert figures["log_loss"] == pytest.approx(reference.log_loss(frame["label"], probabilities), rel=1e-5)
    assert figures["macro_f1"] == pytest.approx(reference.f1_score(frame["label"], frame["predicted"], average="macro"))


def test_metrics_are_flat_and_finite(evaluated: tuple[Workspace, Evaluation]) -> None:
    figures = json.loads(evaluated[0].metrics.read_text())
    assert list(figures) == [
        "accuracy",
        "top2_accuracy",
        "macro_f1",
        "weighted_f1",
        "log_loss",
        "brier",
        "calibration_error",
        "weakest_class_recall",
        "baseline_accuracy",
        "test_images",
    ]
    assert np.isfinite(list(figures.values())).all()
    assert figures["test_images"] == 397
    assert figures["baseline_accuracy"] == pytest.approx(39 / 397)  # zeros among the test images


def test_tables_agree_with_each_other(evaluated: tuple[Workspace, Evaluation]) -> None:
    workspace, _ = evaluated
    counts = read_csv(workspace.confusion_csv, index_col="true")
    shares = read_csv(workspace.confusion_normalized_csv, index_col="true")
    per_class = read_csv(workspace.per_class, index_col="class")
    pairs = read_csv(workspace.confusion_pairs)
    assert list(counts.columns) == list(counts.index) == list(shares.columns) == list(per_class.index) == NAMES
    assert counts.sum(axis=1).tolist() == per_class["support"].tolist()
    assert_allclose(shares.to_numpy(), counts.to_numpy() / counts.sum(axis=1).to_numpy()[:, None])
    assert_allclose(np.diagonal(shares), per_class["recall"])
    crossed = pd.crosstab(pairs["actual"], pairs["predicted"]).reindex(index=NAMES, columns=NAMES, fill_value=0)
    assert (crossed.to_numpy() == counts.to_numpy()).all()
    assert per_class["recall"].min() == json.loads(workspace.metrics.read_text())["weakest_class_recall"]


def test_report_holds_all_it_shows_and_escapes_names(evaluated: tuple[Workspace, Evaluation]) -> None:
    workspace, evaluation = evaluated
    html = workspace.report.read_text(encoding="utf-8")
    sources = re.findall(r'(?:src|href|srcset|action)\s*=\s*"([^"]*)"', html)
    images = [source for source in sources if not source.startswith("#")]  # the others are the page's own sections
    wrong = int(np.count_nonzero(~evaluation.predictions.correct))
    pairs = int(np.count_nonzero(evaluation.scores.confusion)) - 10
    assert len(images) == 5 + min(pairs, 10) + min(wrong, 24) + 24  # plots, and images
    assert len(html) < 5_000_000
    assert all(source.startswith("data:image/png;base64,") for source in images)
    assert not re.search(r"https?://|<script [^>]*src|@import|url\((?!data:)", html)
    assert "passed with 1 warning" in html
    assert "&lt;nine&gt; &amp; &#39;more&#39;" in html
    assert "<nine>" not in html
    facts = ("6f3c", "c0ffee", evaluation.training.weights_digest, evaluation.data.description.digest)
    for fact in (f"{100 * evaluation.scores.accuracy:.2f} %", *facts):
        assert fact in html


def test_a_second_evaluation_gives_equal_files(trained: Trained, params: EvaluateParams) -> None:
    contents = []
    for _ in range(2):
        stage.evaluate(params, trained.workspace)
        reports = sorted(trained.workspace.metrics.parent.iterdir())
        contents.append({path.name: path.read_bytes() for path in reports})
    assert contents[0] == contents[1]


def test_a_class_never_predicted_is_left_empty(trained: Trained, params: EvaluateParams, build_model: Any) -> None:
    trained.save(build_model(bias=[9.0] + [0.0] * 9))  # predicts zero whatever it sees
    evaluation = stage.evaluate(params, trained.workspace)
    lines = trained.workspace.per_class.read_text().splitlines()
    assert lines[2].startswith("one,,,,0.0,0.0,0.")
    tracked = tables.tracked(evaluation)
    assert np.isfinite(list(tracked.values())).all()
    assert "test/precision/one" not in tracked
    assert tracked["test/recall/one"] == 0
    assert ">– <" in trained.workspace.report.read_text(encoding="utf-8")


def test_metric_names_are_those_of_mlflow(evaluated: tuple[Workspace, Evaluation]) -> None:
    from mlflow.utils.validation import _validate_metric_name

    tracked = tables.tracked(evaluated[1])
    assert {"test/accuracy", "test/recall/eight-or-8", "test/f1/nine-more", "test/precision/zero"} <= set(tracked)
    assert len(tracked) == 9 + 3 * 10
    for name in tracked:
        _validate_metric_name(name)


@pytest.mark.parametrize(
    ("names", "slugs"),
    [
        (("T-shirt/top", "Ankle boot", "Café (new)"), ["t-shirt-top", "ankle-boot", "cafe-new"]),
        (("a b", "a-b", "c"), ["0-a-b", "1-a-b", "2-c"]),
        (("猫", "犬"), ["0", "1"]),
        (("C++", "C#", "C"), ["0-c", "1-c", "2-c"]),
        (("㎯" * 150, "a" * 210), ["rads2" * 40, "a" * 200]),
    ],
)
def test_slugs_are_unique_and_plain(names: tuple[str, ...], slugs: list[str]) -> None:
    assert tables.slugs(names) == slugs


CLASHING = ("label", "true", "predicted", "source_index", "file", "accuracy", "class_true", "class", "C++", "C#")
COLUMNS = ["class_label", "class_class_true", "class_predicted", "class_source_index", "class_file", *CLASHING[5:]]
FILES = [*('"><img src=x onerror=alert(1)>.png', "</script><script>alert(2)</script>/<!--.png", "کتاب/" + "long" * 90 + ".png")]


def test_classes_called_like_columns_and_files_called_like_markup_are_evaluated(
    trained: Trained, params: EvaluateParams
) -> None:
    test = dataset.read(trained.workspace.dataset).test
    names = [*FILES, *(f"digits/{row}.png" for row in range(3, len(test)))]
    trained.test_on(test, CLASHING, names)
    found = stage.evaluate(params, trained.workspace)
    workspace = trained.workspace
    frame = pd.read_parquet(workspace.predictions)
    assert list(frame.columns) == ["source_index", "label", "predicted", "file", *COLUMNS]
    assert frame["file"].tolist() == names
    assert_allclose(frame[COLUMNS], found.predictions.probabilities)
    stored = predictions.read(workspace.predictions, CLASHING, "predictions.parquet")
    assert_allclose(stored.probabilities, found.predictions.probabilities)
    assert (stored.files, stored.origin(3)) == (names, "digits/3.png")
    counts = read_csv(workspace.confusion_csv, index_col="true")
    assert (list(counts.columns), list(counts.index)) == (COLUMNS, [*CLASHING])
    assert_allclose(counts, found.scores.confusion)
    assert read_csv(workspace.per_class)["class"].tolist() == [*CLASHING]
    assert {"test/recall/0-label", "test/recall/8-c", "test/recall/9-c"} <= set(tables.tracked(found))
    html = workspace.report.read_text(encoding="utf-8")
    assert all(markup not in html for markup in ("<img src=x", "<script>alert", "<!--"))
    shown = re.search(r'id="examples">(.*?)</script>', html)
    assert shown
    origins = {origin for cell in json.loads(shown[1])["cells"].values() for _, origin, _ in cell}
    assert origins <= {*names}
    mistake = int(np.argmax(np.where(found.predictions.correct, 0, found.predictions.confidence)))
    assert f'<span class="file">{names[mistake]}</span>' in html


@pytest.mark.parametrize(
    ("missing", "maker"),
    [
        ("data/dataset", "ingest"),
        ("models/model.keras", "train"),
        ("models/training.json", "train"),
        ("models/training_images.npy", "train"),
        ("reports/features.parquet", "validate"),
        ("reports/baseline.parquet", "validate"),
    ],
)
def test_a_missing_input_names_the_stage_that_makes_it(
    trained: Trained, params: EvaluateParams, missing: str, maker: str
) -> None:
    path = trained.workspace.root / missing
    path.rename(path.with_name("elsewhere"))
    with pytest.raises(MissingInputError, match=f"^{missing} does not exist yet: the {maker} stage makes it"):
        stage.evaluate(params, trained.workspace)


def test_the_card_counts_test_images_that_were_used_in_training(trained: Trained, params: EvaluateParams) -> None:
    workspace = trained.workspace
    stage.evaluate(params, workspace)
    assert "On the test split, 397 images, none of which was used in training: " in workspace.model_card.read_text()
    known = dataset.read(workspace.dataset).test.digests[:3]
    np.save(workspace.training_images, np.union1d(np.load(workspace.training_images), known))
    stage.evaluate(params, workspace)
    assert "On the test split, 397 images, 3 of which were used in training: " in workspace.model_card.read_text()


def test_run_publishes_files_that_exist_and_prints_where_to_look(
    trained: Trained, params: EvaluateParams, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    published: list[Any] = []
    monkeypatch.setattr(tracking, "publish_outputs", lambda *arguments: published.append(arguments))
    stage.run(params, LIMITS, trained.workspace)
    workspace = trained.workspace
    assert published == [(workspace, LIMITS)]
    what = tracking.read_evaluation(workspace.evaluation)
    assert what.weights_digest == provenance.read_training(workspace.training).weights_digest
    assert what.metrics["test/accuracy"] == json.loads(workspace.metrics.read_text())["accuracy"]
    assert all((workspace.evaluation.parent / name).is_file() for name in what.files)
    assert what.preview in what.files
    assert what.description.startswith(f"{100 * what.metrics['test/accuracy']:.2f} % accuracy (95 % interval")
    assert "report: reports/report.html" in capsys.readouterr().out


@pytest.mark.parametrize("width", [40, 80, 200])
def test_summary_fits_the_terminal_and_names_the_weakest_class(
    evaluated: tuple[Workspace, Evaluation], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], width: int
) -> None:
    workspace, evaluation = evaluated
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("NO_COLOR", "1")
    tables.show(evaluation, workspace)
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= width
    assert "\x1b" not in printed
    words = " ".join(printed.split())
    assert f"weakest class: {NAMES[evaluation.scores.weakest]}, recall" in words
    assert f"Accuracy {100 * evaluation.scores.accuracy:.2f} %" in words
    interval = evaluation.intervals["log_loss"]
    assert (f"{interval.low:.4f} – {interval.high:.4f}" in words) == (width >= 60)
    for name in NAMES:
        assert name.split()[0] in words
