"""Figures as people read them, the same on the page and in the terminal."""

import math
from dataclasses import dataclass

UNDEFINED = "–"


@dataclass(frozen=True)
class Wording:
    """How people read a score."""

    key: str  # in metrics.json
    name: str
    is_share: bool  # shown in percent
    higher_is_better: bool

    def said(self, value: float) -> str:
        """The score, as `91.24 %` or `0.2451`."""
        return percent(value, 2) if self.is_share else decimal(value, 4)

    def said_change(self, change: float) -> str:
        """A difference of two such scores, as `+1.21 pp` (percentage points) or `-0.0312`."""
        if math.isnan(change):
            return UNDEFINED
        return f"{100 * change:+.2f} pp" if self.is_share else f"{change:+.4f}"

    def said_changes(self, low: float, high: float) -> str:
        """From the least to the largest difference, as `+0.81 … +1.59 pp`."""
        return f"{self.said_change(low).removesuffix(' pp')} … {self.said_change(high)}"


SCORES = (
    Wording("accuracy", "Accuracy", is_share=True, higher_is_better=True),
    Wording("top2_accuracy", "Top-2 accuracy", is_share=True, higher_is_better=True),
    Wording("macro_f1", "Macro F1", is_share=False, higher_is_better=True),
    Wording("weighted_f1", "Weighted F1", is_share=False, higher_is_better=True),
    Wording("log_loss", "Log loss", is_share=False, higher_is_better=False),
    Wording("brier", "Brier score", is_share=False, higher_is_better=False),
    Wording("calibration_error", "Calibration error", is_share=False, higher_is_better=False),
)
"""The scores that have an interval, in the order of the report."""


def percent(value: float, digits: int = 1) -> str:
    """A share, 0-1, as `91.2 %`; a dash where it is undefined."""
    return UNDEFINED if math.isnan(value) else f"{100 * value:.{digits}f} %"


def decimal(value: float, digits: int = 3) -> str:
    """A figure as `0.912`; a dash where it is undefined."""
    return UNDEFINED if math.isnan(value) else f"{value:.{digits}f}"
