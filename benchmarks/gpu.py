"""The whole path on real GPUs: what each process sees, how fast it is, and whether N equal one.

    python -m benchmarks.gpu                     # a machine with NVIDIA's GPUs
    ray job submit --working-dir . -- python -m benchmarks.gpu --storage s3://bucket/x   # a cluster

Prints the devices that TensorFlow has in each kind of process, also in those that must have no GPU;
then trains with one worker and with one for each GPU, and scores the test images with both models.
`dense` has no dropout, so that its losses should not depend on the number of workers; they do by
rounding, more so where float32 is multiplied as TF32. Not yet run on a GPU by anybody.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pyarrow.parquet as pq
import ray

from fmnist.cluster.capacity import max_capacity
from fmnist.comparison.estimate import training_flops
from fmnist.data.dataset import Dataset
from fmnist.data.load import load
from fmnist.errors import UserError
from fmnist.models.tensorflow import import_tensorflow
from fmnist.run_settings import Cluster, Training
from fmnist.runs.ids import run_folder
from fmnist.runs.published import open_model, read_history
from fmnist.scoring.inputs import from_dataset
from fmnist.scoring.predictions import LABELS, predictions_folder
from fmnist.scoring.run import score
from fmnist.scoring.settings import PredictionSettings
from fmnist.storage.atomic import temporary_folder
from fmnist.storage.manifest import Manifest
from fmnist.storage.open import Storage, open_storage
from fmnist.tasks import FASHION
from fmnist.training.run import train
from jobs.support.connect import start_ray
from jobs.support.launch import launch

TRAINING = Training(architecture="dense", optimizer="sgd", learning_rate=1e-2, epochs=3)
COLUMNS = ("network", "workers", "GPUs each", "s an epoch", "images/s", "loss", "s in all")


def run(flags: argparse.Namespace) -> None:
    start_ray()
    gpus = max_capacity().max_processes(1, 1)
    if not gpus:
        raise UserError("found no GPU in the cluster, expected at least one that Ray knows of")
    tell_devices()
    with temporary_folder() as folder:
        storage = open_storage(flags.storage or str(folder))
        tell_runs(load(FASHION), flags.workers or gpus, storage)


def tell_devices() -> None:
    """Prints the devices that TensorFlow has in a process of each kind, one after the other."""
    kinds: dict[str, tuple[int, Callable[..., Any], tuple[Any, ...]]] = {
        "a task without a GPU": (0, import_tensorflow, ()),
        "an estimate of costs": (0, training_flops, (FASHION, ["dense"])),
        "an actor with a GPU": (1, _with_gpu, ()),
    }
    for name, (gpus, work, arguments) in kinds.items():
        task = ray.remote(num_gpus=gpus, max_calls=1)(_devices)
        print(f"{name:<22} {ray.get(task.remote(work, *arguments))}", flush=True)


def _with_gpu() -> None:
    import_tensorflow(gpu=True)


def _devices(work: Callable[..., Any], *arguments: Any) -> str:
    """Those of a process that has done this work."""
    work(*arguments)
    import tensorflow as tf

    there = [device.name for device in tf.config.list_logical_devices()]
    cards = [
        tf.config.experimental.get_device_details(gpu).get("device_name", "a GPU")
        for gpu in tf.config.get_visible_devices("GPU")
    ]
    return f"node {ray.util.get_node_ip_address()}: {', '.join([*there, *cards])}"


def tell_runs(dataset: Dataset, workers: int, storage: Storage) -> None:
    """Trains both networks with one worker and with many, and on a CPU; scores; compares."""
    print("".join(f"{name:>12}" for name in COLUMNS))
    gpu = Cluster(gpu=True, cpus_per_worker=1)
    cnn = replace(TRAINING, architecture="cnn", precision="auto")
    one = measure(dataset, TRAINING, gpu, storage)
    many = measure(dataset, replace(TRAINING, workers=workers), gpu, storage)
    for count in sorted({1, workers}):
        measure(dataset, replace(cnn, workers=count), gpu, storage)
    # Another seed, or it would be found as the run that the GPU has trained.
    measure(dataset, replace(TRAINING, seed=1, epochs=1), Cluster(), storage)
    losses = [
        [row["loss"] for row in read_history(storage, run_folder(each.id), each)]
        for each in (one, many)
    ]
    apart = max(abs(a - b) / a for a, b in zip(*losses, strict=True))
    print(f"losses of 1 and {workers} workers differ by {apart:.1e} (relative) at most")
    labels = [scored(dataset, each, storage) for each in (one, many)]
    differ = sum(a != b for a, b in zip(*labels, strict=True))
    print(f"labels of 1 and {workers} workers differ for {differ} of {len(labels[0])} images")


def measure(dataset: Dataset, training: Training, cluster: Cluster, storage: Storage) -> Manifest:
    """A run, and its line of the table."""
    begin = time.perf_counter()
    manifest = train(dataset, training, cluster, storage, command="benchmarks.gpu")
    seconds = time.perf_counter() - begin
    last = read_history(storage, run_folder(manifest.id), manifest)[-1]
    cells = (
        training.architecture,
        training.workers,
        manifest.details["hardware"]["gpus"],
        f"{last['seconds']:.1f}",
        f"{last['images_per_second']:.0f}",
        f"{last['loss']:.4f}",
        f"{seconds:.1f}",
    )
    print("".join(f"{cell:>12}" for cell in cells), flush=True)
    return manifest


def scored(dataset: Dataset, run: Manifest, storage: Storage) -> list[int]:
    """The labels that a run's model gives the test images on a GPU, by id."""
    begin = time.perf_counter()
    model = open_model(storage, run_folder(run.id), FASHION)
    manifest = score(
        model=model,
        inputs=from_dataset(dataset),
        storage=storage,
        settings=PredictionSettings(gpu=True),
    )
    print(f"scored {manifest.details['images']} images in {time.perf_counter() - begin:.1f} s")
    system, path = storage.arrow(f"{predictions_folder(manifest.id)}/{LABELS}")
    table = pq.read_table(path, filesystem=system).sort_by("id")
    return table["label"].to_pylist()


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--workers", type=int, help="without it, one for each GPU")
    parser.add_argument("--storage", help="a folder or s3://bucket/prefix; without it, a temporary")
    return parser.parse_args()


if __name__ == "__main__":
    launch(parse, run)
