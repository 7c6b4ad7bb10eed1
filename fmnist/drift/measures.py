"""The size of a difference between two samples, and a test of whether it is chance.

Both measures go from 0, the same, to 1, nothing in common, and agree with each other: between two
normal distributions that are 0.2, 0.5 or 0.8 standard deviations apart (Cohen's small, medium and
large effects) both are about 0.08, 0.2 and 0.3. Unlike a p-value, they don't grow with the samples.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

Size = Literal["negligible", "small", "medium", "large"]

SMALL, MEDIUM, LARGE = 0.08, 0.2, 0.3
SIGNIFICANCE = 0.01  # a difference with a larger p may be chance


@dataclass(frozen=True, kw_only=True)
class EffectSize:
    """`size` is from 0 to 1; `p` is the probability of such a difference if there were none."""

    size: float
    p: float


def compare_values(before: np.ndarray, now: np.ndarray) -> EffectSize:
    """Compares two samples of numbers (n,) and (m,) by the Kolmogorov–Smirnov statistic and test.

    The statistic is the largest difference between the shares of the two samples that lie below any
    threshold. The test's p is that of large samples; where values are equal, it is too large.
    """
    from scipy.stats import ks_2samp  # here: it takes a second, which a worker needs not

    found = ks_2samp(before, now, method="asymp")
    return EffectSize(size=float(found.statistic), p=float(found.pvalue))


def compare_counts(before: np.ndarray, now: np.ndarray) -> EffectSize:
    """Compares how often (classes,) each class occurs; both have examples.

    The size is the Jensen–Shannon distance (the root of the divergence in bits: Endres & Schindelin
    2003, IEEE Transactions on Information Theory 49:1858–1860), the test Pearson's of homogeneity.
    Unlike the distance of the shares, this one is large for a class that is missing.
    """
    from scipy.stats import chi2_contingency, entropy

    shares = np.stack([before / before.sum(), now / now.sum()])
    divergence = entropy(shares.mean(axis=0), base=2) - entropy(shares, base=2, axis=1).mean()
    table = np.stack([before, now])[:, (before + now) > 0]
    p = float(chi2_contingency(table, correction=False).pvalue) if table.shape[1] > 1 else 1.0
    return EffectSize(size=float(np.sqrt(np.clip(divergence, 0, 1))), p=p)


def describe_size(size: float) -> Size:
    """The word for a size of effect."""
    if size < SMALL:
        return "negligible"
    if size < MEDIUM:
        return "small"
    return "medium" if size < LARGE else "large"
