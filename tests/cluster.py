"""Fixture: one local Ray of two nodes for all tests of a session."""

from collections.abc import Iterator

import pytest
import ray
from ray.cluster_utils import Cluster

STORE = 256 * 2**20  # bytes of each node's object store


@pytest.fixture(scope="session")
def ray_cluster(s3_server: str) -> Iterator[None]:
    """Two nodes of 2 CPUs, one with a GPU, all logical; their workers find the S3 server."""
    head = {"num_cpus": 2, "object_store_memory": STORE, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    cluster.add_node(num_cpus=2, num_gpus=1, object_store_memory=STORE)
    ray.init(address=cluster.address, log_to_driver=False)
    yield
    ray.shutdown()
    cluster.shutdown()
