"""The page of a retraining, in a real browser."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fmnist.retraining.page import retraining_page
from fmnist.retraining.summary import RetrainingSummary
from tests.support.pages.elements import count, text
from tests.support.pages.retrainings import HOSTILE, a_hostile_one, a_summary
from tests.support.servers.browser import Browser

# A retraining that was planned before the first champion, which was rolled back meanwhile.
A_LATE_ONE = a_summary("kept", compared=False)
A_LATE_ONE = replace(A_LATE_ONE, champion=replace(A_LATE_ONE.champion, before=None))


@pytest.fixture
def show(open_html: Callable[..., Browser]):
    """Returns a function that opens the page of a retraining, and returns the browser."""

    def open_page(summary: RetrainingSummary, **window: Any) -> Browser:
        browser = open_html(retraining_page(summary), **window)
        assert browser.errors() == []
        assert [Path(url).name for url in browser.requests()] == ["report.html"]
        return browser

    return open_page


@pytest.mark.parametrize(
    ("summary", "title"),
    [
        (a_summary(), r"Promoted: the new champion is 1.98 points above the old one"),
        (a_summary("kept", gain=-0.004, margin=0.01), "Kept: the challenger is 0.45 points below"),
        (a_summary("promoted", compared=False), "Promoted: the first champion"),
        (a_summary("kept", compared=False), "Kept: the challenger had been rolled back"),
        (A_LATE_ONE, "Kept: the challenger had been rolled back"),
        (a_summary("unchanged", compared=False), "Unchanged: the champion has learned from this"),
        (a_summary("overtaken"), "Overtaken: another job moved the champion meanwhile"),
        (
            a_summary("drifted", compared=False),
            "Drifted: the data differ too much from the champion's",
        ),
    ],
    ids=["promoted", "kept", "first", "rolled back", "late", "unchanged", "overtaken", "drifted"],
)
def test_each_outcome_is_told_at_the_top_and_fits_a_phone(
    show, summary: RetrainingSummary, title: str
) -> None:
    page = show(summary, width=375, scheme="dark")
    assert text(page, "h1").startswith(title)
    assert summary.reason in text(page, ".lead")
    assert summary.champion.after.run in text(page, ".lead")
    places = text(page, ".places")
    assert (summary.predictions.submission if summary.predictions else "none") in places
    compared = summary.decision is not None
    assert count(page, ".plot .point") == compared
    tables = (2 if summary.evaluations else 0) + (summary.data_check is not None)
    assert count(page, "table") == tables
    assert page.value("document.documentElement.scrollWidth") <= 375


def test_both_models_stand_side_by_side(show) -> None:
    summary = a_summary()
    page = show(summary)
    scores, classes = (
        page.value(f"[...document.querySelectorAll('table')[{n}].rows].map(r => r.innerText)")
        for n in (0, 1)
    )
    assert scores[0].split() == ["Score", "Champion", "Challenger"]
    for name in ("champion", "challenger"):
        assert f"{summary.evaluations[name]['accuracy']:.2%}" in scores[2]
        shirt = summary.evaluations[name]["per_class"][6]
        assert f"{shirt['recall']:.2%}" in classes[7] and f"{shirt['f1']:.2%}" in classes[7]
    assert len(classes) == 11


def test_the_data_check_has_its_largest_difference_first(show) -> None:
    page = show(a_summary())
    rows = page.value("[...document.querySelectorAll('table')[2].rows].map(r => r.innerText)")
    assert len(rows) == 3 and "Predicted labels of the images to score" in rows[1]
    for part in ("Bag 10.0%", "Bag 0.0%", "0.228", "medium", "p < 0.0001"):
        assert part in rows[1]
    assert "negligible" in rows[2]
    assert "had no labelled images that it did not learn from" in page.value(
        "document.body.innerText"
    )
    assert "Largest drift" in text(page, ".cards") and "0.23" in text(page, ".cards")


def test_texts_do_nothing_but_stand_there(show) -> None:
    page = show(a_hostile_one(), width=375)
    assert page.value("typeof attacked") == "undefined"
    assert count(page, "main b") == 0
    assert text(page, "pre") == HOSTILE
