"""Reads the configuration of Ray's autoscaler: the types of nodes that the cluster may start."""

from contextlib import suppress
from pathlib import Path
from typing import NotRequired, TypedDict

import ray
import yaml  # type: ignore[import-untyped]

from fmnist.cluster.nodes import ON_THE_HEAD, head_nodes

DEFAULT_MAX_WORKERS = 2  # Ray's own default where the configuration has none


class NodeType(TypedDict):
    """An entry of `available_node_types`."""

    resources: dict[str, float]
    max_workers: NotRequired[int]


class AutoscalerConfig(TypedDict):
    """The fields of a cluster's YAML file that are used here; a file has more."""

    available_node_types: dict[str, NodeType]
    head_node_type: str
    max_workers: NotRequired[int]


def autoscaler_config() -> AutoscalerConfig | None:
    """Returns the autoscaler's configuration, or None if no autoscaler runs beside the head.

    Ray's open-source autoscaler has no API that says which nodes it may start, so its configuration
    file is read on the head, where the autoscaler runs. Under KubeRay it runs in a container of its
    own, and is not found.
    """
    heads = head_nodes()
    if not heads:
        return None
    if heads[0]["NodeID"] == ray.get_runtime_context().get_node_id():
        return _read_on_this_node()  # without the time to start a process for it
    task = ray.remote(num_cpus=0, resources=ON_THE_HEAD)(_read_on_this_node)
    config: AutoscalerConfig | None = ray.get(task.remote())
    return config


def _read_on_this_node() -> AutoscalerConfig | None:
    """Finds the file in the command line of this Ray's autoscaler, if it runs on this node."""
    address = ray.get_runtime_context().gcs_address
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # the process has just ended, or belongs to another user
            arguments = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
            flags = dict(each.partition("=")[::2] for each in arguments)
            file = flags.get("--autoscaling-config")
            if file and flags.get("--gcs-address") == address:
                config: AutoscalerConfig = yaml.safe_load(Path(file).expanduser().read_text())
                return config
    return None
