"""The gate: decides whether a challenger is better than the champion on the same examples."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fmnist.errors import UserError

if TYPE_CHECKING:
    import numpy as np

    from fmnist.runs.intervals import Interval


@dataclass(frozen=True, kw_only=True)
class Gate:
    """Conditions that a challenger must meet to be promoted."""

    margin: float = 0.0
    """How far below the champion's accuracy it may lie, as a share (0.01: one point)."""
    confidence: float = 0.95
    """How sure it must be that the challenger is better; with 0, only the margin decides."""


@dataclass(frozen=True, kw_only=True)
class GateDecision:
    """Result of the gate; accuracies and their `difference` (challenger − champion) are shares.

    `interval` is the difference's 95% confidence interval. `gained` examples only the challenger
    has right, `lost` only the champion. `p` is the probability of at least that many gained ones if
    both models were equally good: McNemar's test, exact and one-sided. `reason` is for people.
    """

    passed: bool
    examples: int
    champion: float
    challenger: float
    difference: float
    interval: "Interval"
    gained: int
    lost: int
    p: float
    reason: str


def check_gate(gate: Gate) -> None:
    """Raises UserError that lists all settings with an impossible value."""
    problems = []
    if not 0 <= gate.margin < 1:
        problems.append(f"margin is {gate.margin}, expected a share from 0 to below 1")
    if not 0 <= gate.confidence < 1:
        problems.append(f"confidence is {gate.confidence}, expected 0 up to below 1")
    UserError.raise_if(problems)


def apply_gate(
    labels: "np.ndarray", champion: "np.ndarray", challenger: "np.ndarray", gate: Gate
) -> GateDecision:
    """Compares predicted with true labels, each (n,) int of the same n > 0 examples.

    McNemar (1947), Psychometrika 12:153–157; exact as in Dietterich (1998), Neural Computation
    10:1895–1923. It counts only the examples that one of the two has right and the other wrong.
    """
    from fmnist.runs.intervals import paired_interval  # here: a job's flags need no arrays

    assert labels.shape == champion.shape == challenger.shape == (len(labels),), labels.shape
    assert len(labels) > 0
    champion_right, challenger_right = champion == labels, challenger == labels
    gained = int((challenger_right & ~champion_right).sum())
    lost = int((champion_right & ~challenger_right).sum())
    p = 1.0
    if gained + lost:
        from scipy.stats import binomtest  # here: it takes a second, before a job has begun

        p = float(binomtest(gained, gained + lost, alternative="greater").pvalue)
    # Computed from counts: the difference of two rounded accuracies can miss the margin slightly.
    difference = (gained - lost) / len(labels)
    within_margin = difference >= -gate.margin
    better = gate.confidence == 0 or p < 1 - gate.confidence
    return GateDecision(
        passed=within_margin and better,
        examples=len(labels),
        champion=float(champion_right.mean()),
        challenger=float(challenger_right.mean()),
        difference=difference,
        interval=paired_interval(gained, lost, len(labels)),
        gained=gained,
        lost=lost,
        p=p,
        reason=_reason(difference, p, gate, within_margin=within_margin, better=better),
    )


def format_p(p: float) -> str:
    """Formats a p-value for people."""
    return "p < 0.0001" if p < 1e-4 else f"p = {p:.2g}"


def side_of(difference: float) -> str:
    """Says on which side of another accuracy one is that is higher by the difference."""
    return "above" if difference >= 0 else "below"


def _reason(difference: float, p: float, gate: Gate, *, within_margin: bool, better: bool) -> str:
    found = (
        f"The challenger is {100 * abs(difference):.2f} points {side_of(difference)} the champion"
    )
    if not within_margin:
        return f"{found}, by more than the margin of {100 * gate.margin:.2f} points."
    if gate.confidence == 0:
        return f"{found}, within the margin of {100 * gate.margin:.2f} points; no test was asked."
    verb = "is" if better else "is not"
    return (
        f"{found}, and {verb} better at {gate.confidence:.4g} confidence "
        f"({format_p(p)}, exact McNemar test, one-sided)."
    )
