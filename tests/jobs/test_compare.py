"""The flags of a comparison: its recipe and axes, also in a file, and the file that it leaves."""

import sys
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fmnist.recipes import RECIPES
from fmnist.run_settings import Cluster
from jobs import compare
from jobs.support import grid
from jobs.support.config import job_config
from jobs.support.grid import axes_with_recipe, find_grid


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Reads these flags, and a file of this content unless it is empty."""

    def parse(content: str, *flags: str) -> compare.Flags:
        place = tmp_path / "run.toml"
        place.write_text(content)
        config = ("--config", str(place)) if content else ()
        monkeypatch.setattr(sys, "argv", ["compare", *config, *flags])
        return compare.parse()

    return parse


def test_a_file_has_axes_and_the_recipe_and_flags_win_over_both(parsed: Any) -> None:
    content = 'recipe = "quick"\naxis = ["batch=256,512", "select=best"]\nablate = "schedule"\n'
    flags = parsed(content, "--epochs", "3")
    assert flags.axis == ("batch=256,512", "select=best")
    assert (flags.base.epochs, flags.base.precision) == (3, "auto")
    cells = find_grid(flags, Cluster()).cells
    assert [(cell.batch, cell.schedule) for cell in cells] == [
        (256, "one-cycle"), (512, "one-cycle"), (256, "constant"), (512, "constant"),
    ]  # fmt: skip
    assert {cell.select for cell in cells} == {"best"}
    other = parsed(content, "--axis", "batch=64", "--axis=activation=relu,tanh")
    assert other.axis == ("batch=64", "activation=relu,tanh")
    assert find_grid(parsed("", "--architecture", "dense"), Cluster()).cells[0].epochs == 400


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("axis = [1]", "axis is [1], expected a list of texts in quotes"),
        ('axis = "batch=1"', "axis is 'batch=1', expected a list of texts in quotes"),
        ("axes = []", "unknown key 'axes', expected 'axis'"),
        ('recipe = "quick"', "found --recipe quick, and nothing to compare"),
        ('axis = ["epochs=1,2"]\nearly_stopping = true', "but epochs is an axis"),
        ('axis = ["batch=0,1"]', "batch is 0, expected at least 1"),
        ('search = "random"', "2 mistakes:\n  - trials is 0, expected 1 to 10000"),
        ('search = "grid"\nablate = "schedule"', "unknown search 'grid': expected random or"),
        (
            'search = "optuna"\ntrials = 3\nvalidation = 0.0\nround_size = 0\naxis = ["batch=1,2"]',
            "3 mistakes:\n  - optuna judges by validation accuracy, but validation is 0\n  - round "
            "size is 0, expected at least 1\n  - trials is 3, expected at most 2: no more",
        ),
        (
            'search = "optuna"\ntrials = 3\nrange = ["label_smoothing=0.5..9"]',
            "label smoothing is 9.0, expected 0 up to below 1",
        ),
        ('range = ["batch=1..9"]', "found --range or --trials, but no --search"),
        (
            'search = "random"\ntrials = 3\nrange = ["label_smoothing=0.5..9"]',
            "expected 0 up to below 1",
        ),
        ('axis = ["optimizer=lion"]', "unknown optimizer 'lion': expected one of adam"),
    ],
)
def test_mistakes_in_the_file(fails: Any, content: str, message: str) -> None:
    place = Path("../grid.toml").absolute()
    place.write_text(content)
    assert message in fails(compare, "--config", str(place))


@pytest.mark.parametrize(
    "flags",
    [
        (),
        ("--recipe", "quick", "--axis", "schedule=one-cycle,constant"),
        ("--recipe", "fashion-20min", "--ablate", "label_smoothing,augmentation", "--batch", "64"),
        ("--recipe", "quick", "--comparison", "optimizers", "--axis", "augmentation=flip"),
        ("--recipe", "quick", "--search", "random", "--trials", "9", "--range", "batch=8..64"),
        ("--recipe", "quick", "--search", "optuna", "--trials", "9", "--range", "batch=8..64"),
    ],
)
def test_the_file_that_it_leaves_is_the_same_grid(parsed: Any, flags: tuple[str, ...]) -> None:
    given = parsed("", *flags)
    saved = job_config("compare", replace(given, axis=axes_with_recipe(given))).to_toml()
    assert "recipe" not in tomllib.loads(saved)
    assert find_grid(parsed(saved), Cluster()) == find_grid(given, Cluster())
    if flags:
        assert find_grid(given, Cluster()).cells[0].learning_rate == RECIPES[flags[1]].learning_rate


def test_a_search_without_optuna_says_what_to_install(fails: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(grid, "find_spec", lambda name: None)
    flags = ("--search", "optuna", "--trials", "3", "--range", "batch=8..64")
    assert "requirements-optuna.txt" in fails(compare, *flags)
