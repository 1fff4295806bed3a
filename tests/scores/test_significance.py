"""The tests of significance against values by hand and by SciPy."""

import numpy as np
import pytest
from scipy.stats import binomtest

from pipeline.scores.significance import (
    can_show_gain,
    different,
    holm,
    images_to_show,
    lost_and_won,
    p_text,
    smallest_loss,
    visible_loss,
    worse,
)


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


def test_the_smallest_loss_that_shows_is_the_one_that_the_test_just_rejects() -> None:
    """Of 5 all must be lost (1/32), of 8 seven (9/256 = 0.035): a loss of 6; of one or none, 5 more would have to be."""
    assert [smallest_loss(discordant, 0.05) for discordant in (0, 1, 5, 8)] == [5, 5, 5, 6]
    for discordant in (20, 101, 500):
        lost = (discordant + smallest_loss(discordant, 0.01)) // 2
        assert worse(lost, discordant - lost) <= 0.01 < worse(lost - 1, discordant - lost + 1)


def test_by_the_score_test_a_loss_shows_from_z_times_the_root_of_the_discordant_images() -> None:
    """z(0.05)^2 = 2.7055."""
    assert visible_loss(0, 0.05) == visible_loss(2, 0.05) == pytest.approx(2.7055, abs=1e-4)
    assert visible_loss(400, 0.05) == pytest.approx(20 * 1.644854, abs=1e-4)


def test_so_many_mistakes_show_a_model_that_halves_them() -> None:
    """12 of 16 heads or more: 2,517 / 2^16 = 0.0384; 9 of 12: 299 / 4,096 = 0.073."""
    assert [can_show_gain(mistakes, 0.05) for mistakes in (0, 5, 15, 16, 1000)] == [False, False, False, True, True]
    assert [can_show_gain(mistakes, 0.0384) for mistakes in (16, 20)] == [False, True]


def test_images_to_show_a_gain_are_those_at_hand_times_what_makes_it_significant() -> None:
    assert images_to_show(0, 5, 100, 0.05) == 100  # 1/32
    assert images_to_show(0, 4, 100, 0.05) == 121  # 4.84 is five
    assert 250_000 < images_to_show(1000, 1010, 10_000, 0.05) < 1_000_000


def test_a_tiny_p_is_a_bound() -> None:
    assert (p_text(0.0312), p_text(0.00001)) == ("= 0.031", "< 0.0001")
