"""Trains one run from start to end: a new one, or one that continues from its newest checkpoint.

The result is the same for both, byte for byte. A run that is published already is found by its id.
"""

import time
from dataclasses import replace

import ray

from fmnist.cluster.actors import ending, start_actor
from fmnist.cluster.resources import choose_cpus_per_worker
from fmnist.cluster.shared_folder import mark_storage
from fmnist.data.dataset import Dataset
from fmnist.data.streaming.dataset import ShardedDataset
from fmnist.errors import UserError
from fmnist.job_config import JobConfig
from fmnist.models.network_files import NO_FILES, NetworkFiles
from fmnist.run_settings import Cluster, Training, check, least_and_most, resolve_auto
from fmnist.runs.ids import run_folder, run_id, write_begun
from fmnist.stages import stage
from fmnist.storage.manifest import Manifest, read_manifest
from fmnist.storage.open import Storage
from fmnist.training.monitor import MonitorHandle
from fmnist.training.progress import show_progress
from fmnist.training.spec import RunContext, RunResult, RunSpec
from fmnist.training.splits import make_splits

SAVE_TIMEOUT = 20  # seconds for a run to save its state when its driver is told to end
STOP_INTERVAL = 0.5  # seconds between two requests to stop


def train(
    dataset: Dataset | ShardedDataset,
    training: Training,
    cluster: Cluster,
    storage: Storage,
    *,
    command: str,
    config: JobConfig | None = None,
    files: NetworkFiles = NO_FILES,
) -> Manifest:
    """Returns the published run of this configuration on this data set; trains it if necessary.

    `config` has the flags of the job, of which the run publishes those that give it again; `files`
    are those that `training` names.
    Raises UserError for a configuration that cannot be trained on this data or this cluster, for
    storage that fails or that the workers' nodes don't share, and for a loss that is not finite.
    """
    check(training, cluster)
    assert (training.ingest == "stream") == isinstance(dataset, ShardedDataset)
    training = resolve_auto(training, dataset.task, dataset.count_labelled())
    folder = run_folder(run_id(dataset.task, training, dataset.fingerprint))
    if published := read_manifest(storage, folder):
        print(f"run {published.id} is there already, with these settings and data", flush=True)
        return published
    cpus = choose_cpus_per_worker(*least_and_most("workers", training.workers), cluster)
    with stage("sharing the images with the workers"):
        splits = make_splits(dataset, training.validation, cluster.cache_size)
    write_begun(dataset, training, storage)
    cluster = replace(cluster, cpus_per_worker=cpus)
    spec = RunSpec.of(
        dataset, training, cluster, storage, command=command, config=config, splits=splits
    ).with_files(files)
    print(f"run {spec.id}: {dataset.count_labelled():,} images ({dataset.source})", flush=True)
    del dataset  # whose images are in the object store now, unless the caller needs them
    with mark_storage(storage) as mark, show_progress(spec.id, training.epochs) as monitor:
        _fit_in_actor(spec, RunContext(monitor=monitor, mark=mark))
    published = read_manifest(storage, folder)
    if published is None:
        raise UserError(f"{storage.uri}/{folder}: was removed while it was trained, expected a run")
    return published


class RunController:
    """Actor that runs the workers of one training run."""

    def fit(self, spec: RunSpec, context: RunContext) -> RunResult:
        """Trains until the run has ended."""
        # Here, since the driver has no use for Ray Train, whose import takes a second.
        from fmnist.training.controller import fit

        return fit(spec, context)


def _fit_in_actor(spec: RunSpec, context: RunContext) -> None:
    """Trains in a process of its own, so that this one can act on a signal at once.

    If that process dies, another actor goes on, as often as workers may fail. Ray does not start
    the same one again: what a dead actor's workers held is freed, but not if it may come back.
    """
    for restarts_left in reversed(range(spec.cluster.max_failures + 1)):
        with ending(start_actor(RunController)) as controller:
            running = controller.fit.remote(spec, context)
            try:
                result: RunResult = ray.get(running)
                break
            except ray.exceptions.RayActorError:
                if not restarts_left:
                    raise
            except KeyboardInterrupt:
                print("stopping as soon as the state is saved", flush=True)
                _stop(context.monitor, running)
                raise
    if result.error:
        raise UserError(result.error)


def _stop(monitor: MonitorHandle, running: ray.ObjectRef) -> None:
    """Asks a run to stop, and waits until it has saved its state, at most for SAVE_TIMEOUT.

    The request is repeated, since a monitor that Ray had to start again has lost it.
    """
    end = time.monotonic() + SAVE_TIMEOUT
    while time.monotonic() < end:
        monitor.request_stop.remote()
        if ray.wait([running], timeout=STOP_INTERVAL)[0]:
            return
