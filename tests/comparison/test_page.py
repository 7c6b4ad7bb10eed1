"""The page of a comparison, in a real browser."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fmnist.comparison.facts import Comparison
from fmnist.comparison.page import Evidence, comparison_page
from fmnist.comparison.ranking import best_cell
from tests.support.pages.comparisons import (
    BEST,
    HOSTILE,
    a_comparison,
    a_hostile_one,
    an_evidence,
    cell,
    fail,
    renamed_task,
    stop,
    without_size,
)
from tests.support.servers.browser import Browser


@pytest.fixture
def show(browser: Browser, tmp_path: Path):
    """Returns a function that opens the page of a comparison, and returns the browser."""

    def open_page(
        comparison: Comparison, evidence: Evidence | None = None, **window: object
    ) -> Browser:
        best = best_cell(comparison)
        if evidence is None and best:
            evidence = an_evidence(comparison, best.name)
        file = tmp_path / "report.html"
        file.write_text(comparison_page(comparison, evidence), encoding="utf-8")
        browser.open(file, **window)  # type: ignore[arg-type]
        return browser

    return open_page


def count(page: Browser, selector: str, plot: int | None = None) -> int:
    root = "document" if plot is None else f"document.querySelectorAll('.plot')[{plot}]"
    return page.value(f"{root}.querySelectorAll({selector!r}).length")


def text(page: Browser) -> str:
    return page.value("document.body.innerText").replace("\xa0", " ")


def rows(page: Browser, table: int) -> list[list[str]]:
    """Returns the text of a table's cells, with the small print."""
    cells = "[...r.cells].map(c => c.textContent)"
    found = page.value(f"[...document.querySelectorAll('table')[{table}].rows].map(r => {cells})")
    return [[cell.replace("\xa0", " ") for cell in row] for row in found]


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (375, "dark")])
def test_the_page_draws_everything_alone(show, width: int, scheme: str) -> None:
    page = show(a_comparison(), width=width, scheme=scheme)
    assert page.errors() == []
    assert [Path(url).name for url in page.requests()] == ["report.html"]
    assert count(page, ".plot") == count(page, ".plot.js-plotly-plot") == 8
    assert count(page, ".point", 0) == 8 * 3 + 8 + 8  # seeds, means, the report's
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
    tables = [rows(page, table) for table in (1, 2, 3)]
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


def test_another_task_is_not_put_beside_the_report(show) -> None:
    page = show(renamed_task(a_comparison(), "fashion"))
    assert count(page, "table") == 2  # all cells; the best cell's classes
    assert count(page, ".point", 0) == 8 * 3 + 8
    assert "the labels of the task competition" in text(page)
    assert "91.37%" not in text(page)


def test_failed_and_stopped_runs_are_shown(show) -> None:
    comparison = a_comparison()
    sgd, dense = cell(comparison, "sgd"), cell(comparison, "dense")
    for seed in range(3):
        fail(sgd, seed, f"the loss is NaN ({seed})")
    without_size(comparison, "sgd")
    stop(dense, 2, 9)
    page = show(comparison)
    assert page.errors() == []
    ranking = {row[0]: row for row in rows(page, 0)}
    assert ranking["cnn · relu · sgd"][1:4] == ["03 failed", "–", "–"]
    assert ranking["dense · relu · adam"][1] == "31 stopped"
    assert ranking["dense · relu · adam"][3] == "–stopped early: no statement"
    assert rows(page, 3)[-1][1:3] == ["–", "–"]  # beside the report
    shown = text(page)
    assert "cnn · relu · sgd · 0.0001, seed 1\nfailed: the loss is NaN (1)" in shown
    assert "dense · relu · adam · 0.0001, seed 2\nstopped early, after epoch 9" in shown


def test_a_comparison_in_which_all_failed_says_so(show) -> None:
    comparison = a_comparison(seeds=1)
    for each in comparison.cells:
        fail(each, 0, "no memory")
    comparison = replace(comparison, hardware={})
    assert best_cell(comparison) is None
    page = show(comparison)
    assert page.errors() == []
    assert "No run came to an end" in text(page) and count(page, ".plot") == 0
    assert "no memory" in text(page)


def test_one_seed_makes_no_statement(show) -> None:
    page = show(a_comparison(seeds=1))
    assert page.errors() == []
    assert "One seed." in text(page) and "one seed: no statement" in text(page)
    assert "±" not in "".join(rows(page, 0)[1])


def test_without_validation_cells_stand_by_training_accuracy(show) -> None:
    comparison = a_comparison()
    comparison.config["validation"] = 0
    for each in comparison.cells:
        for run in each.runs:
            del run.scores["validation"]
            for epoch in run.history:
                del epoch["val_loss"], epoch["val_accuracy"]
    page = show(comparison)
    assert page.errors() == []
    assert "of the training images right" in text(page)
    assert count(page, ".scatterlayer .js-line", 1) == count(page, ".legend .traces", 1) == 8
    assert rows(page, 0)[0][2] == "Training accuracy"


def test_a_comparison_of_one_cell_with_other_images(show) -> None:
    comparison = a_comparison()
    comparison = replace(comparison, cells=[cell(comparison, "tanh")])
    page = show(renamed_task(comparison, "flags", shape=(6, 9, 3), classes=("a", "b", "c")))
    assert page.errors() == []
    assert text(page).count("cnn · tanh · adam · 0.0001 is best") == 1
    images = "[...document.querySelectorAll('.gallery img')].map(i => i.naturalWidth)"
    assert set(page.value(images)) == {9}


def test_many_cells_of_one_epoch(show) -> None:
    comparison = a_comparison(seeds=1, epochs=1)
    cells = [
        replace(each, name=f"{each.name} · {copy}", learning_rate=0.1 + copy)
        for each in comparison.cells
        for copy in range(6)
    ]
    page = show(replace(comparison, cells=cells))
    assert page.errors() == []
    assert len(rows(page, 0)) == 1 + 48
    assert count(page, ".ytick", 0) == 30
    assert count(page, ".point", 1) == 2 * 48
    assert "None of these cells is in the report." in text(page)


def test_hostile_names_are_shown_and_do_nothing(show) -> None:
    page = show(a_hostile_one())
    assert page.errors() == []
    assert page.value("typeof attacked") == "undefined"
    assert count(page, ".plot.js-plotly-plot") == 8
    names = page.value("[...document.querySelectorAll('tbody th')].map(e => e.textContent)")
    assert set(HOSTILE) <= set(names)
    assert count(page, ".plot b, .plot img, .plot a") == 0
    legend = page.value(
        "[...document.querySelectorAll('.plot')[1].querySelectorAll('.legendtext')]"
        ".map(e => e.textContent.trim())"
    )
    assert set(HOSTILE[:4]) <= set(legend)


def test_evidence_without_mistakes(show) -> None:
    comparison = a_comparison()
    perfect = np.eye(5)[np.arange(600) % 5]
    evidence = an_evidence(comparison, BEST, probabilities=perfect)
    page = show(comparison, evidence)
    assert page.errors() == []
    assert "It made none on the test images." in text(page)
