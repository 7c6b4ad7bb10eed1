"""Runs one function over many pieces of work in tasks of the cluster."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, TypeVar

import ray

from fmnist.cluster.remote import TASK_RETRIES, find_cause

T = TypeVar("T")
CANCELLING = 20.0  # seconds that tasks have to end
AT_ONCE = 1_000  # tasks submitted at once: more than there are CPUs, so that a cluster grows


def in_parallel(
    work: Callable[..., T], pieces: Iterable[tuple[Any, ...]], action: str
) -> Iterator[T]:
    """Yields what `work(*piece)` returns for each piece, as the tasks end; one CPU for each.

    These are tasks of Ray alone: Ray Data would leave a CPU idle for 0.1 to 0.3 s after each task,
    and all but one for the first second, and would start an actor before. `action` says in messages
    what is done. Raises UserErrors as they are, and one for what can't be read and for tasks whose
    processes die each time. The tasks that still run are cancelled then, or if nobody asks further.
    """
    task, rest = ray.remote(max_retries=TASK_RETRIES)(work), iter(pieces)
    running: list[ray.ObjectRef[T]] = []
    try:
        running += [task.remote(*piece) for piece in islice(rest, AT_ONCE)]
        while running:
            (done,), running = ray.wait(running)
            yield ray.get(done)
            running += [task.remote(*piece) for piece in islice(rest, 1)]
    except ray.exceptions.RayError as error:
        raise find_cause(error, action) or error from None
    finally:
        for each in running:
            ray.cancel(each)
        if running:  # one that is just writing would write on
            ray.wait(running, num_returns=len(running), timeout=CANCELLING)
