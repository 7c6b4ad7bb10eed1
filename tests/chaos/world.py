"""The world of the jobs: two Ray nodes, an S3 server behind a proxy, and a small disk."""

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

import boto3
import pytest
import ray
from ray._private.state import state
from ray.cluster_utils import Cluster
from ray.core.generated.gcs_pb2 import PlacementGroupTableData

from tests.support.servers.faulty import Proxy, faulty
from tests.support.servers.head import ROOT, environment
from tests.support.servers.s3 import serving, set_environment

STORE = 200 * 2**20  # bytes of each node's object store
DISK = "300m"  # size of the file system that can be filled
NODES_OWN = ("ray::IDLE", "ray::DashboardAgent", "ray::RuntimeEnvAgent")
# Actors that Ray Data starts once for a cluster, and that stay as long as it.
CLUSTERS_OWN = (
    "ray::ActorLocationTracker",
    "ray::_AutoscalingCoordinatorActor",
    "ray::_StatsActor",
    "ray::_UsageCollectionActor",
)


class World:
    """The cluster and the servers that all rounds share; a lost cluster is started again."""

    def __init__(self, folder: Path, proxy: Proxy, disk: Path) -> None:
        self.folder, self.proxy, self.disk = folder, proxy, disk
        self.cluster: Cluster | None = None

    def start(self) -> None:
        """Starts a head with 2 CPUs and a node with 2, unless they are running."""
        if self.cluster is None:
            quick = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 1000}
            head = {
                "num_cpus": 2,
                "object_store_memory": STORE,
                "include_dashboard": False,
                "_system_config": quick | {"health_check_failure_threshold": 4},
            }
            self.cluster = Cluster(initialize_head=True, head_node_args=head)
            ray.init(address=self.cluster.address, log_to_driver=False, logging_level="ERROR")
        while len(self.cluster.worker_nodes) < 1:
            self.cluster.add_node(num_cpus=2, object_store_memory=STORE)

    def stop(self) -> None:
        """Ends the cluster, even if parts of it have died."""
        if self.cluster is not None:
            with suppress(Exception):
                ray.shutdown()
            with suppress(Exception):
                self.cluster.shutdown()
            self.cluster = None

    def kill_node(self) -> None:
        """Kills the node that is not the head, with all that runs on it."""
        assert self.cluster is not None
        for node in list(self.cluster.worker_nodes):
            self.cluster.remove_node(node, allow_graceful=False)

    def kill_head(self) -> None:
        """Kills the raylet of the head, on which drivers run; this ends the cluster."""
        assert self.cluster is not None
        head = self.cluster.head_node.all_processes["raylet"][0].process.pid
        os.kill(head, signal.SIGKILL)

    def lost(self) -> bool:
        """True if the head no longer runs."""
        if self.cluster is None:
            return True
        raylet = self.cluster.head_node.all_processes["raylet"][0].process
        return raylet.poll() is not None

    def workers(self) -> dict[int, str]:
        """Returns the working processes of the cluster's nodes, with their titles."""
        if self.cluster is None:
            return {}
        raylets = {
            node.all_processes["raylet"][0].process.pid
            for node in self.cluster.list_all_nodes()
            if "raylet" in node.all_processes
        }
        found = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):  # it has just ended
                if int(stat.read_text().rpartition(")")[2].split()[1]) in raylets:
                    title = (stat.parent / "cmdline").read_bytes().decode(errors="replace")
                    if title.startswith("ray::") and not title.startswith(NODES_OWN):
                        found[int(stat.parent.name)] = title.rstrip("\0 ")
        return found

    def submit(self, command: list[str], log: IO[str]) -> subprocess.Popen[str]:
        """Starts a job's driver, which finds the cluster and, through the proxy, the S3 server."""
        assert self.cluster is not None
        env = environment(RAY_ADDRESS=self.cluster.address, AWS_MAX_ATTEMPTS="6")
        return subprocess.Popen(
            [sys.executable, "-m", *command], cwd=ROOT, env=env, stdout=log, stderr=log, text=True
        )

    def residue(self) -> list[str]:
        """Returns processes and reservations that are left on the cluster although no job runs."""
        found = [
            f"process {pid}: {title}"
            for pid, title in self.workers().items()
            if not title.startswith(CLUSTERS_OWN)
        ]
        ours = ray.get_runtime_context().get_job_id()
        for row in state._connect_and_get_accessor().get_placement_group_table():
            group = PlacementGroupTableData.FromString(row)
            if (
                group.state != PlacementGroupTableData.REMOVED
                and group.creator_job_id.hex() != ours
            ):
                found.append(f"placement group of job {group.creator_job_id.hex()}")
        return found

    def wait_until_calm(self, seconds: float = 30) -> list[str]:
        """Waits until nothing is left on the cluster; returns the rest when the time is over."""
        end = time.monotonic() + seconds
        while (found := self.residue()) and time.monotonic() < end:
            time.sleep(0.5)
        return found

    def root(self, kind: str) -> str:
        """Returns the URI of a fresh storage root: `s3`, or a `folder` on the small disk."""
        name = uuid.uuid4().hex[:12]
        if kind == "folder":
            return str(self.disk / name)
        boto3.client("s3").create_bucket(Bucket=f"chaos-{name}")
        return f"s3://chaos-{name}/results"


@contextmanager
def world(folder: Path) -> Iterator[World]:
    """Yields the world, and ends all its processes after the block."""
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        server = stack.enter_context(serving())
        set_environment(patch, server)
        proxy = stack.enter_context(faulty(server))
        patch.setenv("AWS_ENDPOINT_URL", proxy.url)
        found = World(folder, proxy, stack.enter_context(_small_disk(folder / "disk")))
        stack.callback(found.stop)
        yield found


@contextmanager
def _small_disk(place: Path) -> Iterator[Path]:
    """Mounts a separate file system, so that filling it disturbs nobody else. Needs root."""
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)
