"""Fixture: one local Ray of two nodes for all tests of a session, and the processes of a Ray."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.cluster_utils import Cluster

from jobs.support.connect import KEEP_IDLE

STORE = 256 * 2**20  # bytes of each node's object store


@pytest.fixture(scope="session")
def ray_cluster(s3_server: str) -> Iterator[Cluster]:
    """Starts two nodes with 2 logical CPUs each, and one GPU; their workers find the S3 server."""
    # A node that was killed counts as dead after 4 s, not after Ray's 20.
    quick = KEEP_IDLE | {"health_check_initial_delay_ms": 0, "health_check_period_ms": 1000}
    head = {
        "num_cpus": 2,
        "memory": 8 * 2**30,  # logical as well: what the head may give to the trials of a sweep
        "object_store_memory": STORE,
        "include_dashboard": False,
        "include_log_monitor": False,  # nobody reads what it would print
        "_system_config": quick | {"health_check_failure_threshold": 4},
    }
    cluster = Cluster(initialize_head=True, head_node_args=head)
    cluster.add_node(num_cpus=2, num_gpus=1, object_store_memory=STORE)
    ray.init(address=cluster.address, log_to_driver=False)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def processes(nodes: list[Any], name: str) -> list[int]:
    """Returns the processes of these nodes whose title contains this text."""
    return children({node.all_processes["raylet"][0].process.pid for node in nodes}, name)


def children(parents: set[int], name: str) -> list[int]:
    """Returns the processes that one of these has started and whose title contains this text."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            title = (folder / "cmdline").read_bytes().decode(errors="replace")
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has just ended
            continue
        if parent in parents and name in title:
            found.append(int(folder.name))
    return found
