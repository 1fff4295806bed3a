"""A runs table as the MLflow UI opens it: a saved view of the experiment, with the columns that its runs are judged by."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class View:
    """Columns of a runs table, in their order."""

    key: str  # names it in a link: `…/runs?viewStateShareKey=trainings`
    title: str
    columns: tuple[str, ...]
    widths: Mapping[str, int] = field(default_factory=dict)  # pixels, of those that hold longer texts than their headings

    @property
    def tag(self) -> str:
        """The experiment's tag that holds it."""
        return f"mlflow.sharedViewState.{self.key}"

    def content(self) -> str:
        """What the tag holds, in the form in which the UI saves views."""
        now = int(time.time() * 1000)
        widths = {name: max(90, 10 * len(name.split("`")[1])) for name in self.columns}  # else longer headings are cut
        widths.update(self.widths)
        state = json.dumps({"selectedColumns": self.columns, "columnOrder": self.columns, "columnWidths": widths})
        return json.dumps({"name": self.title, "createdAt": now, "updatedAt": now, "state": state})


TRAININGS = View(
    "trainings",
    "Trainings",
    (
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
    ),
)

PROMOTIONS = View(
    "promotions",
    "Promotions",
    (
        "attributes.`Created`",
        "attributes.`User`",
        "tags.`kind`",
        "tags.`version`",
        "tags.`from`",
        "tags.`to`",
        "tags.`reason`",
        "tags.`failed`",
        "tags.`before`",
        "tags.`state`",
        "tags.`git_commit`",
    ),
    {"tags.`reason`": 200, "tags.`failed`": 200},
)
