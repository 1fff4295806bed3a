"""Every picture of an evaluation, drawn from it into reports/."""

from typing import Any

from pipeline.evaluate import confidence, confusion, curves, examples, figures, network, precision_recall, reliability
from pipeline.evaluate.curves import Curves
from pipeline.evaluate.evaluation import Evaluation
from pipeline.scores import metrics
from pipeline.workspace import Workspace, replacing

_PAIRS, _ACROSS = 10, 5  # so many side by side fit beneath the description of an MLflow run


def write(evaluation: Evaluation, model: Any, history: Curves, pictures: int, workspace: Workspace) -> None:
    """Draws all pictures; `model` is the Keras model that answered, and the Pred/True grid holds `pictures` at most."""
    names, probabilities, scores = evaluation.class_names, evaluation.predictions.probabilities, evaluation.scores
    labels, images = evaluation.predictions.labels, evaluation.data.test.images
    with replacing(workspace.confusion_png) as aside:
        confusion.draw(scores.confusion, names, aside)
    with replacing(workspace.calibration_png) as aside:
        reliability.draw(scores.calibration, evaluation.predictions.confidence, aside)
    with replacing(workspace.confidence_png) as aside:
        confidence.draw(evaluation.predictions.confidence, evaluation.predictions.predicted == labels, aside)
    with replacing(workspace.precision_recall_png) as aside:
        precision_recall.draw(labels, probabilities, scores.per_class, names, aside)
    with replacing(workspace.curves_png) as aside:
        curves.draw(history, aside)
    with replacing(workspace.network_png) as aside:
        network.draw(model, images, labels, probabilities, names, aside)
    rows = figures.choose(labels, probabilities, pictures)
    with replacing(workspace.predictions_png) as aside:
        figures.draw_grid(images[rows], labels[rows], probabilities[rows], names, aside)
    _draw_pairs(evaluation, workspace)


def _draw_pairs(evaluation: Evaluation, workspace: Workspace) -> None:
    """One example of each of the ten most frequent mistakes, the most frequent first."""
    pairs = [(pair.actual, pair.predicted) for pair in metrics.confused_pairs(evaluation.scores.confusion, _PAIRS)]
    rows = examples.one_per_pair(
        evaluation.predictions.labels, evaluation.predictions.predicted, evaluation.predictions.confidence, pairs
    )
    test, probabilities = evaluation.data.test, evaluation.predictions.probabilities
    with replacing(workspace.confused_pairs_png) as aside:
        if rows:
            names = evaluation.class_names
            figures.draw_grid(test.images[rows], test.labels[rows], probabilities[rows], names, aside, across=_ACROSS)
        else:
            figures.draw_words("Not one mistake.", aside)
