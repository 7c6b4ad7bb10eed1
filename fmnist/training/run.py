"""One training run: submitted, trained to the end or resumed, evaluated, published.

The same call does all of it: a published run is found by its id, an unfinished one goes on from its
newest sound checkpoint, and ends byte for byte where an uninterrupted run ends.
"""

import time
from dataclasses import replace
from typing import Any

import ray

from fmnist.cluster.nodes import on_this_node
from fmnist.cluster.resources import choose_cpus_per_worker
from fmnist.cluster.shared_folder import mark_storage
from fmnist.data.dataset import Dataset, labelled
from fmnist.errors import UserError
from fmnist.recipes import Cluster, Training, check, least_and_most, resolve_auto
from fmnist.runs.ids import begin, run_folder, run_id
from fmnist.storage.manifest import Manifest, read_manifest
from fmnist.storage.open import Storage
from fmnist.training.controller import fit
from fmnist.training.progress import shown
from fmnist.training.spec import RunSpec, put_splits

PATIENCE = 20  # seconds for a run to save its state when its driver is told to end
STOP_EVERY = 0.5  # seconds


def train(
    dataset: Dataset, training: Training, cluster: Cluster, storage: Storage, *, command: str
) -> Manifest:
    """The published run of this configuration on this data set, trained now unless it is there.

    Raises UserError for a configuration that cannot be trained on this data or this cluster, for
    storage that fails or that the workers' nodes don't share, and for a loss that is no longer
    finite.
    """
    check(training, cluster)
    training = resolve_auto(training, dataset.task, len(labelled(dataset)))
    folder = run_folder(run_id(dataset.task, training, dataset.fingerprint))
    if published := read_manifest(storage, folder):
        return published
    threads = choose_cpus_per_worker(*least_and_most(training), cluster)
    begin(dataset, training, storage)
    spec = RunSpec.of(
        dataset,
        training,
        replace(cluster, cpus_per_worker=threads),
        storage,
        command=command,
        parts=put_splits(dataset, training.validation),
    )
    with mark_storage(storage) as mark, shown(training.epochs) as monitor:
        _run(replace(spec, monitor=monitor, mark=mark))
    published = read_manifest(storage, folder)
    assert published, "the workers ended well, so rank 0 has published"
    return published


def _run(spec: RunSpec) -> None:
    """Fits in a process of its own, so that a signal finds this one free to act on it."""
    retries = spec.cluster.max_failures  # if this process dies; not if it raises
    task = ray.remote(num_cpus=0, max_retries=retries, scheduling_strategy=on_this_node())(fit)
    running = task.remote(spec)
    try:
        ending = ray.get(running)
    except KeyboardInterrupt:
        _stop(spec.monitor, running)
        raise
    if ending.mistake:
        raise UserError(ending.mistake)


def _stop(monitor: Any, running: ray.ObjectRef) -> None:
    """Waits a while for a run to save its state; told again and again, as a new monitor forgets."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        monitor.stop.remote()
        if ray.wait([running], timeout=STOP_EVERY)[0]:
            return
