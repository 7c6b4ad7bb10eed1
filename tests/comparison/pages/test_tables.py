"""The Markdown and the Parquet table of a comparison."""

import io

import pyarrow.parquet as pq
import pytest

from fmnist.comparison.pages.page import comparison_page
from fmnist.comparison.pages.tables import comparison_table
from fmnist.comparison.pages.text import comparison_markdown
from fmnist.comparison.statistics.ranking import rank_cells
from tests.support.pages.comparisons import (
    BEST,
    a_comparison,
    a_hostile_one,
    an_evidence,
    cell,
    fail,
    stop,
)


def test_hostile_names_do_nothing_in_markdown() -> None:
    markdown = comparison_markdown(a_hostile_one())
    outside = markdown.split("````")[0]
    assert "<script" not in outside and "<img" not in outside and "<svg" not in outside
    assert "](http" not in outside.replace("\\](http", "")
    table = [line for line in markdown.splitlines() if line.startswith("|")]
    columns = {line.replace("\\|", "").count("|") for line in table}
    assert len(columns) == 1 and len(table) == 2 + 8
    assert "\n````\n" in markdown  # a fence that the command's own backticks cannot close


def test_markdown_holds_the_conclusion_and_the_tables() -> None:
    comparison = a_comparison()
    fail(cell(comparison, "sgd"), 1, "the loss is NaN")
    markdown = comparison_markdown(comparison)
    best = rank_cells(comparison)[0].values["validation_accuracy"]
    assert markdown.startswith(f"# cnn · relu · adam is best: {best.mean:.2%} of the validation")
    assert f"\n| cnn · relu · adam | 3 | {best.mean:.2%}<br><sub>±" in markdown
    assert markdown.count("\n|---|") == 1 + 1 + 3
    assert "### Optimizers, of the cnn with relu" in markdown
    assert "- cnn · relu · sgd · 0.0001, seed 1: failed: the loss is NaN" in markdown
    for fact in (comparison.command, "c0ffee" * 10, "2.60.0", "a processor", "0, 1, 2"):
        assert fact in markdown, fact


def test_the_table_has_a_row_for_each_cell_and_seed() -> None:
    comparison = a_comparison()
    sgd, dense = cell(comparison, "sgd"), cell(comparison, "dense")
    fail(sgd, 1, "the loss is NaN")
    stop(dense, 0, 9)
    file = io.BytesIO()
    pq.write_table(comparison_table(comparison), file)
    found = pq.read_table(file).to_pylist()
    assert [(row["cell"], row["seed"]) for row in found] == [
        (each.name, seed) for each in comparison.cells for seed in range(3)
    ]
    failed = next(row for row in found if row["cell"] == sgd.name and row["seed"] == 1)
    assert (failed["outcome"], failed["reason"]) == ("failed", "the loss is NaN")
    assert failed["run"] is None and failed["test_accuracy"] is None
    stopped = next(row for row in found if row["cell"] == dense.name)
    assert (stopped["outcome"], stopped["epochs"]) == ("stopped", 9)
    best = next(row for row in found if row["cell"] == BEST)
    run = cell(comparison, BEST).runs[0]
    assert (best["run"], best["outcome"], best["reason"]) == (run.id, "finished", None)
    assert best["learning_rate"] == 1e-4 and best["parameters"] == 6_484_165
    assert best["validation_accuracy"] == run.scores["validation"]["accuracy"]
    assert best["test_loss"] == run.scores["test"]["loss"]
    assert best["seconds_per_epoch"] == 9.7  # the first epoch took three times as long
    assert best["seconds"] == pytest.approx(22 * 9.7)


def test_the_order_of_scheduling_does_not_matter() -> None:
    comparison, shuffled = a_comparison(), a_comparison()
    for each in shuffled.cells:
        each.runs.reverse()
    evidence = an_evidence(comparison, BEST)
    assert comparison_table(shuffled) == comparison_table(comparison)
    assert comparison_page(shuffled, evidence) == comparison_page(comparison, evidence)
