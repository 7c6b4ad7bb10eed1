"""What the cluster has room for."""

import math

import ray

from fmnist.errors import UserError
from fmnist.recipes import Cluster


def room(cpus: int, cluster: Cluster) -> int:
    """How many workers of so many CPUs each, and of GPUs as configured, the cluster can hold."""
    gpus = cluster.gpus_per_worker if cluster.gpu else 0
    return sum(min(c // cpus, math.floor(g / gpus) if gpus else c // cpus) for c, g in nodes())


def cpus_per_worker(workers: int, cluster: Cluster) -> int:
    """CPUs for each worker; UserError at once if the cluster can never give what is asked for."""
    largest = max((c for c, _ in nodes()), default=0)
    wanted = [cluster.cpus_per_worker] if cluster.cpus_per_worker else range(largest, 0, -1)
    for cpus in wanted:
        if room(cpus, cluster) >= workers:
            return cpus
    least = cluster.cpus_per_worker or 1
    each = f"{least} CPUs" + (f" and {cluster.gpus_per_worker:g} GPUs" if cluster.gpu else "")
    there = "; ".join(f"{c} CPUs, {g} GPUs" for c, g in nodes())
    raise UserError(
        f"found room for {room(least, cluster)} workers of {each} each, expected {workers}: the "
        f"cluster has {len(nodes())} nodes ({there})"
    )


def nodes() -> list[tuple[int, int]]:
    """CPUs and GPUs of each node that is alive."""
    alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return [(int(node.get("CPU", 0)), int(node.get("GPU", 0))) for node in alive]
