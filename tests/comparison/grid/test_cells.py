"""A grid's axes give its cells and runs: each once, and in an order that follows from them."""

from dataclasses import replace

import pytest

from fmnist.comparison.grid.cells import (
    COMPARISONS,
    Grid,
    check_size,
    expand,
    make_grid,
    resolve_grid,
    with_seeds,
)
from fmnist.errors import UserError
from fmnist.recipes import RECIPES
from fmnist.run_settings import Cluster
from fmnist.runs.ids import run_id
from fmnist.storage.manifest import content_id
from fmnist.tasks import COMPETITION, FASHION
from jobs.support.grid import Base, GridFlags, find_grid

BASE, QUICK = RECIPES["report"], RECIPES["quick"]


def grid_of(*axes: str, base=BASE, comparison: str | None = None, ablate: str = "") -> Grid:
    return make_grid(base, comparison=comparison, axes=axes, ablate=ablate)


def mistakes(*axes: str, **options) -> str:
    with pytest.raises(UserError) as error:
        grid_of(*axes, **options)
    return str(error.value)


def test_the_reports_comparisons():
    assert [len(expand(COMPARISONS[name], BASE)) for name in COMPARISONS] == [4, 3, 3, 8]
    assert grid_of() == grid_of(comparison="report")


def test_the_shared_cell_of_the_report_runs_once():
    assert grid_of(comparison="report").names.count("cnn · relu · adam · 0.0001") == 1


@pytest.mark.parametrize(
    ("flags", "digest"),
    [
        (GridFlags(), "71481295e291"),
        (GridFlags(comparison="report", seeds=3), "3815c33fcb03"),
        (
            GridFlags(
                comparison="activations",
                base=Base(
                    epochs=20, batch=256, precision="bfloat16", validation=0.0, deterministic=False,
                    workers=2,
                ),
            ),
            "1ab1e811b585",
        ),
        (
            GridFlags(
                architecture="dense,cnn", learning_rate="1e-3, 1e-4", seeds=5, base=Base(epochs=5)
            ),
            "236c2642e1e8",
        ),
        (GridFlags(optimizer="sgd"), "b1b6f90917b4"),
    ],
)  # fmt: skip
def test_ids_of_comparisons_stay_as_they_are(flags, digest):
    runs = with_seeds(find_grid(flags, Cluster()).cells, flags.seeds)
    ids = [run_id(COMPETITION, run, "c0ffee") for run in runs]
    assert content_id(ids, {}, dict.fromkeys(ids)) == digest


def test_axes_given_freely_span_all_combinations():
    grid = grid_of("learning_rate=1e-3,1e-4", "architecture=cnn,resnet")
    assert grid.names == [
        "cnn · relu · adam · 0.001",
        "cnn · relu · adam · 0.0001",
        "resnet · relu · adam · 0.001",
        "resnet · relu · adam · 0.0001",
    ]


def test_any_setting_can_be_an_axis_and_names_have_those_that_differ():
    grid = grid_of("batch=256,1024", "label-smoothing=0.1", "deterministic = true, FALSE")
    assert {(cell.batch, cell.deterministic) for cell in grid.cells} == {
        (256, True), (256, False), (1024, True), (1024, False),
    }  # fmt: skip
    assert {cell.label_smoothing for cell in grid.cells} == {0.1}
    assert grid.names[:2] == [
        "cnn · relu · adam · 0.0001 · batch 256 · deterministic",
        "cnn · relu · adam · 0.0001 · batch 256 · not deterministic",
    ]


def test_other_axes_multiply_a_named_comparison():
    grid = grid_of("schedule=constant,one-cycle", "architecture=dense", comparison="optimizers")
    assert len(grid.cells) == 6
    assert grid.names[0] == "dense · relu · rmsprop · 0.0001 · constant"
    assert "has the axis optimizer" in mistakes("optimizer=adam", comparison="report")


