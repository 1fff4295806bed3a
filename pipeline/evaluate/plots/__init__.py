"""Every plot of an evaluation, drawn into reports/."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline import fonts
from pipeline.evaluate.evaluation import Evaluation
from pipeline.evaluate.plots import charts, confusion, figures, network
from pipeline.evaluate.plots.charts import History
from pipeline.scores import metrics
from pipeline.workspace import Workspace, replacing

_PAIRS, _ACROSS = 10, 5  # so many side by side fit beneath the description of an MLflow run


def files(workspace: Workspace) -> list[Path]:
    """Return the plots, which all go to MLflow."""
    scores = [workspace.confusion_png, workspace.calibration_png, workspace.confidence_png, workspace.precision_recall_png]
    images = [workspace.predictions_png, workspace.confused_pairs_png, workspace.network_png]
    return [*scores, *images, workspace.curves_png]


def write(evaluation: Evaluation, model: Any, history: History, grid_images: int, workspace: Workspace) -> None:
    """Draw all plots; `model` is the Keras model that predicted, and the Pred/True grid holds `grid_images` at most."""
    from matplotlib import rc_context

    drawn = fonts.drawable(evaluation.class_names)
    names = tuple(each.text for each in drawn)
    found, scores = evaluation.predictions, evaluation.scores
    images, shown = evaluation.data.test.images, figures.choose(found, grid_images)
    pairs = [(pair.actual, pair.predicted) for pair in metrics.confused_pairs(scores.confusion, _PAIRS)]

    def draw_pairs(path: Path) -> None:
        if pairs:
            figures.draw_grid(images, found, figures.one_per_pair(found, pairs), names, path, across=_ACROSS)
        else:
            figures.draw_text("No mistakes.", path)

    drawings: dict[Path, Callable[[Path], None]] = {
        workspace.confusion_png: lambda path: confusion.draw(scores.confusion, names, path),
        workspace.calibration_png: lambda path: charts.draw_calibration(scores.calibration, found.confidence, path),
        workspace.confidence_png: lambda path: charts.draw_confidence(found.confidence, found.correct, path),
        workspace.precision_recall_png: lambda path: charts.draw_precision_recall(found, scores.per_class, names, path),
        workspace.curves_png: lambda path: charts.draw_history(history, path),
        workspace.network_png: lambda path: network.draw(model, images, found, names, path),
        workspace.predictions_png: lambda path: figures.draw_grid(images, found, shown, names, path),
        workspace.confused_pairs_png: draw_pairs,
    }
    for file, draw in drawings.items():
        with rc_context({"font.family": fonts.families(drawn)}), replacing(file) as aside:
            draw(aside)
