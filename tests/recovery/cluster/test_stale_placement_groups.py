"""Placement groups of killed actors are removed, others are not."""

import threading
from typing import Any

import pytest
import ray
from ray._private.state import state
from ray.util.placement_group import PlacementGroup, placement_group, placement_group_table

from fmnist.cluster.placement_groups import remove_stale_now, remove_stale_placement_groups
from tests.support.waiting import wait

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
    remove_stale_now()
    assert not any(map(is_removed, (ours, others, orphan)))
    ray.kill(dead)

    def gone() -> bool:
        remove_stale_now()
        return is_removed(orphan)

    wait(gone)
    assert not any(map(is_removed, (ours, others)))
    for group in (ours, others):
        ray.util.remove_placement_group(group)


def test_they_are_removed_although_the_control_store_fails_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dead, connect, failures = Maker.remote(), state._connect_and_get_accessor, [1, 2]
    orphan = ray.get(dead.make.remote())

    def fail_at_first() -> Any:
        if threading.current_thread() is not threading.main_thread() and failures:
            raise ray.exceptions.RaySystemError(f"failure {failures.pop()}")
        return connect()

    monkeypatch.setattr(state, "_connect_and_get_accessor", fail_at_first)
    with remove_stale_placement_groups():
        ray.kill(dead)
        wait(lambda: is_removed(orphan), 30)
    assert not failures
