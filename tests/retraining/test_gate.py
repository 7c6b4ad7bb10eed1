"""The gate: a challenger must be better than the champion by more than chance."""

import numpy as np
import pytest
from scipy.stats import binom

from fmnist.errors import UserError
from fmnist.retraining.gate import Gate, apply_gate, check_gate

DEFAULT = Gate()


def decide(gained: int, lost: int, *, both: int = 80, neither: int = 5, gate: Gate = DEFAULT):
    """Applies the gate to examples with labels 0 to 3 in turn; a wrong answer is label + 1."""
    right = [(1, 1)] * both + [(0, 1)] * gained + [(1, 0)] * lost + [(0, 0)] * neither
    champion, challenger = np.array(right).T
    labels = np.arange(len(right)) % 4
    return apply_gate(labels, (labels + 1 - champion) % 4, (labels + 1 - challenger) % 4, gate)


def test_the_numbers_by_hand() -> None:
    found = decide(gained=12, lost=3)
    assert (found.examples, found.gained, found.lost) == (100, 12, 3)
    assert (found.champion, found.challenger, found.difference) == (0.83, 0.92, 0.09)
    # Probability of 12 or more heads of 15 fair coins: (455 + 105 + 15 + 1) / 32768.
    assert found.p == pytest.approx(576 / 32768)
    # (12.5 − 3.5) / 102 ± 1.95996 · √(16 − 81 / 102) / 102
    assert found.interval == pytest.approx((0.01331, 0.16316), abs=1e-5)
    assert found.passed
    assert "9.00 points above" in found.reason and "0.95 confidence" in found.reason


@pytest.mark.parametrize(("gained", "lost"), [(1, 0), (5, 0), (4, 0), (40, 25), (200, 150), (3, 9)])
def test_p_is_the_binomial_tail_and_decides_at_the_confidence(gained: int, lost: int) -> None:
    p = binom.sf(gained - 1, gained + lost, 0.5)
    for confidence in (0.5, 0.9, 0.95, 0.99):
        found = decide(gained, lost, gate=Gate(confidence=confidence))
        assert found.p == pytest.approx(p)
        assert found.passed == (gained >= lost and p < 1 - confidence)


def test_without_an_example_on_which_they_differ_nothing_is_better() -> None:
    found = decide(gained=0, lost=0)
    assert (found.p, found.difference, found.passed) == (1, 0, False)
    low, high = found.interval
    assert low == pytest.approx(-high) and 0 < high < 0.05
    assert decide(gained=0, lost=0, gate=Gate(confidence=0)).passed


@pytest.mark.parametrize(
    ("margin", "passed"), [(0.0, False), (0.019, False), (0.02, True), (0.03, True)]
)
def test_the_margin_alone_decides_without_a_confidence(margin: float, passed: bool) -> None:
    found = decide(gained=3, lost=5, both=87, gate=Gate(margin=margin, confidence=0))
    assert found.passed == passed
    assert ("within the margin" in found.reason) == passed


def test_a_margin_does_not_replace_the_test() -> None:
    assert not decide(gained=9, lost=8, gate=Gate(margin=0.5)).passed


def test_an_interval_stays_among_possible_differences() -> None:
    for gained, lost in ((1, 0), (0, 1)):
        low, high = decide(gained, lost, both=0, neither=0).interval
        assert -1 <= low < high <= 1


def test_run_settings_that_cannot_be_are_all_named() -> None:
    with pytest.raises(UserError, match=r"margin is -0\.1(.|\n)*confidence is 1\.0"):
        check_gate(Gate(margin=-0.1, confidence=1.0))
    with pytest.raises(UserError, match="margin is nan"):
        check_gate(Gate(margin=float("nan")))
    check_gate(Gate(margin=0.5, confidence=0))