def test_an_ablation_is_the_base_and_the_base_without_each():
    grid = grid_of("weight_decay=0.01", base=QUICK, ablate="augmentation,schedule,weight-decay")
    base = replace(QUICK, weight_decay=0.01)
    assert grid.cells == [
        base,
        replace(base, augmentation="none"),
        replace(base, schedule="constant"),
        replace(base, weight_decay=0),
    ]
    shared = "cnn · relu · adam · 0.002"
    assert grid.names == [
        shared,
        f"{shared} · without augmentation",
        f"{shared} · without schedule",
        f"{shared} · without weight decay",
    ]


def test_an_ablation_of_several_cells_leaves_out_of_each():
    grid = grid_of("architecture=dense,cnn", base=QUICK, ablate="schedule")
    assert [(cell.architecture, cell.schedule) for cell in grid.cells] == [
        ("dense", "one-cycle"), ("cnn", "one-cycle"), ("dense", "constant"), ("cnn", "constant"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("axis", "message"),
    [
        ("bacth=1,2", "; did you mean batch?"),
        ("xyz=1", "unknown setting 'xyz': expected one of architecture"),
        ("batch", "expected NAME=VALUE,VALUE such as batch=256,1024"),
        ("batch=1,,2", "expected values with commas between them"),
        ("batch=1,a,b", "2 mistakes:\n  - batch is 'a', expected a whole number\n  - batch is 'b'"),
        ("weight_decay=x", "weight_decay is 'x', expected a number"),
        ("deterministic=1", "deterministic is '1', expected true or false"),
        ("learning_rate=1e-3,0.001", "which has 0.001 twice, expected each value once"),
        ("seed=1,2", "seed can't be an axis: --seeds N"),
        ("validation=0,0.1", "validation can't be an axis: cells must be compared on the same"),
        ("workers=1,2", "workers can't be an axis: all runs must have the same resources"),
        ("ingest=stream", "ingest can't be an axis"),
    ],
)
def test_mistakes_in_axes(axis, message):
    assert message in mistakes(axis)


@pytest.mark.parametrize(
    ("ablate", "message"),
    [
        ("shedule", "did you mean schedule?"),
        ("batch", "since no network is trained without it: --axis batch=… compares its values"),
        ("schedule,schedule", "has schedule twice"),
        ("label_smoothing", "the base is without label_smoothing already (label smoothing 0)"),
        ("augmentation", "found augmentation as an axis and in --ablate"),
        ("", "unknown setting 'z'"),
    ],
)
def test_mistakes_in_ablations(ablate, message):
    axes = ["augmentation=none,flip", *([] if ablate else ["z=1"])]
    assert message in mistakes(*axes, base=QUICK, ablate=ablate)


def test_all_mistakes_are_told_together():
    told = mistakes("btch=1", "batch=x", "batch=1", "batch=2", comparison="all", ablate="seed")
    assert told.startswith("5 mistakes:")
    assert "found batch as an axis twice" in told and "unknown comparison 'all'" in told


def test_cells_that_are_the_same_for_a_task_are_refused():
    grid = grid_of("augmentation=auto,flip,none")
    assert resolve_grid(grid, FASHION, 60_000).cells[0].augmentation == "shift-flip"
    with pytest.raises(
        UserError, match=r"augmentation auto and .* flip are the same: for the task"
    ):
        resolve_grid(grid, COMPETITION, 60_000)


def test_cells_whose_files_are_the_same_are_refused():
    grid = grid_of("initial_weights=a.keras,b.keras", "batch=64")
    same = grid.changed(lambda cell: replace(cell, initial_weights="a.keras"))
    with pytest.raises(UserError, match=r"are the same: .* one if the files have the same content"):
        resolve_grid(same, FASHION, 60_000)


def test_each_cell_runs_with_each_seed():
    runs = with_seeds(grid_of(comparison="activations").cells, 3)
    assert len(set(runs)) == 9
    assert [run.seed for run in runs] == [0] * 3 + [1] * 3 + [2] * 3


def test_no_seeds_and_too_many_cells_are_told_together():
    cells = grid_of().cells
    check_size(len(cells), 1, 8)
    with pytest.raises(UserError) as error:
        check_size(len(cells), 0, 7)
    assert "seeds is 0" in str(error.value) and "8 cells, expected at most 7" in str(error.value)
