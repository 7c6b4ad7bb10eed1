"""The most that a cluster can hold, with an autoscaler and without one."""

import pytest

from fmnist.cluster.autoscaler import AutoscalerConfig
from fmnist.cluster.capacity import Capacity, grown_capacity
from fmnist.cluster.nodes import NodeSize

HEAD = NodeSize(cpus=2, gpus=0)


def config(**limits: int) -> AutoscalerConfig:
    """Makes a configuration with small nodes, large nodes and GPU nodes, and these limits."""
    types: AutoscalerConfig = {
        "head_node_type": "head",
        "available_node_types": {
            "head": {"resources": {"CPU": 2}, "max_workers": 0},
            "small": {"resources": {"CPU": 4, "memory": 1e9}},
            "large": {"resources": {"CPU": 16}, "max_workers": 2},
            "gpu": {"resources": {"CPU": 8, "GPU": 2}, "max_workers": 3},
        },
    }
    return types | limits  # type: ignore[return-value]


def test_a_type_has_at_most_its_own_limit_and_that_of_all() -> None:
    grown = grown_capacity(config(max_workers=10), head=HEAD)
    assert grown.running == [HEAD]
    assert grown.node_types == [(NodeSize(4, 0), 10), (NodeSize(16, 0), 2), (NodeSize(8, 2), 3)]
    assert grown.max_nodes == 10
    assert grown.most_cpus() == 16


def test_without_a_limit_of_all_types_rays_own_holds() -> None:
    grown = grown_capacity(config(), head=HEAD)
    assert [count for _, count in grown.node_types] == [2, 2, 2]
    assert grown.max_nodes == 2


@pytest.mark.parametrize(
    ("cpus", "gpus", "limit", "processes"),
    [
        (1, 0, 1, 2 + 16),  # the head, and the largest node without GPUs
        (1, 0, 3, 2 + 2 * 16 + 4),
        (4, 0, 3, 2 * 4 + 1),  # none fits on the head
        (17, 0, 10, 0),
        (1, 1, 10, 3 * 2),
        (1, 0.5, 2, 2 * 4),  # two processes share a GPU
        (3, 1, 10, 3 * 2),
        (5, 1, 10, 3 * 1),  # a node has GPUs for two, and CPUs for one
        (1, 3, 10, 0),  # no node has three GPUs
    ],
)
def test_processes_that_fit_once_the_cluster_has_grown(
    cpus: int, gpus: float, limit: int, processes: int
) -> None:
    grown = grown_capacity(config(max_workers=limit), head=HEAD)
    assert grown.max_processes(cpus, gpus) == processes


def test_gpu_nodes_start_for_their_cpus_only_where_there_are_no_others() -> None:
    gpu_nodes = (NodeSize(8, 2), 3)
    alone = Capacity(running=[HEAD], node_types=[gpu_nodes], max_nodes=3)
    assert alone.max_processes(1, 0) == 2 + 3 * 8
    beside = Capacity(running=[HEAD], node_types=[(NodeSize(4, 0), 1), gpu_nodes], max_nodes=3)
    assert beside.max_processes(1, 0) == 2 + 4


def test_without_an_autoscaler_the_running_nodes_are_all() -> None:
    now = Capacity(running=[HEAD, NodeSize(4, 1)])
    assert (now.max_processes(1, 0), now.max_processes(3, 0), now.max_processes(1, 1)) == (6, 1, 1)
    assert now.most_cpus() == 4
    assert Capacity(running=[]).most_cpus() == 0


def test_a_capacity_is_described_for_error_messages() -> None:
    assert str(Capacity(running=[HEAD, NodeSize(4, 1)])) == (
        "the cluster has 2 nodes (2 CPUs, 0 GPUs; 4 CPUs, 1 GPUs)"
    )
    grown = Capacity(running=[HEAD], node_types=[(NodeSize(8, 2), 3)], max_nodes=3)
    assert str(grown) == (
        "the cluster has a head (2 CPUs, 0 GPUs) and grows by up to 3 nodes (3 with 8 CPUs, 2 GPUs)"
    )


@pytest.mark.parametrize(
    ("sizes", "gpus", "cpus"),
    [
        ([NodeSize(48, 4)], 1, 12),
        ([NodeSize(8, 1)], 1, 8),
        ([NodeSize(8, 1)], 0.25, 2),
        ([NodeSize(8, 1), NodeSize(192, 8), NodeSize(4, 0)], 1, 8),
        ([NodeSize(2, 4)], 1, 1),
        ([NodeSize(48, 0)], 1, 0),
    ],
)
def test_a_process_with_a_gpu_leaves_the_other_gpus_their_cpus(
    sizes: list[NodeSize], gpus: float, cpus: int
) -> None:
    assert Capacity(running=sizes).most_cpus(gpus) == cpus
