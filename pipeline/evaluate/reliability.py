"""The reliability diagram: accuracy against confidence, and below it how often the model is how sure."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluate.figures import QUIET, STYLE, panels, save
from pipeline.scores.calibration import Calibration

_ANSWERS, _GAP = "#1f5fa8", "#c43c00"


def draw(calibration: Calibration, confidence: NDArray[np.float32], path: Path) -> None:
    """A dot per bin, joined to the diagonal by its gap; on the right the histogram of `confidence`, PNG.

    Args:
        calibration: The bins.
        confidence: Of each answer, `(n,)`, 0-1.
        path: The file to write.
    """
    from matplotlib import rc_context
    from matplotlib.ticker import PercentFormatter

    least = min(float(calibration.confidence.min()), float(calibration.accuracy.min()), 0.95)
    lowest = min(float(confidence.min()), 0.95)
    with rc_context(STYLE):
        figure, left, right = panels(4.4)
        left.plot([least, 1], [least, 1], "--", color=QUIET, linewidth=1, label="as sure as right")
        ends = np.sort(np.stack([calibration.confidence, calibration.accuracy]), axis=0)
        left.vlines(calibration.confidence, *ends, color=_GAP, linewidth=2, label="gap")
        left.plot(
            calibration.confidence, calibration.accuracy, "o-", color=_ANSWERS, markersize=5, linewidth=1, label="answers"
        )
        left.set(title=f"Calibration error {calibration.error:.4f}", xlabel="Mean confidence of a bin", ylabel="Accuracy")
        left.legend(frameon=False, loc="upper left")
        right.hist(
            confidence, bins=40, range=(lowest, 1), color=_ANSWERS, weights=np.full(len(confidence), 1 / len(confidence))
        )
        right.set(title="How often the model is how sure", xlabel="Confidence", ylabel="Share of the pictures")
        for axis in (left.xaxis, left.yaxis, right.xaxis, right.yaxis):
            axis.set_major_formatter(PercentFormatter(1, decimals=0))
        save(figure, path)
