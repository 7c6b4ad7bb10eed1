"""Ray Train's backend for the workers of a run: checks their nodes, and sets up their processes.

Ray's own TensorflowTrainer also tells the workers of each other. But it imports TensorFlow in the
process that starts it and in its controller, which takes 3 to 4 seconds in each before the workers
are even started.
"""

import json
import os
from dataclasses import dataclass
from typing import Any

import ray
from ray.train.backend import Backend, BackendConfig
from ray.util import get_node_ip_address

from fmnist.cluster.shared_folder import Mark
from fmnist.errors import UserError
from fmnist.models.tensorflow import import_tensorflow
from fmnist.training import preemption

setup_error: str | None = None  # in a worker: why this run can't train, the same in all workers


@dataclass
class KerasConfig(BackendConfig):
    """Configures a trainer whose workers join by TensorFlow's TF_CONFIG."""

    gpu: bool  # True if each worker was given a GPU
    mark: Mark | None  # in the storage's folder; None for S3

    @property
    def backend_cls(self) -> type[Backend]:
        """Returns the class that Ray Train makes in its controller."""
        return _KerasBackend


class _KerasBackend(Backend):
    def on_start(self, worker_group: Any, backend_config: BackendConfig) -> None:
        """Tells all workers what is wrong with any of them, before they wait for each other.

        An error that is raised here, or in only some workers, would make Ray Train try again.
        """
        assert isinstance(backend_config, KerasConfig)
        mark = backend_config.mark
        found = worker_group.execute(mark.find_problem) if mark else []
        if backend_config.gpu and not any(found):
            found = worker_group.execute(_find_gpu_problem)
        problems = list(dict.fromkeys(filter(None, found)))
        error = str(UserError.of(problems)) if problems else None
        addresses = worker_group.execute(_free_address)
        ray.get(
            [
                worker_group.execute_single_async(rank, _set_up, addresses, rank, error)
                for rank in range(len(addresses))
            ]
        )


def _free_address() -> str:
    from ray._common.network_utils import build_address, find_free_port

    address: str = build_address(get_node_ip_address(), find_free_port())
    return address


def _find_gpu_problem() -> str | None:
    """Returns a message for the user if this worker cannot use its GPU."""
    try:
        import_tensorflow(gpu=True)
    except UserError as error:
        return str(error)
    return None


def _set_up(addresses: list[str], rank: int, error: str | None) -> None:
    """Prepares a worker; Ray Train calls it in the main thread, and trains in another."""
    global setup_error
    setup_error = error
    cluster = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": rank}}
    os.environ["TF_CONFIG"] = json.dumps(cluster, allow_nan=False)
    preemption.install_handler()
