"""Measures how results scatter over seeds, and which differences are larger than that scatter."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

LEVEL = 0.05  # differences with a smaller p-value are significant
ROUNDING = 1e-9  # two differences that are closer than this are equal up to rounding


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Mean and sample standard deviation (None of a single value) of `n` values."""

    mean: float
    deviation: float | None
    n: int


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Mean of one cell's values minus another's, over the `n` seeds that both have.

    `p` is the paired t-test's two-sided p-value, Holm-corrected. It is None where no test is
    possible: with fewer than two seeds, or if the difference is the same for each seed, as when the
    seed has no effect. `mean` is None without a common seed.
    """

    mean: float | None
    n: int
    p: float | None

    @property
    def significant(self) -> bool:
        """True if the difference is larger than the scatter over seeds explains."""
        return self.p is not None and self.p < LEVEL

    @property
    def behind(self) -> bool:
        """True if the second is significantly worse, over the seeds that both have."""
        return self.significant and self.mean is not None and self.mean > 0


def spread(values: Collection[float]) -> Spread:
    """Returns the spread of at least one value."""
    array = np.array(list(values), dtype=np.float64)
    deviation = float(array.std(ddof=1)) if len(array) > 1 else None
    return Spread(mean=float(array.mean()), deviation=deviation, n=len(array))


def gaps_to_best(
    best: Mapping[int, float], others: Mapping[str, Mapping[int, float]]
) -> dict[str, Difference]:
    """Returns the differences of the best cell to the others, all given as values by seed."""
    return paired_differences({name: (best, other) for name, other in others.items()})


def paired_differences(
    pairs: Mapping[str, tuple[Mapping[int, float], Mapping[int, float]]],
) -> dict[str, Difference]:
    """Returns the first minus the second of each pair, both given as values by seed.

    Pairing by seed removes what a seed does to both (Dietterich 1998, Neural Computation
    10:1895–1923). Holm's correction (1979, Scand. J. Statistics 6:65–70) keeps the chance of any
    false finding below LEVEL.
    """
    paired = {
        name: np.array([first[seed] - other[seed] for seed in sorted(first.keys() & other.keys())])
        for name, (first, other) in pairs.items()
    }
    known = {name: p for name, values in paired.items() if (p := _p_value(values)) is not None}
    corrected = _correct(known)
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
    if np.ptp(differences) < ROUNDING:  # without variance the test's statistic is undefined
        return 1.0 if abs(differences[0]) < ROUNDING else None
    from scipy.stats import ttest_rel  # here, as it takes a second that --help need not wait

    return float(ttest_rel(differences, np.zeros_like(differences)).pvalue)


def _correct(p_values: Mapping[str, float]) -> dict[str, float]:
    """Returns p-values after Holm's correction, which SciPy does not have."""
    ordered = pd.Series(p_values, dtype=float).sort_values()
    corrected = (ordered * np.arange(len(ordered), 0, -1)).cummax().clip(upper=1)
    return {str(name): float(p) for name, p in corrected.items()}
