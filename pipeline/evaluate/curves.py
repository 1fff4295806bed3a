"""The training curves: loss and accuracy per epoch, training against validation, from reports/history.csv."""

import csv
from collections.abc import Sequence
from pathlib import Path

from pipeline.errors import EvaluationError
from pipeline.evaluate.figures import STYLE, panels, save

_TRAIN, _VALIDATION = "#1f5fa8", "#c43c00"  # told apart by lightness and by line style too
_COLUMNS = ("train/loss", "validation/loss", "train/accuracy", "validation/accuracy")
Curves = dict[str, Sequence[float]]


def read(history: Path) -> Curves:
    """Column of history.csv → one value per epoch.

    Raises:
        EvaluationError: the file is not what train writes.
    """
    try:
        with history.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        return {column: [float(row[column]) for row in rows] for column in _COLUMNS}
    except (ValueError, KeyError) as error:
        raise EvaluationError(f"{history} is not what train writes ({error!r}): run `dvc repro -s -f train`") from None


def draw(curves: Curves, path: Path) -> None:
    """Loss on the left, accuracy on the right, PNG; a widening gap between the lines is overfitting."""
    from matplotlib import rc_context
    from matplotlib.ticker import MaxNLocator

    with rc_context(STYLE):
        figure, *both = panels(4)
        for axes, measure in zip(both, ("loss", "accuracy"), strict=True):
            for split, colour, line in (("train", _TRAIN, "--"), ("validation", _VALIDATION, "-")):
                values = curves[f"{split}/{measure}"]
                axes.plot(range(1, len(values) + 1), values, line, color=colour, marker="o", markersize=4, label=split)
            axes.set(title=measure.capitalize(), xlabel="Epoch")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.legend(frameon=False)
        save(figure, path)
