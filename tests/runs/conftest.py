"""Fixture: the page of a run in a browser."""

from collections.abc import Callable

import pytest

from fmnist.runs.page import RunPage, run_page
from tests.support.servers.browser import Browser


@pytest.fixture
def show(open_html: Callable[..., Browser]):
    """Returns a function that opens the page of a run in the browser, and returns the browser."""

    def open_page(run: RunPage, **window: object) -> Browser:
        return open_html(run_page(run), **window)

    return open_page
