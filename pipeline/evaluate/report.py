"""The evaluation as one page: headline first, then per class, confusion, pictures, and where it all comes from."""

from dataclasses import dataclass
from pathlib import Path

from pipeline import page
from pipeline.evaluate import metrics
from pipeline.evaluate.evaluation import Evaluation
from pipeline.evaluate.wording import decimal, percent
from pipeline.workspace import Workspace, replacing

_TEMPLATE = Path(__file__).parent / "report.html.j2"
_PAIRS = 10


@dataclass(frozen=True)
class _ClassRow:
    name: str
    precision: str
    recall: str
    f1: str
    support: str
    weakest: bool


@dataclass(frozen=True)
class _PairRow:
    actual: str
    predicted: str
    pictures: str
    share: str


def write(evaluation: Evaluation, workspace: Workspace) -> None:
    """Writes reports/report.html from `evaluation` and the pictures that are already drawn."""
    scores, names = evaluation.scores, evaluation.class_names
    html = page.render(
        _TEMPLATE,
        data=evaluation.data.description,
        training=evaluation.training,
        accuracy=percent(scores.accuracy, 2),
        figures=_figures(evaluation),
        pictures=f"{len(evaluation.labels):,}",
        mistakes=f"{sum(evaluation.predicted != evaluation.labels):,}",
        weakest=names[scores.weakest],
        weakest_recall=percent(float(scores.per_class.recall[scores.weakest])),
        classes=_classes(evaluation),
        pairs=_pairs(evaluation),
        confusion_png=page.embedded(workspace.confusion_png),
        curves_png=page.embedded(workspace.curves_png),
        predictions_png=page.embedded(workspace.predictions_png),
    )
    with replacing(workspace.report) as aside:
        aside.write_text(html, encoding="utf-8")


def _figures(evaluation: Evaluation) -> dict[str, str]:
    scores = evaluation.scores
    return {
        "Accuracy": percent(scores.accuracy, 2),
        "Macro F1": decimal(scores.macro_f1, 4),
        "Log loss": decimal(scores.log_loss, 4),
        "Calibration error": decimal(scores.calibration.error, 4),
        "Weakest recall": percent(float(scores.per_class.recall[scores.weakest])),
        "Images / s": f"{evaluation.answers.images_per_second:,.0f}",
    }


def _classes(evaluation: Evaluation) -> list[_ClassRow]:
    scores = evaluation.scores
    per_class = scores.per_class
    columns = (array.tolist() for array in (per_class.precision, per_class.recall, per_class.f1, per_class.support))
    return [
        _ClassRow(name, percent(precision), percent(recall), decimal(f1), f"{support:,}", label == scores.weakest)
        for label, (name, precision, recall, f1, support) in enumerate(zip(evaluation.class_names, *columns, strict=True))
    ]


def _pairs(evaluation: Evaluation) -> list[_PairRow]:
    names = evaluation.class_names
    return [
        _PairRow(names[pair.actual], names[pair.predicted], f"{pair.pictures:,}", percent(pair.share))
        for pair in metrics.confused_pairs(evaluation.scores.confusion, _PAIRS)
    ]
