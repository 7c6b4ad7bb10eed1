"""How results scatter over seeds, and which differences are larger than that scatter."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

LEVEL = 0.05  # a difference is called clear below it
SAME = 1e-9  # differences closer than this are equal: what is left of them is rounding


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Mean and sample standard deviation (None of a single value) of `n` values."""

    mean: float
    deviation: float | None
    n: int


@dataclass(frozen=True, kw_only=True)
class Difference:
    """By how much the best is above another, over the `n` seeds that both have.

    `p` is the paired t-test's two-sided p-value, Holm-corrected. It is None where there is no
    scatter to hold the difference against: fewer than two seeds, or the same difference each time,
    as when the seed has no effect. `mean` is None without a common seed.
    """

    mean: float | None
    n: int
    p: float | None

    @property
    def clear(self) -> bool:
        """Whether the difference is larger than the noise over seeds."""
        return self.p is not None and self.p < LEVEL


def spread(values: Collection[float]) -> Spread:
    """Of at least one value."""
    array = np.array(list(values), dtype=np.float64)
    deviation = float(array.std(ddof=1)) if len(array) > 1 else None
    return Spread(mean=float(array.mean()), deviation=deviation, n=len(array))


def gaps_to_best(
    best: dict[int, float], others: dict[str, dict[int, float]]
) -> dict[str, Difference]:
    """Each other's difference to the best; all are values by seed.

    Pairing takes out what a seed does to both (Dietterich 1998, Neural Computation 10:1895–1923);
    Holm (1979, Scand. J. Statistics 6:65–70) keeps the chance of any false finding below LEVEL.
    """
    paired = {
        name: np.array([best[seed] - other[seed] for seed in sorted(best.keys() & other.keys())])
        for name, other in others.items()
    }
    known = {name: p for name, values in paired.items() if (p := _p_value(values)) is not None}
    corrected = _holm(known)
    return {
        name: Difference(
            mean=float(values.mean()) if len(values) else None,
            n=len(values),
            p=corrected.get(name),
        )
        for name, values in paired.items()
    }


def _p_value(differences: np.ndarray) -> float | None:
    if len(differences) < 2:
        return None
    if np.ptp(differences) < SAME:  # no variance: the test's statistic is undefined
        return 1.0 if abs(differences[0]) < SAME else None
    from scipy.stats import ttest_rel  # here: it takes a second, before a job has begun

    return float(ttest_rel(differences, np.zeros_like(differences)).pvalue)


def _holm(p_values: dict[str, float]) -> dict[str, float]:
    corrected: dict[str, float] = {}
    highest = 0.0
    for rank, (name, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p))
        corrected[name] = highest
    return corrected
