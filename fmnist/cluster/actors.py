"""Starts and ends actors on the node of their driver, and types for the handles of actors."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, Protocol, TypeVar

import ray

from fmnist.cluster.nodes import on_this_node

A = TypeVar("A")
P = ParamSpec("P")


class RemoteMethod(Protocol[P]):
    """A method of an actor handle; `remote` takes the method's arguments."""

    def remote(self, *args: P.args, **kwargs: P.kwargs) -> ray.ObjectRef:
        """Calls the method in the actor's process; `ray.get` waits for what it returns."""


def start_actor(actor_class: type, *arguments: Any, **options: Any) -> Any:
    """Starts an actor on the caller's node, and returns its handle; it takes no CPU from others."""
    remote_class = ray.remote(num_cpus=0, scheduling_strategy=on_this_node(), **options)(
        actor_class
    )
    return remote_class.remote(*arguments)


def start_lasting_actor(actor_class: type, *arguments: Any) -> Any:
    """Starts an actor on the caller's node, and returns its handle.

    If the actor's process dies, Ray starts it again, and repeats the calls that were not answered.
    The state of the actor is lost then.
    """
    return start_actor(actor_class, *arguments, max_restarts=-1, max_task_retries=-1)


@contextmanager
def ending(actor: A) -> Iterator[A]:
    """Ends an actor after the block.

    Ray ends an actor of which nobody has a handle, but whatever was given to a trial of Tune is
    kept by Tune until the driver ends.
    """
    try:
        yield actor
    finally:
        ray.kill(actor)
