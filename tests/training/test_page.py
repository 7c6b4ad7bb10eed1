"""The page of a run, in a real browser."""

import math
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from selenium.webdriver.support.wait import WebDriverWait

from fmnist.pages.scores import EvaluationJson
from fmnist.runs.evaluation import evaluate
from fmnist.runs.history import EpochRow
from fmnist.tasks import COMPETITION, FASHION
from fmnist.training.page import RunPage, run_page
from tests.support.servers.browser import Browser

HOSTILE = (
    "<script>attacked=1</script>",
    "</script><script>attacked=2</script>",
    "<img src=x onerror=attacked=3>",
    '"><svg onload=attacked=4>',
    "<b>bold</b> &amp; %{x} $x$ <!--",
    "{{ 7 * 7 }}",
)


def scores(n: int, classes: tuple[str, ...]) -> EvaluationJson:
    """Returns the evaluation of n random, mostly right predictions."""
    random = np.random.default_rng(n)
    labels = np.arange(n) % len(classes)
    odds = np.exp(random.normal(size=(n, len(classes))) + 3 * np.eye(len(classes))[labels])
    return evaluate(labels, odds / odds.sum(axis=1, keepdims=True), classes).to_json()


def history(epochs: int, *, validation: bool = True) -> list[EpochRow]:
    rows = []
    for epoch in range(1, epochs + 1):
        loss = 0.2 + 0.7 * math.exp(-epoch / 4)
        row: EpochRow = {
            "epoch": epoch,
            "loss": loss,
            "accuracy": 1 - loss / 3,
            "learning_rate": 0.001,
            "seconds": 12.3,
            "images_per_second": 70.0,
        }
        if validation:
            row |= {"val_loss": loss, "val_accuracy": 0.9}
        rows.append(row)
    return rows


def a_run(classes: tuple[str, ...] = FASHION.classes, **changes: Any) -> RunPage:
    run = RunPage(
        id="9f3c1a77b02e",
        task=replace(FASHION, classes=classes),
        command="python -m jobs.train --recipe quick",
        config={"architecture": "cnn", "learning_rate": 0.001, "batch": 1024},
        parameters=6_484_330,
        best_epoch=7,
        history=history(8),
        evaluations={part: scores(n, classes) for part, n in (("train", 900), ("test", 600))},
        seconds={"training": 98.76, "test on test": 1.23},
        dataset={"source": "a folder", "fingerprint": "c0ffee" * 10, "train": 900, "test": 600},
        versions={"keras": "3.15.1"},
        hardware={"cpu": "a processor", "cores": 2, "gpus": 0, "nodes": 1, "workers": 2},
    )
    return replace(run, **changes)


@pytest.fixture
def show(browser: Browser, tmp_path: Path):
    """Returns a function that opens the page of a run in the browser, and returns the browser."""

    def open_page(run: RunPage, **window: object) -> Browser:
        file = tmp_path / "report.html"
        file.write_text(run_page(run), encoding="utf-8")
        browser.open(file, **window)  # type: ignore[arg-type]
        return browser

    return open_page


def count(browser: Browser, selector: str, plot: int | None = None) -> int:
    """Returns the number of elements that match, in the whole page or in one plot (from 0)."""
    root = "document" if plot is None else f"document.querySelectorAll('.plot')[{plot}]"
    return browser.value(f"{root}.querySelectorAll({selector!r}).length")


def texts(browser: Browser, selector: str) -> list[str]:
    """Returns the text of each element that matches."""
    return browser.value(f"[...document.querySelectorAll({selector!r})].map(e => e.textContent)")


def text(browser: Browser) -> str:
    return browser.value("document.body.innerText")


def point_at_cell(browser: Browser, row: int, column: int) -> str:
    """Moves the mouse over a cell of the confusion matrix; returns the text that then appears."""
    browser.value("document.querySelector('.square').scrollIntoView({block: 'center'})")
    area = "document.querySelector('.square .nsewdrag').getBoundingClientRect()"
    left, top, width, height = browser.value(f"(r => [r.x, r.y, r.width, r.height])({area})")
    for nudge in (-3, 0):
        x = left + width * (column + 0.5) / len(HOSTILE) + nudge
        y = top + height * (row + 0.5) / len(HOSTILE)
        browser.command("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
    shown = ".square .hoverlayer .hovertext"
    WebDriverWait(browser.driver, 10).until(lambda _: count(browser, shown))
    return texts(browser, shown)[0]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 375])
def test_the_page_draws_everything_alone(show, width: int, scheme: str) -> None:
    page = show(a_run(), width=width, scheme=scheme)
    assert page.errors() == []
    assert [Path(url).name for url in page.requests()] == ["report.html"]
    assert count(page, ".plot") == count(page, ".plot.js-plotly-plot") == 3
    for curves in (0, 1):
        assert count(page, ".scatterlayer .trace", curves) == 2
        assert count(page, ".scatterlayer .point", curves) == 2 * 8
        assert count(page, ".shapelayer path", curves) == 1  # the best epoch
    assert count(page, ".heatmaplayer image", 2) == 1
    assert count(page, ".heatmap-label text", 2) == 10 * 10


@pytest.mark.parametrize("width", [1280, 375, 320])
def test_the_page_is_no_wider_than_the_screen(show, width: int) -> None:
    page = show(a_run(classes=tuple(f"{'Long' * 12} {c}" for c in range(10))), width=width)
    assert page.value("document.documentElement.scrollWidth") <= width
    plots = page.value(
        "[...document.querySelectorAll('.plot svg.main-svg')].map(s => s.clientWidth)"
    )
    assert plots and all(200 < plot <= width for plot in plots)


