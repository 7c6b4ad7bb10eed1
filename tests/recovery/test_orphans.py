"""Placement groups of actors that are killed, and of those who are not."""

import pytest
import ray
from ray.util.placement_group import PlacementGroup, placement_group, placement_group_table

from fmnist.orphans import remove
from tests.recovery.runs import wait

pytestmark = pytest.mark.usefixtures("ray_cluster")


@ray.remote(num_cpus=0)
class Maker:
    def make(self) -> PlacementGroup:
        return placement_group([{"CPU": 0.1}])


def is_removed(group: PlacementGroup) -> bool:
    return bool(placement_group_table(group)["state"] == "REMOVED")


def test_only_those_of_the_dead_are_removed() -> None:
    living, dead = Maker.remote(), Maker.remote()
    ours = placement_group([{"CPU": 0.1}])
    others, orphan = ray.get([living.make.remote(), dead.make.remote()])
    remove()
    assert not any(map(is_removed, (ours, others, orphan)))
    ray.kill(dead)

    def gone() -> bool:
        remove()
        return is_removed(orphan)

    wait(gone)
    assert not any(map(is_removed, (ours, others)))
    for group in (ours, others):
        ray.util.remove_placement_group(group)
