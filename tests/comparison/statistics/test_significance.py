"""Differences between cells are compared with the scatter over seeds."""

import numpy as np
import pytest

from fmnist.comparison.statistics.significance import gaps_to_best, spread


def by_seed(*values: float) -> dict[int, float]:
    return dict(enumerate(values))


def test_a_spread_is_mean_and_sample_deviation() -> None:
    three = spread([0.90, 0.92, 0.94])
    assert (three.mean, three.deviation, three.n) == (pytest.approx(0.92), pytest.approx(0.02), 3)


def test_one_value_has_no_deviation() -> None:
    one = spread([0.9])
    assert (one.mean, one.deviation, one.n) == (0.9, None, 1)


def test_a_paired_test_by_hand() -> None:
    # Differences 1, 2 and 3: t = 2 / (1 / √3) = 3.4641 with two degrees of freedom, whose p-value
    # is 1 − t / √(2 + t²) = 0.0742.
    found = gaps_to_best(by_seed(1, 4, 9), {"other": by_seed(0, 2, 6)})["other"]
    assert found.mean == pytest.approx(2)
    assert found.n == 3
    assert found.p == pytest.approx(1 - np.sqrt(12 / 14))
    assert not found.significant


def test_pairing_sees_a_small_difference_beneath_what_seeds_do_to_both() -> None:
    both = np.array([0.80, 0.85, 0.90, 0.95])
    best, other = both + np.array([0.0101, 0.0099, 0.0102, 0.0098]), both
    assert gaps_to_best(by_seed(*best), {"other": by_seed(*other)})["other"].significant


def test_holm_corrects_for_the_number_of_cells() -> None:
    best = by_seed(1, 4, 9)
    other, far = by_seed(0, 2, 6), by_seed(-9, -6.1, -0.9)
    alone = {
        name: gaps_to_best(best, {name: cell})[name].p for name, cell in (("a", other), ("b", far))
    }
    assert alone["a"] is not None and alone["b"] is not None
    together = gaps_to_best(best, {"a": other, "b": far})
    assert together["b"].p == pytest.approx(2 * alone["b"])
    assert together["a"].p == pytest.approx(alone["a"])
    twice = gaps_to_best(best, {"a": other, "b": far, "c": far})
    assert twice["b"].p == twice["c"].p == pytest.approx(3 * alone["b"])
    assert twice["a"].p == pytest.approx(alone["a"])


def test_corrected_values_never_exceed_one() -> None:
    others = {str(i): by_seed(0.5, 1.4, 0.7) for i in range(9)}
    assert all(found.p == 1 for found in gaps_to_best(by_seed(1, 1, 1), others).values())


def test_only_common_seeds_are_compared() -> None:
    found = gaps_to_best(
        {0: 1.0, 1: 4.0, 2: 9.0, 3: 100.0}, {"other": {2: 6.0, 0: 0.0, 1: 2.0, 7: 0.0}}
    )
    assert found["other"] == gaps_to_best(by_seed(1, 4, 9), {"other": by_seed(0, 2, 6)})["other"]


def test_one_seed_allows_no_statement() -> None:
    found = gaps_to_best({0: 0.9}, {"other": {0: 0.1}, "stranger": {1: 0.1}})
    assert found["other"].mean == pytest.approx(0.8)
    assert found["other"].p is None and not found["other"].significant
    assert (found["stranger"].mean, found["stranger"].n, found["stranger"].p) == (None, 0, None)


def test_equal_results_do_not_differ() -> None:
    found = gaps_to_best(by_seed(0.9, 0.8, 0.7), {"other": by_seed(0.9, 0.8, 0.7)})["other"]
    assert (found.mean, found.p) == (0, 1)


def test_the_same_difference_for_each_seed_allows_no_statement() -> None:
    # In binary, 0.9 − 0.8 and 0.5 − 0.4 are not quite equal: that is rounding, not scatter.
    found = gaps_to_best(by_seed(0.9, 0.5), {"other": by_seed(0.8, 0.4)})["other"]
    assert found.mean == pytest.approx(0.1)
    assert found.p is None and not found.significant


def test_cells_without_a_statement_do_not_weigh_on_the_others() -> None:
    best, other = by_seed(1, 4, 9), by_seed(0, 2, 6)
    alone = gaps_to_best(best, {"other": other})["other"].p
    assert gaps_to_best(best, {"other": other, "once": {0: 0.0}})["other"].p == alone
