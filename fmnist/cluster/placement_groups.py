"""Placement groups that are left behind when the Ray Train controller that made them is killed.

Ray Train has an actor that removes them. It asks Ray's dashboard whether the controller is alive,
and where there is no dashboard it never learns that it is not: on a full cluster, the workers of
the next controller would wait for ever for the places of the last one's.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import ray
from ray._private.state import state  # the public table does not tell who made a group
from ray._raylet import ActorID, PlacementGroupID
from ray.core.generated.gcs_pb2 import PlacementGroupTableData
from ray.util.placement_group import PlacementGroup, remove_placement_group

log = logging.getLogger(__name__)

EVERY = 1.0  # seconds


@contextmanager
def removed() -> Iterator[None]:
    """Removes those of this job, now and again, until the block ends."""
    over = threading.Event()
    thread = threading.Thread(target=_watch, args=(over,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _watch(over: threading.Event) -> None:
    while not over.wait(EVERY):
        try:
            remove()
        except Exception as error:  # Ray raises anything; its control store may answer next time
            log.debug("placement groups are looked for again: %s", error)


def remove() -> None:
    """Removes the placement groups that dead actors of this job have made."""
    job = ray.get_runtime_context().get_job_id()
    for row in state._connect_and_get_accessor().get_placement_group_table():
        group = PlacementGroupTableData.FromString(row)
        by_an_actor = ActorID.nil().binary() != group.creator_actor_id  # else by the job's driver
        dead = group.creator_actor_dead and group.state != PlacementGroupTableData.REMOVED
        if group.creator_job_id.hex() == job and by_an_actor and dead:
            remove_placement_group(PlacementGroup(PlacementGroupID(group.placement_group_id)))
