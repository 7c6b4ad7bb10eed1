"""How Ray Train sets up the processes of a run: who the workers are, and what SIGTERM means.

Ray's own TensorflowTrainer does the first, but brings TensorFlow also into the process that starts
it and into its controller: 3 to 4 seconds each before the workers are even started.
"""

import ctypes
import json
import os
import signal
import threading
from dataclasses import dataclass
from typing import Any

import ray
from ray.train.backend import Backend, BackendConfig
from ray.util import get_node_ip_address

from fmnist.cluster.shared_folder import Mark
from fmnist.errors import UserError
from fmnist.models.tensorflow import import_tensorflow

mistake: str | None = None  # why the workers of this run can't train, the same text in each
noticed = threading.Event()  # this worker has been told to end, as before its node is taken away
_handler: int | None = None  # the address of Python's own handler of signals

_getsig, _setsig = ctypes.pythonapi.PyOS_getsig, ctypes.pythonapi.PyOS_setsig
_getsig.restype = _setsig.restype = ctypes.c_void_p
_setsig.argtypes = [ctypes.c_int, ctypes.c_void_p]


@dataclass
class KerasConfig(BackendConfig):
    """For a trainer whose workers join by TensorFlow's TF_CONFIG."""

    gpu: bool  # each worker was given one
    mark: Mark | None  # in the storage, where that is a folder

    @property
    def backend_cls(self) -> type[Backend]:
        return _KerasBackend


class _KerasBackend(Backend):
    def on_start(self, worker_group: Any, backend_config: BackendConfig) -> None:
        """All workers learn what is wrong with one of them before any waits for the others.

        An error that was raised here, or in some of them, Ray Train would try again.
        """
        assert isinstance(backend_config, KerasConfig)
        mark = backend_config.mark
        found = worker_group.execute(mark.find_problem) if mark else []
        if backend_config.gpu and not any(found):
            found = worker_group.execute(_find_gpu)
        mistakes = list(dict.fromkeys(filter(None, found)))
        wrong = str(UserError.of(mistakes)) if mistakes else None
        addresses = worker_group.execute(_free_address)
        ray.get(
            [
                worker_group.execute_single_async(rank, _set_up, addresses, rank, wrong)
                for rank in range(len(addresses))
            ]
        )


def _free_address() -> str:
    from ray._common.network_utils import build_address, find_free_port

    return build_address(get_node_ip_address(), find_free_port())


def _find_gpu() -> str | None:
    """What is wrong with this worker's GPU, if anything is."""
    try:
        import_tensorflow(gpu=True)
    except UserError as error:
        return str(error)
    return None


def _set_up(addresses: list[str], rank: int, wrong: str | None) -> None:
    """Runs in a worker's main thread, which alone may handle signals; training has another."""
    global mistake, _handler
    mistake = wrong
    cluster = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": rank}}
    os.environ["TF_CONFIG"] = json.dumps(cluster, allow_nan=False)
    # Ray's own handler ends the process at once; training asks at each step.
    signal.signal(signal.SIGTERM, lambda *_: noticed.set())
    _handler = _getsig(signal.SIGTERM)


def listen() -> None:
    """Heeds SIGTERM again, in any thread.

    TensorFlow's client of a cluster puts a handler of its own into the process, which only warns
    its cluster, when it is set up; Python's `signal` would only be allowed in the main thread.
    """
    if _handler is not None:
        _setsig(signal.SIGTERM, _handler)
