"""evaluate: models/model.keras on the test split → tables, plots and a page in reports/, and metrics on the MLflow run."""

from functools import partial

import numpy as np

from pipeline import baseline, dataset, model_file, provenance, tracking
from pipeline.dataset import Description
from pipeline.errors import EvaluationError
from pipeline.evaluate import evaluation, plots, report, tables
from pipeline.evaluate.evaluation import Evaluation
from pipeline.evaluate.plots import charts
from pipeline.params import EvaluateParams, TrackingParams
from pipeline.predictions import Predictions
from pipeline.provenance import TrainingRecord
from pipeline.restore import way_back
from pipeline.scores import intervals, metrics, slices
from pipeline.tracking import EvaluationRecord, entry
from pipeline.workspace import Workspace


def run(params: EvaluateParams, limits: TrackingParams, workspace: Workspace) -> None:
    """Evaluate, print a summary, and publish to the MLflow run of the training.

    Raises:
        MissingInputError: there is no data set or no model yet.
        EvaluationError: model and data do not fit each other, or the predictions are no probabilities.
        TrackingError: the tracking store cannot be used; where it was moved or copied nothing is written.
    """
    tracking.check_place(workspace)
    found = evaluate(params, workspace)
    tables.show(found, workspace)
    tracking.publish_outputs(workspace, limits)


def evaluate(params: EvaluateParams, workspace: Workspace) -> Evaluation:
    """Score the model on the test split and write every file of this stage, evaluation.json last; tracking is left alone.

    Raises:
        MissingInputError: there is no data set or no model yet.
        EvaluationError: model and data do not fit each other, or the predictions are no probabilities; nothing is written.
    """
    data = dataset.read_checked(workspace.need(workspace.dataset, "ingest"))
    path = workspace.need(workspace.model, "train")
    training = provenance.read_training(workspace.need(workspace.training, "train"))
    _check_same_data(training, data.description)
    images = workspace.need(workspace.training_images, "train")
    trained_on = entry.read_images(images, workspace.shown(images))
    history = charts.read_history(workspace.need(workspace.history, "train"))
    features = evaluation.read_features(workspace.need(workspace.features, "validate"), params.slices, data.test.labels)
    simple = baseline.read(workspace.need(workspace.baseline, "validate"), data, workspace.shown(workspace.baseline))
    advice = partial(way_back, path, "train")
    model = model_file.load(path, data.description, advice)
    if provenance.weights_digest(model) != training.weights_digest:
        raise EvaluationError(f"the weights in {workspace.shown(path)} are not those that training.json names: {advice()}")
    probabilities, images_per_second = model_file.predict(model, data.test.images, params.batch_size)
    scores = metrics.score(data.test.labels, probabilities, params.calibration_bins)
    files = dataset.file_names(workspace.dataset)
    predictions = Predictions(
        source_index=data.test.source_index,
        labels=data.test.labels,
        probabilities=probabilities,
        files=files["test"] if files else None,
    )
    found = Evaluation(
        data,
        training,
        predictions,
        simple,
        images_per_second,
        scores,
        intervals.bootstrap(data.test.labels, probabilities, scores.calibration),
        slices.cut(features, predictions.correct, params.slice_bins),
        int(np.isin(data.test.digests, trained_on).sum()),
    )
    tables.write(found, workspace)
    plots.write(found, model, history, params.grid_images, workspace)
    report.write(found, workspace)
    tracking.write_evaluation(workspace.evaluation, _record(found, workspace))
    return found


def _record(found: Evaluation, workspace: Workspace) -> EvaluationRecord:
    """Return what the run of the training gets."""
    files = [workspace.report, workspace.model_card, *plots.files(workspace), *tables.files(workspace)]
    return EvaluationRecord(
        weights_digest=found.training.weights_digest,
        metrics=tables.tracked(found),
        tags={"weakest_class": found.class_names[found.scores.weakest]},
        description=report.headline(found),
        files=tuple(path.name for path in files),
        preview=workspace.confused_pairs_png.name,
    )


def _check_same_data(training: TrainingRecord, description: Description) -> None:
    """Refuse to judge a model on another data set's test split, which may hold its training images."""
    if training.dataset_digest != description.digest:
        raise EvaluationError(
            f"the model was trained on other data ({training.dataset_name} {training.dataset_digest[:12]}) than data/dataset "
            f"holds ({description.name} {description.digest[:12]}): run `dvc repro train`"
        )
