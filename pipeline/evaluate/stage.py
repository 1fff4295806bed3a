"""evaluate: models/model.keras on the test split → tables, pictures and a page in reports/, and metrics on the MLflow run."""

from pipeline import dataset, provenance, tracking
from pipeline.dataset import Description
from pipeline.errors import EvaluationError
from pipeline.evaluate import card, curves, drawing, predict, report, slices, summary, tables
from pipeline.evaluate.evaluation import Evaluation
from pipeline.params import EvaluateParams
from pipeline.predictions import Predictions
from pipeline.provenance import TrainingRecord
from pipeline.scores import intervals, metrics
from pipeline.tracking import Published
from pipeline.workspace import Workspace


def run(params: EvaluateParams, workspace: Workspace) -> None:
    """Evaluates, publishes to the MLflow run of the training, and prints a summary.

    Raises:
        MissingInputError: there is no data set or no model yet.
        EvaluationError: model and data do not fit each other, or the answers are not probabilities.
        TrackingError: the tracking store cannot be used as asked; the files are written all the same.
    """
    evaluation = evaluate(params, workspace)
    summary.show(evaluation, workspace)
    artifacts = [
        workspace.report,
        workspace.model_card,
        workspace.confusion_png,
        workspace.predictions_png,
        workspace.curves_png,
        workspace.calibration_png,
        workspace.confidence_png,
        workspace.precision_recall_png,
        workspace.confused_pairs_png,
        workspace.network_png,
        workspace.metrics,
        workspace.per_class,
        workspace.intervals,
        workspace.slices,
        workspace.calibration_csv,
        workspace.confusion_csv,
        workspace.confusion_normalized_csv,
        workspace.predictions,
    ]
    tracking.publish(
        workspace,
        Published(
            tables.tracked(evaluation),
            artifacts,
            "evaluation",
            description=card.headline(evaluation),
            tags={"weakest_class": evaluation.class_names[evaluation.scores.weakest]},
            preview=workspace.confused_pairs_png,
        ),
    )


def evaluate(params: EvaluateParams, workspace: Workspace) -> Evaluation:
    """Scores the model on the test split and writes every file of this stage; tracking is left alone.

    Raises:
        MissingInputError: there is no data set or no model yet.
        EvaluationError: model and data do not fit each other, or the answers are not probabilities; nothing is written.
    """
    data = dataset.read(workspace.need(workspace.dataset, "ingest"))
    path = workspace.need(workspace.model, "train")
    training = provenance.read_training(workspace.need(workspace.training, "train"))
    _check_belongs(training, data.description)
    history = curves.read(workspace.need(workspace.history, "train"))
    tables.check_names(data.description.class_names)
    features = slices.read(workspace.need(workspace.features, "validate"), params.slices, data.test.labels)
    model = predict.load(path, data.description)
    probabilities, images_per_second = predict.predict(model, data.test.images, params.batch_size)
    scores = metrics.score(data.test.labels, probabilities, params.calibration_bins)
    predictions = Predictions(source_index=data.test.source_index, labels=data.test.labels, probabilities=probabilities)
    evaluation = Evaluation(
        data,
        training,
        predictions,
        images_per_second,
        scores,
        intervals.bootstrap(data.test.labels, probabilities, scores.calibration),
        slices.cut(features, predictions.correct, params.slice_bins),
    )
    tables.write(evaluation, workspace)
    drawing.write(evaluation, model, history, params.grid_pictures, workspace)
    card.write(evaluation, workspace)
    report.write(evaluation, params.grid_pictures, workspace)
    return evaluation


def _check_belongs(training: TrainingRecord, description: Description) -> None:
    """A model is judged on the test split of the data it was trained on: another split may hold its training pictures."""
    if training.dataset_digest != description.digest:
        raise EvaluationError(
            f"the model was trained on other data ({training.dataset_name} {training.dataset_digest[:12]}) than data/dataset "
            f"holds ({description.name} {description.digest[:12]}): run `dvc repro train`"
        )
