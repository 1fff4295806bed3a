"""Confidence of right and wrong answers, and what it is worth to take only the sure ones."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluate.figures import QUIET, RIGHT, STYLE, WRONG, panels, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BINS, _THRESHOLDS = 30, 100


def draw(confidence: NDArray[np.float32], right: NDArray[np.bool_], path: Path) -> None:
    """On the left the confidence of both kinds; on the right accuracy and share of the answers from a confidence on, PNG.

    Args:
        confidence: Of each answer, `(n,)`, 0-1.
        right: Whether it is, `(n,)`.
        path: The file to write.
    """
    from matplotlib import rc_context
    from matplotlib.ticker import PercentFormatter

    lowest = min(float(confidence.min()), 0.95)
    with rc_context(STYLE):
        figure, left, beside = panels(4.4)
        _draw_kinds(left, confidence, right, lowest)
        _draw_thresholds(beside, confidence, right, lowest)
        for axes in (left, beside):
            axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
            axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
            axes.legend(frameon=False)
        save(figure, path)


def _draw_kinds(axes: "Axes", confidence: NDArray[np.float32], right: NDArray[np.bool_], lowest: float) -> None:
    """Each kind as shares of its own, so that a few wrong answers are seen beside many right ones."""
    for name, rows, colour, hatch in (("✓ right", right, RIGHT, ""), ("✗ wrong", ~right, WRONG, "///")):
        shown = confidence[rows]
        if len(shown):
            weights = np.full(len(shown), 1 / len(shown))
            label = f"{name}: {len(shown):,}"
            axes.hist(
                shown,
                _BINS,
                range=(lowest, 1),
                weights=weights,
                histtype="stepfilled",
                alpha=0.25,
                color=colour,
                hatch=hatch,
                label=label,
            )
            axes.hist(shown, _BINS, range=(lowest, 1), weights=weights, histtype="step", linewidth=1.5, color=colour)
    axes.set(title="How sure are right and wrong answers", xlabel="Confidence", ylabel="Share of the right, of the wrong")


def _draw_thresholds(axes: "Axes", confidence: NDArray[np.float32], right: NDArray[np.bool_], lowest: float) -> None:
    thresholds, share, accuracy = at_least(confidence, right, lowest)
    axes.plot(thresholds, accuracy, "-", color=RIGHT, linewidth=2, label="accuracy of these")
    axes.plot(thresholds, share, "--", color=QUIET, linewidth=2, label="these, of all answers")
    axes.set(title="If only sure answers are taken", xlabel="From this confidence on", ylabel="Share")


def at_least(
    confidence: NDArray[np.float32], right: NDArray[np.bool_], lowest: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Thresholds from `lowest` to the highest confidence; share of the answers that reach it; share of these right."""
    order = np.argsort(confidence, kind="stable")
    thresholds = np.linspace(lowest, float(confidence.max()), _THRESHOLDS)
    first = np.minimum(np.searchsorted(confidence[order], thresholds.astype(np.float32)), len(order) - 1)
    reached = len(order) - first
    found = np.cumsum(right[order][::-1])[reached - 1]
    return thresholds, reached / len(order), found / reached
