"""The running nodes of the cluster: their sizes, their addresses, and how to schedule on one."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from fmnist.errors import UserError

HEAD = "node:__internal_head__"  # a resource that Ray gives to the head node alone
ON_THE_HEAD = {HEAD: 0.001}  # what a task or an actor asks for to be scheduled on the head


class NodeSize(NamedTuple):
    """CPUs and GPUs of a node."""

    cpus: int
    gpus: int

    @classmethod
    def of(cls, resources: dict[str, float]) -> "NodeSize":
        """Takes them from Ray's table of a node's resources."""
        return cls(cpus=int(resources.get("CPU", 0)), gpus=int(resources.get("GPU", 0)))


@dataclass(frozen=True, kw_only=True)
class NodeAddress:
    """A node of the cluster, and its IP address for messages."""

    node: str  # Ray's id of the node
    address: str

    @classmethod
    def here(cls) -> "NodeAddress":
        """Returns the node that this process runs on."""
        node = ray.get_runtime_context().get_node_id()
        return cls(node=node, address=ray.util.get_node_ip_address())


def on_this_node() -> NodeAffinitySchedulingStrategy:
    """Schedules an actor or a task on the caller's own node.

    A driver keeps what it cannot do without on its own node, since other nodes may leave.
    """
    return NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)


def node_sizes() -> list[NodeSize]:
    """Sizes of all nodes that are alive."""
    return [NodeSize.of(node["Resources"]) for node in ray.nodes() if node["Alive"]]


def head_nodes() -> list[dict[str, Any]]:
    """Ray's entry of the head node in a list, which is empty where the head is not marked."""
    return [node for node in ray.nodes() if node["Alive"] and HEAD in node["Resources"]]


def head_memory() -> int:
    """Bytes of memory that Ray gives out on the head, within the limit of the head's container."""
    return int(sum(head["Resources"].get("memory", 0) for head in head_nodes()))


def not_shared_error(what: str, *, driver: str, reader: str) -> UserError:
    """Makes the error for files that exist on the driver's node but not on the reader's node.

    `driver` and `reader` are the addresses of the two nodes; `what` names the files.
    """
    return UserError(
        f"{what}: node {reader} finds no such file, which node {driver} has, where this job was"
        " started; expected a folder that all nodes share, or s3://bucket/prefix"
    )
