"""95% confidence intervals of classification metrics."""

from statistics import NormalDist

import numpy as np

Interval = tuple[float, float]

LEVEL = 0.95
Z = NormalDist().inv_cdf((1 + LEVEL) / 2)
RESAMPLES = 2000
CELLS = 1_000_000  # of confusion matrices that are held at once
SEED = 42  # the same evaluation always gives the same intervals


def wilson(successes: int, trials: int) -> Interval:
    """Returns a proportion's interval, within [0, 1]: Wilson (1927), JASA 22:209–212.

    Without trials, it is all of [0, 1].
    """
    if trials == 0:
        return 0.0, 1.0
    # Not at the top: the import takes a second, and most processes never evaluate.
    from scipy.stats import binomtest

    found = binomtest(successes, trials).proportion_ci(LEVEL, method="wilson")
    return float(found.low), float(found.high)


def paired_interval(gained: int, lost: int, trials: int) -> Interval:
    """Returns the interval of the difference of two proportions over the same trials, in [-1, 1].

    Only the second succeeded in `gained` of them, only the first in `lost`. Wald's interval with
    half a count added to each of the four cells: Agresti & Min (2005), Statistics in Medicine
    24:729–740.
    """
    n, up, down = trials + 2, gained + 0.5, lost + 0.5
    centre = (up - down) / n
    spread = Z * np.sqrt(up + down - (up - down) ** 2 / n) / n
    return max(-1.0, float(centre - spread)), min(1.0, float(centre + spread))


def mean_interval(values: np.ndarray) -> Interval:
    """Returns the mean of (n,) non-negative values, n ≥ 2, ± 1.96 standard errors."""
    mean, error = values.mean(), values.std(ddof=1) / np.sqrt(len(values))
    return max(0.0, float(mean - Z * error)), float(mean + Z * error)


def resampled_scores(confusion: np.ndarray) -> np.ndarray:
    """Bootstraps precision, recall and F1: (RESAMPLES, 3, k) float64 from (k, k) counts.

    Drawing n examples with replacement and counting them is one multinomial draw of the cells of
    the confusion matrix (Efron & Tibshirani 1993, ch. 6), so that no example has to be copied.
    NaN where a draw holds no example of a class; precision is 0 where it was never predicted.
    """
    actual, predicted = np.nonzero(confusion)
    counts = confusion[actual, predicted]
    draws = np.random.default_rng(SEED)
    resamples = np.empty((RESAMPLES, 3, len(confusion)))
    for block in np.array_split(resamples, -(-RESAMPLES * len(counts) // CELLS)):
        drawn = draws.multinomial(counts.sum(), counts / counts.sum(), len(block))
        block[:] = _scores(actual, predicted, drawn, len(confusion))
    return resamples


def _scores(actual: np.ndarray, predicted: np.ndarray, drawn: np.ndarray, k: int) -> np.ndarray:
    """Returns precision, recall and F1 of each class, (n, 3, k), from n draws of all cells."""
    support = _sums(actual, drawn, k)
    chosen = _sums(predicted, drawn, k)
    hits = _sums(actual, drawn * (actual == predicted), k)
    scores = np.full((len(drawn), 3, k), np.nan)
    totals = (np.maximum(chosen, 1), support, (support + chosen) / 2)
    for number, total in enumerate(totals):
        np.divide(hits, total, out=scores[:, number], where=support > 0)
    return scores


def _sums(classes: np.ndarray, drawn: np.ndarray, k: int) -> np.ndarray:
    """Sums the cells of each class: (n, k) from (cells,) classes and (n, cells) counts."""
    groups = np.arange(len(drawn))[:, None] * k + classes
    return np.bincount(groups.ravel(), drawn.ravel(), len(drawn) * k).reshape(-1, k)


def percentiles(resamples: np.ndarray) -> Interval:
    """Returns the percentile interval of (RESAMPLES,) bootstrapped values, which may hold NaN."""
    low, high = np.nanquantile(resamples, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def auc_components(positive: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Returns each example's part of an AUC's error, (n,); their squares sum to its variance.

    `positive` is (n,) bool with at least two examples of either kind. DeLong, DeLong &
    Clarke-Pearson (1988), Biometrics 44:837–845. Components of several AUCs over the same examples
    may be averaged: then the squares of the averages sum to the variance of the mean AUC.
    """
    components = np.empty(len(scores))
    for side in (positive, ~positive):
        placements = _placements(scores[side], scores[~side])
        sign = 1 if side is positive else -1
        centred = sign * (placements - placements.mean())
        components[side] = centred / np.sqrt(len(centred) * (len(centred) - 1))
    return components


def _placements(scores: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Returns the share of `others` below each score; a tie counts as half."""
    others = np.sort(others)
    below = np.searchsorted(others, scores, "left")
    up_to = np.searchsorted(others, scores, "right")
    return (below + up_to) / (2 * len(others))


def auc_interval(auc: float, components: np.ndarray) -> Interval:
    """Returns `auc` ± 1.96 standard errors, within [0, 1]."""
    spread = Z * float(np.sqrt((components**2).sum()))
    return max(0.0, auc - spread), min(1.0, auc + spread)
