"""Sizes of effect and tests: what they say of known distributions, and that they agree."""

import numpy as np
import pytest

from fmnist.drift.measures import (
    LARGE,
    MEDIUM,
    SIGNIFICANCE,
    SMALL,
    compare_counts,
    compare_values,
    describe_size,
)

RANDOM = np.random.default_rng(0)
NORMAL = RANDOM.normal(size=200_000)


def test_both_measures_agree_with_cohens_small_medium_and_large_effects() -> None:
    edges = np.linspace(-6, 7, 200)
    for distance, expected in ((0.2, SMALL), (0.5, MEDIUM), (0.8, LARGE)):
        moved = RANDOM.normal(distance, size=200_000)
        values = compare_values(NORMAL, moved)
        counts = compare_counts(*(np.histogram(each, edges)[0] for each in (NORMAL, moved)))
        assert values.size == pytest.approx(expected, rel=0.1)
        assert counts.size == pytest.approx(expected, rel=0.15)
        assert max(values.p, counts.p) < 1e-9


def test_more_examples_make_p_smaller_but_not_the_size_larger() -> None:
    few, many = (
        compare_counts(np.array([500, 500]) * n, np.array([530, 470]) * n) for n in (1, 100)
    )
    assert many.size == pytest.approx(few.size) and few.size < SMALL
    assert few.p > SIGNIFICANCE > 1e-9 > many.p


def test_nothing_in_common_is_one_and_the_same_is_zero() -> None:
    apart = compare_values(np.zeros(50), np.ones(60)), compare_counts(np.eye(2)[0], np.eye(2)[1])
    assert [effect.size for effect in apart] == [1, 1]
    same = compare_values(NORMAL[:99], NORMAL[:99]), compare_counts(np.array([3, 0]), np.eye(2)[0])
    assert [(effect.size, effect.p) for effect in same] == [(0, 1), (0, 1)]


def test_a_missing_class_counts_for_more_than_a_rarer_one() -> None:
    even, missing, rarer = np.full(10, 600), np.full(10, 600), np.full(10, 600)
    missing[8], rarer[8] = 0, 300
    assert compare_counts(even, missing).size > MEDIUM
    assert compare_counts(even, rarer).size < SMALL + 0.01


def test_sizes_have_words() -> None:
    words = [describe_size(size) for size in (0, SMALL, MEDIUM, LARGE, 1)]
    assert words == ["negligible", "small", "medium", "large", "large"]
