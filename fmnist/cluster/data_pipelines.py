"""Shared by the Ray Data pipelines: settings, and the error behind a pipeline that failed."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import ray
from ray.data import DataContext

from fmnist.cluster.nodes import not_shared_error
from fmnist.cluster.remote import PROCESS_DEATHS, last_words, process_death_error
from fmnist.errors import UserError
from fmnist.storage.errors import READ_ERRORS, explain

ADDED_BY_RAY = "\nFailed to apply UDF"  # Ray adds to a message how many attempts there were: one


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


def find_cause(error: BaseException, action: str, *passed_on: type[Exception]) -> Exception | None:
    """Finds the user's mistake, or the failure of the environment, behind a failed pipeline.

    `action` says in messages what the pipeline does. Exceptions of the types `passed_on` are
    returned as UserErrors are, with their own text alone.
    """
    driver = reader = ray.util.get_node_ip_address()  # the pipeline is on the driver's node
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ray.exceptions.RayTaskError):
            # Ray keeps the address of the task's node in the text alone.
            found = re.search(r"\bip=([^,\s)]+)", str(cause))
            reader, cause = found[1] if found else driver, cause.cause
        elif isinstance(cause, Exception) and isinstance(cause, (UserError, *passed_on)):
            return type(cause)(str(cause).partition(ADDED_BY_RAY)[0])
        elif isinstance(cause, PROCESS_DEATHS):
            return process_death_error(last_words(cause), action)
        elif isinstance(cause, FileNotFoundError) and reader != driver:
            return not_shared_error(action, driver=driver, reader=reader)
        elif isinstance(cause, READ_ERRORS):
            return UserError(f"{action}: {explain(cause)}")
        else:
            cause = cause.__cause__
    return None
