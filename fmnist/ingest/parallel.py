"""Runs one function over many pieces of work with Ray Data, and returns what it found as JSON."""

import json
import logging
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import ray
from ray.util.annotations import RayDeprecationWarning

from fmnist.cluster.data_pipelines import data_context, find_cause
from fmnist.cluster.remote import TASK_RETRIES
from fmnist.errors import UserError
from fmnist.storage.errors import READ_ERRORS


def in_parallel(
    count: int, work: Callable[[dict[str, Any]], dict[str, Any]], action: str
) -> Iterator[Any]:
    """Yields what `work` found, for each number below `count`, as the tasks end."""
    if not count:
        return
    logging.getLogger("ray.data").setLevel(logging.WARNING)  # it tells of each plan and its end
    logging.getLogger("ray.data._internal.progress").setLevel(logging.ERROR)  # and of having no bar
    with data_context(), warnings.catch_warnings():
        # Ray would restart a task that dies without end; only a deprecated parameter ends it.
        warnings.simplefilter("ignore", RayDeprecationWarning)
        # Not `range`, which makes them in tasks of their own, that wait in line with the work.
        numbers = ray.data.from_items(
            [{"id": number} for number in range(count)], override_num_blocks=count
        )
        found = numbers.map(work, num_cpus=1, max_retries=TASK_RETRIES)
        try:
            for row in found.iter_rows():
                yield json.loads(row["found"])
        except (ray.exceptions.RayError, UserError, *READ_ERRORS) as error:
            raise find_cause(error, action) or error from None
