"""Whether one model is worse than another on the same pictures, or only had bad luck with them."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray


def lost_and_won(old_right: NDArray[np.bool_], new_right: NDArray[np.bool_]) -> tuple[int, int]:
    """Pictures that only the old model has right, and those that only the new one has right; bool `(n,)` each."""
    return int(np.sum(old_right & ~new_right)), int(np.sum(~old_right & new_right))


def worse(lost: int, won: int) -> float:
    """The exact one-sided McNemar test (Fay 2011): how likely so many losses, or more, are between equally good models.

    Args:
        lost: Pictures that only the old model has right.
        won: Pictures that only the new model has right.

    Returns:
        p, 0 … 1; 1.0 where the two differ on no picture.
    """
    from scipy.special import bdtrc

    return float(bdtrc(lost - 1, lost + won, 0.5)) if lost else 1.0


def different(lost: int, won: int) -> float:
    """The two-sided form of `worse`: twice the smaller tail, 1.0 at most."""
    return min(1.0, 2 * worse(max(lost, won), min(lost, won)))


def holm(p_values: ArrayLike) -> Sequence[float]:
    """P values of several tests, each adjusted so that a limit holds for all of them together (Holm 1979), in their order."""
    p = np.asarray(p_values, float)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1.0)
    return [float(value) for value in adjusted]
