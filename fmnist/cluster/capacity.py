"""What the cluster has room for: now, and where it autoscales once it has grown."""

import logging
import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import yaml  # type: ignore[import-untyped]
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from fmnist.errors import UserError
from fmnist.recipes import Cluster, Training, least_and_most

log = logging.getLogger(__name__)

Node = tuple[int, int]  # CPUs and GPUs
HEAD = "node:__internal_head__"  # a resource that Ray gives to the head alone
ON_THE_HEAD = {HEAD: 0.001}


@dataclass(frozen=True, kw_only=True)
class Capacity:
    """The nodes that a cluster has or, where it autoscales, may have at most.

    Nodes that come and go are known by their types alone, so that the same question has the same
    answer whatever is there just now.
    """

    fixed: Sequence[Node]  # all nodes, or where they come and go the head
    types: Sequence[tuple[Node, int]] = ()  # of nodes that come and go, and how many at most
    most: int = 0  # of all types together

    def room(self, cpus: int, gpus: float) -> int:
        """How many workers of so many CPUs and GPUs the cluster holds at most."""
        types = self.types
        if not gpus:
            # A GPU node is not started for its CPUs, unless there are no others.
            types = [(node, count) for node, count in types if not node[1]] or types
        rooms = [_room(node, cpus, gpus) for node, count in types for _ in range(count)]
        there = sum(_room(node, cpus, gpus) for node in self.fixed)
        return there + sum(sorted(rooms, reverse=True)[: self.most])

    @property
    def largest(self) -> int:
        """CPUs of the largest node."""
        return max(
            (cpus for cpus, _ in [*self.fixed, *(node for node, _ in self.types)]), default=0
        )

    def __str__(self) -> str:
        there = "; ".join(f"{cpus} CPUs, {gpus} GPUs" for cpus, gpus in self.fixed)
        if not self.types:
            return f"the cluster has {len(self.fixed)} nodes ({there})"
        more = "; ".join(
            f"{count} with {cpus} CPUs, {gpus} GPUs" for (cpus, gpus), count in self.types
        )
        return f"the cluster has a head ({there}) and grows by up to {self.most} nodes ({more})"


def room(cpus: int, cluster: Cluster) -> int:
    """How many workers of so many CPUs each, and of GPUs as configured, the cluster can hold."""
    return capacity().room(cpus, _gpus(cluster))


def cpus_per_worker(least: int, most: int, cluster: Cluster) -> int:
    """CPUs for each worker, of which there are to be `least` to `most`.

    Raises UserError at once if the cluster can never give what is asked for; says that there is
    something to wait for if it has to grow first.
    """
    limit, gpus = capacity(), _gpus(cluster)
    given = cluster.cpus_per_worker
    choices = [given] if given else range(limit.largest, 0, -1)
    for workers in range(most, least - 1, -1):
        for cpus in choices:
            if limit.room(cpus, gpus) >= workers:
                there = Capacity(fixed=nodes()).room(cpus, gpus)
                if there < least:
                    log.warning(_waiting(there, f"{least} workers"))
                return cpus
    cpus = given or 1
    each = f"{cpus} CPUs" + (f" and {gpus:g} GPUs" if gpus else "")
    raise UserError(
        f"found room for {limit.room(cpus, gpus)} workers of {each} each, expected {least}: {limit}"
    )


def scale(training: Training, cluster: Cluster) -> int | tuple[int, int]:
    """What to ask Ray Train for: a number of workers, or the least and the most of them.

    Ray's autoscaler adds no node at all for a most that it can't reach, hence no more than that.
    """
    if isinstance(training.workers, int):
        return training.workers
    least, most = least_and_most(training)
    limit = capacity()
    if limit.types:
        most = max(least, min(most, limit.room(cluster.cpus_per_worker or 1, _gpus(cluster))))
    return least, most


