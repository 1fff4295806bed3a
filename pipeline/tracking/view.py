"""The runs table as the MLflow UI opens it: a saved view of the experiment, with the columns that a training is judged by."""

import json
import time

SHARE_KEY = "trainings"
"""Names the view in a link: `…/runs?viewStateShareKey=trainings`."""

TAG = f"mlflow.sharedViewState.{SHARE_KEY}"
"""The experiment's tag that holds it."""

_COLUMNS = (
    "metrics.`test/accuracy`",
    "tags.`weakest_class`",
    "metrics.`test/weakest_class_recall`",
    "metrics.`fit_seconds`",
    "params.`parameters`",
    "params.`train.architecture`",
    "params.`train.epochs`",
    "params.`train.batch_size`",
    "params.`train.learning_rate`",
    "params.`train.seed`",
    "tags.`gate`",
    "attributes.`Models`",
    "attributes.`Dataset`",
)


def content() -> str:
    """What the tag holds, in the form in which the UI saves views."""
    now = int(time.time() * 1000)
    widths = {name: max(90, 10 * len(name.split("`")[1])) for name in _COLUMNS}  # pixels; else longer headings are cut
    state = json.dumps({"selectedColumns": _COLUMNS, "columnOrder": _COLUMNS, "columnWidths": widths})
    return json.dumps({"name": "Trainings", "createdAt": now, "updatedAt": now, "state": state})
