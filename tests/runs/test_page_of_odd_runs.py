"""The page of runs with few, many or hostile values, in a real browser."""

from dataclasses import replace

import numpy as np
from selenium.webdriver.support.wait import WebDriverWait

from fmnist.runs.evaluation import evaluate
from fmnist.tasks import COMPETITION
from tests.support.pages.elements import count, text, texts
from tests.support.pages.runs import a_run, history
from tests.support.servers.browser import Browser

HOSTILE = (
    "<script>attacked=1</script>",
    "</script><script>attacked=2</script>",
    "<img src=x onerror=attacked=3>",
    '"><svg onload=attacked=4>',
    "<b>bold</b> &amp; %{x} $x$ <!--",
    "{{ 7 * 7 }}",
)


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
