"""Figures as people read them, the same on the page and in the terminal."""

import math

UNDEFINED = "–"


def percent(value: float, digits: int = 1) -> str:
    """A share, 0-1, as `91.2 %`; a dash where it is undefined."""
    return UNDEFINED if math.isnan(value) else f"{100 * value:.{digits}f} %"


def decimal(value: float, digits: int = 3) -> str:
    """A figure as `0.912`; a dash where it is undefined."""
    return UNDEFINED if math.isnan(value) else f"{value:.{digits}f}"
