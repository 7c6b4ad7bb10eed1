"""The settings that decide the accuracy of made-up cells are found to do so."""

from dataclasses import replace

import numpy as np
import pytest

from fmnist.comparison.statistics.importance import measure_importance
from tests.support.pages.grids import a_grid, a_search

RANGES = ("learning_rate=1e-5..1e-2:log", "batch=32..512")


def test_shares_are_those_of_the_formula_that_made_the_accuracies() -> None:
    """Accuracy is a sum of what schedule and batch do, whose variances can be calculated."""
    cells = a_search(*RANGES, axes=("schedule=constant,one-cycle",), trials=120).cells
    batches = np.array([cell.settings["batch"] for cell in cells], float)
    variances = {"schedule": 0.01**2 / 4, "batch": (batches / 1e5).var()}
    found = measure_importance(cells, "validation")
    assert found is not None and found.explained > 0.9
    for name, variance in variances.items():
        expected = variance / sum(variances.values())
        assert found.shares[name] == pytest.approx(expected, abs=0.12)
    assert abs(found.shares["learning_rate"]) < 0.03
    assert measure_importance(cells[::-1], "validation") == found


def test_a_forest_that_knows_nothing_says_so() -> None:
    cells = a_search(*RANGES, trials=12).cells
    random = np.random.default_rng(0)
    shuffled = random.permutation([cell.runs[0] for cell in cells])
    mixed = [replace(cell, runs=[run]) for cell, run in zip(cells, shuffled, strict=True)]
    found = measure_importance(mixed, "validation")
    assert found is not None and found.explained < 0


@pytest.mark.parametrize(
    "axes",
    [
        ("batch=8,16,32", "schedule=constant,one-cycle"),  # 6 cells
        ("batch=8,16,32,64,128,256,512,1024,2048,4096,8192",),  # one setting
    ],
)
def test_of_few_cells_or_one_setting_nothing_is_said(axes: tuple[str, ...]) -> None:
    assert measure_importance(a_grid(*axes).cells, "validation") is None


def test_cells_that_were_stopped_early_do_not_count() -> None:
    cells = a_search(*RANGES, trials=12).cells
    stopped = [
        replace(cell, runs=[replace(run, stopped_at=3) for run in cell.runs]) for cell in cells[:3]
    ]
    assert measure_importance([*stopped, *cells[3:]], "validation") is None