def scoring_actors(asked: int | None, *, gpu: bool = False) -> tuple[int, int]:
    """How many actors score, of one CPU each, and with `gpu` one GPU: at first, and at most.

    More than at first there are where the cluster grows. UserError for none, or more than it can
    ever have CPUs or GPUs for.
    """
    limit = capacity()
    room = limit.room(1, int(gpu))
    each = "1 CPU and 1 GPU" if gpu else "1 CPU"
    if not room:
        raise UserError(f"found no room for a scoring actor of {each}: {limit}")
    wanted = 1 if asked is None else asked
    if not 1 <= wanted <= room:
        raise UserError(
            f"found {wanted} scoring actors of {each} each, expected 1 to {room}: {limit}"
        )
    there = Capacity(fixed=nodes()).room(1, int(gpu))
    least, most = (asked, asked) if asked else (max(1, min(there, room)), room)
    if there < least:
        log.warning(_waiting(there, f"{least} scoring actors"))
    return least, most


def check_tasks() -> None:
    """UserError if no task of one CPU can ever run; says if it has to wait."""
    limit = capacity()
    if not limit.room(1, 0):
        raise UserError(f"found no CPU for reading the images, expected at least 1: {limit}")
    if not Capacity(fixed=nodes()).room(1, 0):
        log.warning(_waiting(0, "1 task that reads the images"))


def _waiting(there: int, wanted: str) -> str:
    return f"found room for {there} of {wanted}; waiting for the cluster to grow"


def here() -> NodeAffinitySchedulingStrategy:
    """Keeps what a driver can't do without on the driver's own node: others may leave."""
    return NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)


def head_memory() -> int:
    """Bytes of memory that Ray gives out on the head, within the limit of the head's container."""
    return int(sum(head["Resources"].get("memory", 0) for head in _heads()))


def _heads() -> list[dict[str, Any]]:
    return [node for node in ray.nodes() if node["Alive"] and HEAD in node["Resources"]]


def nodes() -> list[Node]:
    """CPUs and GPUs of each node that is alive."""
    return [_node(node["Resources"]) for node in ray.nodes() if node["Alive"]]


def capacity() -> Capacity:
    """What the cluster has, or may grow to.

    Ray's open-source autoscaler tells nobody what it may start, so its configuration is read where
    it runs, beside the head. KubeRay's runs in a container of its own: there, as without an
    autoscaler, what is there is all.
    """
    heads, config = _heads(), None
    if heads and heads[0]["NodeID"] == ray.get_runtime_context().get_node_id():
        config = _autoscaler()  # here: no process has to be started for it
    elif heads:
        task = ray.remote(num_cpus=0, resources=ON_THE_HEAD)(_autoscaler)
        config = ray.get(task.remote())
    if config is None:
        return Capacity(fixed=nodes())
    return growth(config, head=_node(heads[0]["Resources"]))


def growth(config: dict[str, Any], *, head: Node) -> Capacity:
    """What a cluster with this configuration of Ray's autoscaler may grow to."""
    most = config.get("max_workers", 2)  # Ray's default
    return Capacity(
        fixed=[head],
        types=[
            (_node(kind["resources"]), min(kind.get("max_workers", most), most))
            for name, kind in config["available_node_types"].items()
            if name != config["head_node_type"]
        ],
        most=most,
    )


def _autoscaler() -> dict[str, Any] | None:
    """The configuration of the autoscaler of this Ray, if it runs on this node."""
    address = ray.get_runtime_context().gcs_address
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has just ended, or is not ours
            arguments = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
            given = dict(each.partition("=")[::2] for each in arguments)
            config = given.get("--autoscaling-config")
            if config and given.get("--gcs-address") == address:
                return yaml.safe_load(Path(config).expanduser().read_text())
    return None


def _gpus(cluster: Cluster) -> float:
    return cluster.gpus_per_worker if cluster.gpu else 0


def _node(resources: dict[str, float]) -> Node:
    return int(resources.get("CPU", 0)), int(resources.get("GPU", 0))


def _room(node: Node, cpus: int, gpus: float) -> int:
    return min(node[0] // cpus, math.floor(node[1] / gpus) if gpus else node[0] // cpus)
