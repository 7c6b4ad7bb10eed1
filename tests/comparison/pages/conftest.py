"""Fixture: the page of a comparison in a browser."""

from collections.abc import Callable

import pytest

from fmnist.comparison.facts import Comparison
from fmnist.comparison.pages.page import Evidence, comparison_page
from fmnist.comparison.statistics.ranking import best_cell
from tests.support.pages.comparisons import an_evidence
from tests.support.servers.browser import Browser


@pytest.fixture
def show(open_html: Callable[..., Browser]):
    """Returns a function that opens the page of a comparison, and returns the browser."""

    def open_page(
        comparison: Comparison, evidence: Evidence | None = None, **window: object
    ) -> Browser:
        best = best_cell(comparison)
        if evidence is None and best:
            evidence = an_evidence(comparison, best.name)
        return open_html(comparison_page(comparison, evidence), **window)

    return open_page