def test_the_plots_follow_the_colour_scheme(show) -> None:
    colour = "getComputedStyle(document.querySelector('.plot .xtick text')).fill"
    light, dark = (show(a_run(), scheme=scheme).value(colour) for scheme in ("light", "dark"))
    assert light != dark


def test_the_head_says_the_conclusion(show) -> None:
    run = a_run()
    confusion = [[0] * 10 for _ in range(10)]
    confusion[6][0] = 30
    test = run.evaluations["test"]
    test |= {"accuracy": 0.9236, "examples": 10_000, "confusion": confusion}
    test["intervals"]["accuracy"] = [0.9182, 0.9287]
    test["per_class"][6]["support"] = 60
    page = show(run)
    assert page.value("document.querySelector('h1').innerText") == (
        "92.36% of 10,000 test images right"
    )
    lead = page.value("document.querySelector('.lead').innerText").replace("\xa0", " ")
    assert "91.82% – 92.87%" in lead
    assert "Shirt taken for T-shirt/top, 30 of 60" in lead


def test_the_tables_hold_the_scores_and_how_it_was_made(show) -> None:
    run = a_run()
    page = show(run)
    rows = page.value(
        "[...document.querySelectorAll('tr')].map(r => [...r.cells].map(c => c.firstChild.data))"
    )
    test = run.evaluations["test"]
    train = run.evaluations["train"]
    assert ["Score", "Training", "Test"] in rows
    assert ["Accuracy", f"{train['accuracy']:.2%}", f"{test['accuracy']:.2%}"] in rows
    bag = test["per_class"][8]
    shares = [f"{bag[name]:.2%}" for name in ("precision", "recall", "f1")]
    assert ["Bag", "60", *shares, f"{bag['roc_auc']:.4f}"] in rows
    shown = text(page)
    for fact in ("9f3c1a77b02e", run.command, "6,484,330", "12.3 s", "98.8 s", "1.2 s"):
        assert fact in shown, fact
    for fact in ("learning rate", "0.001", "c0ffee" * 10, "a folder", "a processor", "3.15.1"):
        assert fact in shown, fact


def test_hostile_names_are_shown_and_do_nothing(show) -> None:
    facts = {HOSTILE[1]: HOSTILE[2]}
    run = a_run(
        classes=HOSTILE,
        id=HOSTILE[0],
        command=HOSTILE[0],
        seconds={HOSTILE[3]: 1.0},
        config=facts,
        versions=facts,
        hardware=facts,
        dataset=facts,
    )
    page = show(replace(run, task=replace(run.task, name=HOSTILE[0])))
    assert page.errors() == []
    assert page.value("typeof attacked") == "undefined"
    assert count(page, ".plot.js-plotly-plot") == 3
    for name in HOSTILE:
        assert name in texts(page, "tbody th")
        assert name in text(page)
    ticks = texts(page, ".plot.square .ytick text")
    assert sorted(ticks) == sorted(name[:15] + "…" if len(name) > 16 else name for name in HOSTILE)
    assert count(page, ".plot b, .plot img, .plot a") == 0


def test_hostile_names_do_nothing_under_the_pointer(show) -> None:
    page = show(a_run(classes=HOSTILE))
    hover = point_at_cell(page, 0, 4)
    assert f"true {HOSTILE[0]}" in hover and f"predicted {HOSTILE[4]}" in hover
    assert page.value("typeof attacked") == "undefined"


def test_without_validation_there_is_one_curve_and_no_best_epoch(show) -> None:
    page = show(a_run(history=history(40, validation=False), best_epoch=None))
    assert count(page, ".scatterlayer .trace", 0) == 1
    assert count(page, ".scatterlayer .point", 0) == 0  # 40 epochs: a line without markers
    assert count(page, ".shapelayer path", 0) == 0
    assert page.errors() == []


def test_a_run_of_one_epoch_shows_its_points(show) -> None:
    page = show(a_run(history=history(1), best_epoch=1))
    assert count(page, ".scatterlayer .point", 0) == 2
    ticks = texts(page, "figure:first-child .xtick text")
    assert "1" in ticks and all(tick.lstrip("−").isdigit() for tick in ticks)


def test_classes_named_like_numbers_are_names(show) -> None:
    page = show(a_run(classes=COMPETITION.classes))
    ticks = texts(page, ".square .xtick text")
    assert ticks == ["0", "1", "2", "3", "4"]


def test_a_class_without_examples_has_dashes(show) -> None:
    probabilities = np.array([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1]])
    classes = ("circle", "square", "triangle")
    result = evaluate(np.array([0, 1]), probabilities, classes).to_json()
    page = show(a_run(classes=classes, evaluations={"validation": result}))
    assert page.errors() == []
    assert "100.00% of 2 validation images right" in text(page)
    assert "It made no mistake." in text(page)
    last = page.value(
        "[...[...document.querySelectorAll('tr')].at(-1).cells].map(c => c.innerText)"
    )
    assert last == ["triangle", "0", "–", "–", "–", "–"]


def test_many_classes_are_drawn_without_numbers(show) -> None:
    page = show(a_run(classes=tuple(f"class {c}" for c in range(40))))
    assert page.errors() == []
    assert count(page, ".heatmaplayer image", 2) == 1
    assert count(page, ".heatmap-label text", 2) == 0


def test_the_same_run_gives_the_same_page() -> None:
    assert run_page(a_run()) == run_page(a_run())


def test_nothing_in_the_page_can_be_fetched() -> None:
    found = []

    class Links(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.extend(value for name, value in attrs if name in ("src", "href", "action"))

    page = run_page(a_run())
    Links().feed(page)
    assert found == ["data:,"]
    assert "default-src 'none'" in page
