"""The page of a usual comparison, in a real browser."""

from pathlib import Path

import pytest

from fmnist.comparison.statistics.ranking import best_cell
from tests.support.pages.comparisons import (
    BEST,
    a_comparison,
    cell,
    fail,
)
from tests.support.pages.elements import count, rows, text


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (375, "dark")])
def test_the_page_draws_everything_alone(show, width: int, scheme: str) -> None:
    page = show(a_comparison(), width=width, scheme=scheme)
    assert page.errors() == []
    assert [Path(url).name for url in page.requests()] == ["report.html"]
    assert count(page, ".plot") == count(page, ".plot.js-plotly-plot") == 8
    assert count(page, ".point", 0) == 8 * 3 + 8 + 8  # seeds, means, and the report
    for curves in (1, 2):
        assert count(page, ".scatterlayer .js-line", curves) == 2 * 8
        assert count(page, ".legend .traces", curves) == 8
    for costs in (3, 4):
        assert count(page, ".point", costs) == 8
    assert count(page, ".heatmaplayer image", 5) == 1
    assert count(page, ".point", 6) == 5
    assert count(page, ".scatterlayer .js-line", 7) == 5
    loaded = "[...document.querySelectorAll('.gallery img')].map(i => i.naturalWidth)"
    assert page.value(loaded) == [28] * 24


@pytest.mark.parametrize("width", [375, 320])
def test_the_page_is_no_wider_than_the_phone(show, width: int) -> None:
    comparison = a_comparison()
    fail(comparison.cells[0], 1, "nospace" * 60)
    page = show(comparison, width=width)
    assert page.value("document.documentElement.scrollWidth") <= width


def test_a_cell_has_one_colour_in_all_plots(show) -> None:
    page = show(a_comparison())
    lines = "[...document.querySelectorAll('.plot')[1].querySelectorAll('.scatterlayer .js-line')]"
    colours = page.value(f"{lines}.map(line => line.style.stroke)")
    points = "[...document.querySelectorAll('.plot')[3].querySelectorAll('.point')]"
    assert colours[:8] == colours[8:]
    assert page.value(f"{points}.map(point => point.style.fill)") == colours[:8]
    assert len(set(colours)) == 8


def test_the_head_says_the_conclusion(show) -> None:
    comparison = a_comparison()
    for each in comparison.cells:
        best = each.name == BEST
        for run, noise in zip(each.runs, (0.001, 0.002, 0.003), strict=True):
            accuracy = 0.9 + noise if best else 0.85 + 2 * noise
            run.scores["validation"]["accuracy"] = accuracy
    page = show(comparison)
    assert page.value("document.querySelector('h1').innerText") == (
        "cnn · relu · adam is best: 90.20% of the validation images right"
    )
    lead = page.value("document.querySelector('.lead').innerText").replace("\xa0", " ")
    assert "Mean of 3 seeds, ± 0.10 points." in lead
    assert "4.80 points above the next" in lead and "more than noise, p = 0.001" in lead
    assert "Behind it by more than noise: 7 of the 7 other cells." in lead
    assert "The report has 91.37% for this cell, after 400 epochs; here it had 20." in lead


def test_the_test_images_have_no_say_in_what_is_best() -> None:
    comparison = a_comparison()
    for run in cell(comparison, "dense").runs:
        run.scores["test"] |= {"accuracy": 1.0, "loss": 0.0}
    assert best_cell(comparison).name == BEST


def test_the_reports_tables_stand_beside_ours(show) -> None:
    comparison = a_comparison()
    inception = cell(comparison, "inception")
    for run, noise in zip(inception.runs, (-0.001, 0, 0.001), strict=True):
        run.scores["validation"] |= {"accuracy": 0.9 + noise, "loss": 0.3}
    page = show(comparison)
    tables = [rows(page, table) for table in (2, 3, 4)]
    names = [[row[0] for row in table] for table in tables]
    assert names == [
        ["Architecture", "dense", "cnn", "resnet", "inception"],
        ["Activation", "sigmoid", "relu", "tanh"],
        ["Optimizer", "rmsprop", "adam", "sgd"],
    ]
    last = dict(zip(tables[0][0], tables[0][-1], strict=True))
    assert last["Parameters"] == "325,261report 325,426 (−165)"
    assert last["Layers"] == "11report 9 (+2)"
    assert last["Time per epoch"] == "31.0 s ± 0.0report 4.00 s (+27.00)"
    assert last["Validation loss"] == "0.3000 ± 0.0000report 0.5963 (−0.2963)"
    assert last["Validation accuracy"] == "90.00% ± 0.10report 90.27% (−0.27)"
    assert "epochs 20 (the report 400)" in text(page)
