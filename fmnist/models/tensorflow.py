"""Imports TensorFlow into a process, with the GPU that the process was given or with none."""

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fmnist.errors import UserError

TOO_NEW = (10, 0)  # a GPU's compute capability: TensorFlow 2.21 was built for 6.0 to 9.0

_decided = False  # this process has its GPU, or none; TensorFlow lets nobody change it later


def import_tensorflow(*, gpu: bool = False) -> None:
    """Imports Keras on TensorFlow; whatever imports them afterwards finds them.

    The first call of a process decides which GPUs it sees: none, or with `gpu` the one that Ray
    gave to it, of whose memory it takes only what it needs. Without that, TensorFlow would take all
    memory of all GPUs of the node, which Ray does not hide from work that asked for none.

    Raises UserError that names the node if there should be a GPU, and TensorFlow sees none.
    """
    global _decided
    _import()
    if not _decided:
        _show_gpu() if gpu else _hide_gpus()
        _decided = True


def _import() -> None:
    """The import makes a million objects that stay.

    To look through them for garbage again and again takes nearly a third of its time; once they are
    frozen, nothing ever looks through them again. Keras and TensorFlow look for scikit-learn and
    SciPy, for wrappers that nothing here uses, and these take a quarter of the time.

    TensorFlow uses the kernels of oneDNN only on CPUs that multiply in small formats (VNNI,
    bfloat16, AMX). On those with AVX2 alone they are faster as well: the report's CNN trains 1.3 to
    1.8 times, and predicts 1.5 times as fast. And with TensorFlow's other kernels, what is
    predicted for an image differs in the last digit by its place in a batch of 256 or more.
    """
    if "keras" in sys.modules:
        return
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    gc.disable()
    try:
        with _absent("sklearn", "scipy"):
            import keras  # noqa: F401
            import tensorflow  # noqa: F401
    finally:
        gc.freeze()
        gc.enable()


@contextmanager
def _absent(*packages: str) -> Iterator[None]:
    """Packages that are not imported yet can't be found while the block runs."""
    hidden: dict[str, Any] = {name: None for name in packages if name not in sys.modules}
    sys.modules.update(hidden)
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


def _hide_gpus() -> None:
    import tensorflow as tf

    tf.config.set_visible_devices([], "GPU")


def _show_gpu() -> None:
    """Ray names the GPU of a process in CUDA_VISIBLE_DEVICES, and CUDA shows it alone."""
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if len(gpus) != 1:
        raise UserError(_wrong_number(len(gpus)))
    details = tf.config.experimental.get_device_details(gpus[0])
    if details.get("compute_capability", (0, 0)) >= TOO_NEW:
        raise UserError(
            f"{details.get('device_name', 'a GPU')} has compute capability "
            f"{'.'.join(map(str, details['compute_capability']))}, expected less than "
            f"{'.'.join(map(str, TOO_NEW))}: TensorFlow {tf.__version__} has no kernels for it"
        )
    tf.config.experimental.set_memory_growth(gpus[0], True)


def _wrong_number(found: int) -> str:
    from ray.util import get_node_ip_address

    what = (
        f"node {get_node_ip_address()}: TensorFlow sees {found} GPUs, expected the one that Ray "
        "gave to this process: "
    )
    if found:
        return what + "start the node without RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES"
    return what + (
        "the node needs NVIDIA's driver and the packages of requirements-gpu.txt, which has CUDA's "
        "libraries; without --gpu, the CPUs work"
    )
