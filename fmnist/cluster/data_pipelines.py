"""Settings that the Ray Data pipelines share."""

from collections.abc import Iterator
from contextlib import contextmanager

from ray.data import DataContext


@contextmanager
def data_context() -> Iterator[DataContext]:
    """Yields a context that Ray Data uses until the block ends: one that keeps errors whole."""
    context = DataContext.get_current().copy()
    context.raise_original_map_exception = True  # Ray would keep no more than the text of it
    # Arrow retries all other errors itself; Ray Data would repeat all of that ten times.
    context.retried_io_errors = ["HTTP status 429"]
    context.enable_progress_bars = False
    with DataContext.current(context):
        yield context
