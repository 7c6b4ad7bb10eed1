"""Emulates GPUs for TensorFlow in every Python that has this folder in its PYTHONPATH.

EMULATED_GPUS is their number; CUDA_VISIBLE_DEVICES selects from them, as with CUDA. TensorFlow's
code decides which of them are visible and how many replicas a strategy has. Operations on them run
on the CPU, where there is no NCCL.
"""

import importlib.abc
import importlib.machinery
import os
import sys
from typing import Any

CONTEXT = "tensorflow.python.eager.context"
OPTIONS = "tensorflow.python.distribute.collective_util"


def names() -> list[str]:
    """Returns the numbers of the GPUs that a process of this environment sees."""
    there = [str(number) for number in range(int(os.environ.get("EMULATED_GPUS", "0")))]
    shown = os.environ.get("CUDA_VISIBLE_DEVICES")
    return there if shown is None else [name for name in there if name in shown.split(",")]


def add_gpus(module: Any) -> None:
    """Adds GPUs to what TensorFlow finds: physical ones, and logical ones of those left visible."""
    context = module.Context
    find_physical, find_logical = (
        context._initialize_physical_devices,
        context._initialize_logical_devices,
    )

    def physical(self: Any, reinitialize: bool = False) -> None:
        if self._physical_devices is None or reinitialize:
            find_physical(self, reinitialize)
            for number in range(len(names())):
                gpu = module.PhysicalDevice(f"/physical_device:GPU:{number}", "GPU")
                self._physical_devices.append(gpu)
                self._physical_device_to_index[gpu] = 0  # for its details: the CPU's
                self._visible_device_list.append(gpu)
                self._memory_growth_map[gpu] = None

    def logical(self: Any) -> None:
        find_logical(self)
        visible = [each for each in self._visible_device_list if each.device_type == "GPU"]
        self._num_gpus = len(visible)
        self._logical_devices += [
            module.LogicalDevice(f"/device:GPU:{number}", "GPU") for number in range(len(visible))
        ]

    context._initialize_physical_devices = physical
    context._initialize_logical_devices = logical


def leave_nccl_out(module: Any) -> None:
    """Makes collectives use an implementation that works on CPUs, instead of NCCL."""
    set_up = module.Options.__init__

    def options(self: Any, *args: Any, **kwargs: Any) -> None:
        set_up(self, *args, **kwargs)
        self.implementation = module.CommunicationImplementation.AUTO

    module.Options.__init__ = options


CHANGES = {CONTEXT: add_gpus, OPTIONS: leave_nccl_out}


class Finder(importlib.abc.MetaPathFinder):
    """Changes TensorFlow's modules as they are imported."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if name not in CHANGES:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        assert spec and spec.loader
        execute = spec.loader.exec_module

        def exec_module(module: Any) -> None:
            execute(module)
            CHANGES[name](module)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


sys.meta_path.insert(0, Finder())
