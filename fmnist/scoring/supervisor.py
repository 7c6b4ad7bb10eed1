"""The actor that runs a scoring pipeline, and to which the scoring actors report.

It ends a job whose actors die again and again. Ray can't: it counts every failed request to an
actor as a try, and a node that disappears fails all of them within seconds, before Ray has noticed
that the node is dead and has started the actor elsewhere.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol

import ray

from fmnist.cluster import metrics
from fmnist.cluster.actors import RemoteMethod
from fmnist.cluster.nodes import on_this_node
from fmnist.cluster.remote import TASK_RETRIES, process_death_error

CONCURRENT_CALLS = 8  # one of them is the pipeline, all others last microseconds


class Supervisor:
    """Runs a pipeline; counts the images that are scored, and the starts of each actor.

    `action` is what the pipeline does, for messages; `run` has the model.
    """

    def __init__(self, action: str, run: str) -> None:
        self._action, self._run = action, run
        self._begun: Counter[str] = Counter()  # calls since the actor finished one, by its id
        self._scored = 0

    def run(self, pipeline: Callable[..., None], *arguments: Any) -> None:
        """Runs `pipeline(*arguments, handle)` with the handle of this actor."""
        pipeline(*arguments, ray.get_runtime_context().current_actor)

    def begin(self, actor: str) -> None:
        """Notes that an actor begins to predict a block.

        Raises UserError if it began too often without finishing one: its process dies each time.
        """
        self._begun[actor] += 1
        if self._begun[actor] > 1 + TASK_RETRIES:
            raise process_death_error("each time while it predicted", self._action)

    def finish(self, actor: str, images: int) -> None:
        """Notes that an actor has predicted a block of so many images."""
        self._begun[actor] = 0
        self._scored += images
        metrics.IMAGES_SCORED.add(images, run=self._run)

    def scored(self) -> int:
        """Returns how many images are scored; an image may count twice after a failure."""
        return self._scored


class SupervisorHandle(Protocol):
    """The actor handle of a `Supervisor`."""

    run: RemoteMethod[...]
    begin: RemoteMethod[[str]]
    finish: RemoteMethod[[str, int]]
    scored: RemoteMethod[[]]


def start_supervisor(action: str, run: str) -> SupervisorHandle:
    """Starts a supervisor on the caller's node; it ends with its handle."""
    handle: SupervisorHandle = (
        ray.remote(Supervisor)
        .options(num_cpus=0, max_concurrency=CONCURRENT_CALLS, scheduling_strategy=on_this_node())
        .remote(action, run)
    )
    return handle
