"""Tests of whether two models differ on the same images by more than chance."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray


def lost_and_won(old: NDArray[np.bool_], new: NDArray[np.bool_]) -> tuple[int, int]:
    """Return how many images only the old model predicts correctly, and how many only the new one; bool `(n,)` each."""
    return int(np.sum(old & ~new)), int(np.sum(~old & new))


def worse(lost: int, won: int) -> float:
    """Return p of the exact one-sided McNemar test (Fay 2011): how likely so many losses, or more, are between equals.

    1.0 where the two models differ on no image; see `lost_and_won`.
    """
    from scipy.special import bdtrc

    return float(bdtrc(lost - 1, lost + won, 0.5)) if lost else 1.0


def different(lost: int, won: int) -> float:
    """Return p of the two-sided form of `worse`: twice the smaller tail, 1.0 at most."""
    return min(1.0, 2 * worse(max(lost, won), min(lost, won)))


def visible_loss(discordant: int, level: float) -> float:
    """Return the smallest loss, in images, that the score form of `worse` (McNemar 1947) tells from chance.

    Args:
        discordant: Images that only one of the two models predicts correctly.
        level: The significance level, one-sided.
    """
    from scipy.special import ndtri

    z = -float(ndtri(level))
    return float(max(z * np.sqrt(discordant), z * z))  # fewer discordant images than z² show nothing, even if all are lost


def smallest_loss(discordant: int, level: float) -> int:
    """Return the smallest loss, in images, that `worse` itself tells from chance; arguments as of `visible_loss`."""
    from scipy.stats import binom

    needed = max(discordant, math.ceil(-math.log2(level)))  # of fewer, even all lost are chance
    lost = int(binom.isf(level, needed, 0.5)) + 1
    return 2 * lost - needed


def can_show_gain(mistakes: int, level: float) -> bool:
    """Return whether the images suffice to tell a model that halves the old one's `mistakes` from an equal one.

    Such a model corrects three of four of them, and makes one new mistake for each that is left.
    """
    quarter = mistakes // 4
    return worse(3 * quarter, quarter) <= level


def images_to_show(lost: int, won: int, images: int, level: float) -> int:
    """Return about how many images show a gain of this size, won > lost, which `images` may have been too few for."""
    scale = 1.0
    while worse(round(scale * won), round(scale * lost)) > level:
        scale *= 1.1
    return round(scale * images)


def p_text(p: float) -> str:
    """Return a p value as it follows the letter: `= 0.031`, `< 0.0001`."""
    return "< 0.0001" if p < 0.0001 else f"= {p:.2g}"


def holm(p_values: ArrayLike) -> Sequence[float]:
    """Return p values of several tests, each adjusted so that a limit holds for all of them together (Holm 1979)."""
    p = np.asarray(p_values, float)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1.0)
    return [float(value) for value in adjusted]
