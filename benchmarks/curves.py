"""Draws accuracy against seconds of all architectures from what `benchmarks.architectures --save` wrote.

    .venv/bin/python -m benchmarks.curves FILE IMAGE

A line per training: validation accuracy after each epoch, of the bare network; its dot: test accuracy as the saved classifier
predicts. Each architecture's name is at its last dot.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_COLOURS = {"notebook": "#777777", "sprint": "#D55E00", "default": "#0072B2", "compact": "#009E73", "large": "#CC79A7"}


def main(results: Path, image: Path) -> None:
    """Draw a line per training; the dot at its end is the test accuracy as the saved classifier predicts."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot
    from matplotlib.ticker import FuncFormatter, NullFormatter

    trainings = [json.loads(line) for line in results.read_text(encoding="utf-8").splitlines()]
    figure, axes = pyplot.subplots(figsize=(8, 4.5), layout="constrained")
    for name in dict.fromkeys(training["architecture"] for training in trainings):
        own = [training for training in trainings if training["architecture"] == name]
        _draw(axes, own, _COLOURS[name])
    axes.set_xscale("log")
    axes.set_ylim(85, 95.5)
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda seconds, _: f"{seconds:g} s" if seconds < 60 else f"{seconds / 60:g} min")
    )
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xticks([5, 15, 60, 300, 900, 3600])
    axes.yaxis.set_major_formatter(FuncFormatter(lambda percent, _: f"{percent:g} %"))
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel("time of training on the CPU (logarithmic)")
    axes.set_title(
        "Fashion-MNIST: validation accuracy per epoch (lines), test accuracy at the end (dots)", fontsize=10, loc="left"
    )
    figure.savefig(image, dpi=160)


def _draw(axes: Any, trainings: Sequence[Any], colour: str) -> None:
    for training in trainings:
        seconds, accuracies = zip(*training["curve"], strict=True)
        axes.plot(seconds, [100 * accuracy for accuracy in accuracies], color=colour, linewidth=1.4, alpha=0.7)
        end = 100 * (training["test_flip_averaged"] or training["test"])
        axes.plot(seconds[-1], end, "o", color=colour, markersize=5, markeredgecolor="white", zorder=3)
    axes.annotate(
        trainings[0]["architecture"],
        (seconds[-1], end),
        xytext=(7, -3),
        textcoords="offset points",
        color=colour,
        weight="bold",
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
