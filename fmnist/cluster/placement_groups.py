"""Removes placement groups whose maker, the actor that controls a run's workers, was killed.

Ray Train has an actor of its own for this. It asks Ray's dashboard whether the controller is alive,
and without a dashboard it never learns that the controller is dead. On a full cluster, the workers
of the next controller would then wait for ever for the resources that the old group holds.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import ray
from ray._private.state import state  # the public table does not say who made a group
from ray._raylet import ActorID, PlacementGroupID
from ray.core.generated.gcs_pb2 import PlacementGroupTableData
from ray.util.placement_group import PlacementGroup, remove_placement_group

from fmnist.cluster.polling import polling

log = logging.getLogger(__name__)

INTERVAL = 1.0  # seconds


@contextmanager
def remove_stale_placement_groups() -> Iterator[None]:
    """Removes stale placement groups of this job at intervals until the block ends."""
    with polling(_try_to_remove, every=INTERVAL):
        yield


def _try_to_remove() -> None:
    try:
        remove_stale_now()
    except Exception as error:  # Ray raises errors of any class; its control store may be back soon
        log.debug("the search for stale placement groups is repeated: %s", error)


def remove_stale_now() -> None:
    """Removes the placement groups that actors of this job have made which are dead now."""
    job = ray.get_runtime_context().get_job_id()
    for row in state._connect_and_get_accessor().get_placement_group_table():
        group = PlacementGroupTableData.FromString(row)
        made_by_actor = ActorID.nil().binary() != group.creator_actor_id  # else by the job's driver
        stale = group.creator_actor_dead and group.state != PlacementGroupTableData.REMOVED
        if group.creator_job_id.hex() == job and made_by_actor and stale:
            remove_placement_group(PlacementGroup(PlacementGroupID(group.placement_group_id)))
