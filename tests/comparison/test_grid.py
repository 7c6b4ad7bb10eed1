"""A grid's axes give its cells and runs: each once, and in an order that follows from them."""

import pytest

from fmnist.comparison.grid import COMPARISONS, Axes, cell_name, check_size, expand, with_seeds
from fmnist.errors import UserError
from fmnist.recipes import RECIPES

BASE = RECIPES["report"]


def names(groups):
    return [cell_name(cell) for cell in expand(groups, BASE)]


def test_the_reports_comparisons():
    assert [len(expand(COMPARISONS[name], BASE)) for name in COMPARISONS] == [4, 3, 3, 8]


def test_the_shared_cell_of_the_report_runs_once():
    assert names(COMPARISONS["report"]).count("cnn · relu · adam · 0.0001") == 1


def test_axes_given_freely_span_all_combinations():
    axes = Axes(architecture=("cnn", "resnet"), learning_rate=(1e-3, 1e-4))
    assert names((axes,)) == [
        "cnn · relu · adam · 0.001",
        "cnn · relu · adam · 0.0001",
        "resnet · relu · adam · 0.001",
        "resnet · relu · adam · 0.0001",
    ]


def test_no_axes_are_the_base_alone():
    assert expand((Axes(),), BASE) == [BASE]


def test_each_cell_runs_with_each_seed():
    cells = expand(COMPARISONS["activations"], BASE)
    runs = with_seeds(cells, 3)
    assert len(set(runs)) == 9
    assert [run.seed for run in runs] == [0] * 3 + [1] * 3 + [2] * 3


def test_no_seeds_and_too_many_cells_are_told_together():
    cells = expand(COMPARISONS["report"], BASE)
    check_size(cells, 1, 8)
    with pytest.raises(UserError) as error:
        check_size(cells, 0, 7)
    assert "seeds is 0" in str(error.value) and "8 cells, expected at most 7" in str(error.value)
