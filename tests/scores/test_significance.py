"""The tests of significance against values by hand and by SciPy."""

import numpy as np
import pytest
from scipy.stats import binomtest

from pipeline.scores.significance import different, holm, lost_and_won, worse


def test_counts_the_images_that_only_one_predicts_correctly() -> None:
    old = np.array([True, True, False, False, True])
    new = np.array([True, False, True, False, False])
    assert lost_and_won(old, new) == (2, 1)


def test_worse_is_the_upper_tail_of_a_fair_coin() -> None:
    assert worse(3, 1) == pytest.approx(5 / 16)
    assert worse(0, 4) == 1.0
    assert worse(0, 0) == 1.0


@pytest.mark.parametrize(("lost", "won"), [(5, 3), (40, 10), (200, 260), (1, 0)])
def test_both_forms_agree_with_scipy(lost: int, won: int) -> None:
    assert worse(lost, won) == pytest.approx(binomtest(lost, lost + won, alternative="greater").pvalue)
    assert different(lost, won) == pytest.approx(binomtest(lost, lost + won).pvalue)


def test_holm_multiplies_the_smallest_most_and_keeps_the_order() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []
