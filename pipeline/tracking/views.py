"""What the MLflow UI shows: saved views of the runs tables, and the preview image in a run's description."""

import base64
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class View:
    """A saved view of an experiment's runs table: its columns, in order."""

    key: str  # identifies it in a link: `…/runs?viewStateShareKey=trainings`
    title: str
    columns: tuple[str, ...]
    widths: Mapping[str, int] = field(default_factory=dict)  # pixels; default: as wide as the heading

    @property
    def tag(self) -> str:
        """The experiment tag that holds it."""
        return f"mlflow.sharedViewState.{self.key}"

    def content(self) -> str:
        """Return the tag's value, in the format in which the UI saves views."""
        now = int(time.time() * 1000)
        widths = {name: max(90, 10 * len(name.split("`")[1])) for name in self.columns}
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
        *(f"params.`train.{name}`" for name in ("architecture", "epochs", "batch_size", "learning_rate", "seed")),
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
        *(f"tags.`{tag}`" for tag in ("kind", "version", "from", "to", "reason", "failed", "before", "state", "git_commit")),
    ),
    {"tags.`reason`": 200, "tags.`failed`": 200},
)


def preview(png: Path) -> str:
    """Return an SVG that shows `png` at half its size in a run's description.

    The UI drops an image's width from a description, and an image wider than its column pushes the page aside. An SVG around
    it fixes the size, and stays sharp on a high-resolution screen.
    """
    from PIL import Image

    with Image.open(png) as image:
        return _svg(png.read_bytes(), image.width // 2, image.height // 2)


def _svg(png: bytes, width: int, height: int) -> str:
    source = f"data:image/png;base64,{base64.b64encode(png).decode()}"
    image = f'<image width="{width}" height="{height}" href="{source}"/>'
    return f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}">{image}</svg>'
