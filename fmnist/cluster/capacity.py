"""The most that the cluster can hold: its nodes now or, with an autoscaler, once it has grown."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from fmnist.cluster.autoscaler import DEFAULT_MAX_WORKERS, AutoscalerConfig, autoscaler_config
from fmnist.cluster.nodes import NodeSize, head_nodes, node_sizes


@dataclass(frozen=True, kw_only=True)
class Capacity:
    """The nodes that a cluster has or, where it autoscales, may have at most.

    Nodes that an autoscaler starts are known by their types alone. So the answers do not depend on
    how many of them happen to run when the question is asked.
    """

    running: Sequence[NodeSize]  # all nodes, or only the head where an autoscaler starts the others
    node_types: Sequence[tuple[NodeSize, int]] = ()  # of the autoscaler, with the most of each
    max_nodes: int = 0  # of all types together

    def max_processes(self, cpus: int, gpus: float) -> int:
        """Number of processes, each with that many CPUs and GPUs, that fit at most."""
        types = self.node_types
        if not gpus:
            # A GPU node is not started for its CPUs, unless there are no other types.
            types = [(size, count) for size, count in types if not size.gpus] or types
        added = [_processes_on(size, cpus, gpus) for size, count in types for _ in range(count)]
        now = sum(_processes_on(size, cpus, gpus) for size in self.running)
        return now + sum(sorted(added, reverse=True)[: self.max_nodes])

    def most_cpus(self, gpus: float = 0) -> int:
        """CPUs that a process can have on the largest node; 0 without any nodes.

        With `gpus`, no more than leave each GPU of a node as many, on any node that has GPUs: else
        one process would take all CPUs, and the other GPUs of its node would lie idle.
        """
        sizes = [*self.running, *(size for size, _ in self.node_types)]
        if not gpus:
            return max((size.cpus for size in sizes), default=0)
        shares = [size.cpus // math.floor(size.gpus / gpus) for size in sizes if size.gpus >= gpus]
        return max(1, min(shares)) if shares else 0

    def __str__(self) -> str:
        now = "; ".join(f"{cpus} CPUs, {gpus} GPUs" for cpus, gpus in self.running)
        if not self.node_types:
            return f"the cluster has {len(self.running)} nodes ({now})"
        more = "; ".join(
            f"{count} with {cpus} CPUs, {gpus} GPUs" for (cpus, gpus), count in self.node_types
        )
        return f"the cluster has a head ({now}) and grows by up to {self.max_nodes} nodes ({more})"


def max_capacity() -> Capacity:
    """Returns what the cluster can hold at most, once its autoscaler has started all nodes.

    Without an autoscaler, and under KubeRay, only the nodes that are running count.
    """
    config = autoscaler_config()
    if config is None:
        return current_capacity()
    return grown_capacity(config, head=NodeSize.of(head_nodes()[0]["Resources"]))


def current_capacity() -> Capacity:
    """Returns what the running nodes hold."""
    return Capacity(running=node_sizes())


def grown_capacity(config: AutoscalerConfig, *, head: NodeSize) -> Capacity:
    """Returns the most that a cluster with this configuration of Ray's autoscaler can hold."""
    most = config.get("max_workers", DEFAULT_MAX_WORKERS)
    return Capacity(
        running=[head],
        node_types=[
            (NodeSize.of(kind["resources"]), min(kind.get("max_workers", most), most))
            for name, kind in config["available_node_types"].items()
            if name != config["head_node_type"]
        ],
        max_nodes=most,
    )


def _processes_on(size: NodeSize, cpus: int, gpus: float) -> int:
    by_cpus = size.cpus // cpus
    return min(by_cpus, math.floor(size.gpus / gpus)) if gpus else by_cpus
