"""Trains many runs at once with Ray Tune, as many as the cluster has room for.

A Tune trial trains one run, which is published by its id in the storage. So a sweep that was killed
is simply started again: published runs are not trained again, and unfinished runs continue from
their last checkpoint. Tune's own records are not needed, and are written to a temporary folder.
"""

import logging
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.progress_reporter import TrialProgressCallback

from fmnist.cluster.actors import ending, start_actor
from fmnist.cluster.nodes import ON_THE_HEAD, head_memory
from fmnist.cluster.progress_bar import POLL_INTERVAL
from fmnist.cluster.resources import max_workers
from fmnist.cluster.shared_folder import Mark, mark_storage
from fmnist.comparison.monitor import SweepMonitorHandle, run_monitor, start_sweep_monitor
from fmnist.comparison.progress import FAILURE, SweepProgress
from fmnist.run_settings import least_and_most
from fmnist.runs.history import EpochRow
from fmnist.runs.published import read_history
from fmnist.storage.atomic import temporary_folder
from fmnist.storage.manifest import read_manifest
from fmnist.training.controller import fit
from fmnist.training.early_stopping import EarlyStopper
from fmnist.training.run import SAVE_TIMEOUT
from fmnist.training.spec import EarlyStopperHandle, RunContext, RunSpec
from fmnist.training.stopped_runs import read_stopped

log = logging.getLogger(__name__)

# Bytes on the head that the processes of a trial need without its workers: its own, which controls
# them, and a helper of Ray Train. `python -m benchmarks.trial_memory` measured 365 MiB each
# with three trials at once, with their share of the memory that they have in common.
TRIAL_MEMORY = 600 << 20
TUNE_ENVIRONMENT = {
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # it swallows Ctrl-C: `fit` returns as after success
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # they write files that nobody reads
    "RAY_AIR_NEW_OUTPUT": "0",  # unlike the old output, the new one can't be silenced
}


class SilentCallback(TrialProgressCallback):
    """Replaces Tune's own callback, which prints a line for each trial that ends."""

    def _print(self, msg: str) -> None:
        pass


def concurrency(spec: RunSpec) -> int:
    """Returns the number of such runs that the cluster has room for at once.

    Logs a warning if the head's memory allows fewer than the CPUs and GPUs.
    """
    cpus = spec.cluster.cpus_per_worker or 1
    wanted = max_workers(cpus, spec.cluster) // least_and_most("workers", spec.training.workers)[1]
    memory = head_memory()
    fitting = max(1, memory // TRIAL_MEMORY)
    if fitting < wanted:
        log.warning(
            "found %.1f GB of memory on the head, room for %d runs at once (%.1f GB each beside "
            "their workers), and room for the workers of %d",
            memory / 1e9,
            fitting,
            TRIAL_MEMORY / 1e9,
            wanted,
        )
    return min(fitting, wanted)


def sweep(
    run_specs: Sequence[RunSpec],
    *,
    early_stopping: bool,
    progress: SweepProgress | None = None,
) -> dict[str, str]:
    """Trains the runs that have not ended before; returns the reasons of failures by run id.

    The runs may differ in architecture and the like, but not in resources. With early stopping,
    runs that are much worse than others are stopped: `stopped_runs.read_stopped` reads what they
    have reached. On Ctrl-C the runs save their state before KeyboardInterrupt is raised.
    """
    ended = _ended_histories(run_specs, early_stopping)
    waiting = {spec.id: spec for spec in run_specs if spec.id not in ended}
    if not waiting:
        return {}
    first = next(iter(waiting.values()))
    with (
        ending(start_sweep_monitor()) as monitor,
        ending(start_actor(EarlyStopper, first.training.epochs, ended))
        if early_stopping
        else nullcontext() as early_stopper,
        temporary_folder() as folder,
        mark_storage(first.storage) as mark,
        _silent_tune(),
        _saving_on_interrupt(monitor, progress),
    ):
        if progress:
            progress.follow(monitor)
        trial = tune.with_parameters(
            _trial, waiting=waiting, monitor=monitor, early_stopper=early_stopper, mark=mark
        )
        results = _tuner(trial, list(waiting.values()), str(folder), progress).fit()
        return _failures(results)


def _tuner(
    trial: Any, waiting: list[RunSpec], folder: str, progress: SweepProgress | None
) -> tune.Tuner:
    # A trial only waits for its workers, which hold the CPUs and GPUs. It is placed on the head,
    # the node that is never removed, and requests memory there, which other jobs' trials use too.
    return tune.Tuner(
        tune.with_resources(trial, ON_THE_HEAD | {"memory": min(TRIAL_MEMORY, head_memory())}),
        param_space={"run": tune.grid_search([spec.id for spec in waiting])},
        tune_config=tune.TuneConfig(
            max_concurrent_trials=max(1, concurrency(waiting[0])),
            trial_dirname_creator=_run_id,
        ),
        run_config=tune.RunConfig(
            name="sweep",
            storage_path=folder,
            # Of a trial whose process dies; what ends a run otherwise is returned by its trial.
            failure_config=tune.FailureConfig(max_failures=waiting[0].cluster.max_failures),
            callbacks=[SilentCallback(), *([progress] if progress else [])],
            verbose=0,
        ),
    )


@contextmanager
def _silent_tune() -> Iterator[None]:
    """Keeps Tune from handling Ctrl-C, and from printing what SweepProgress prints."""
    os.environ.update(TUNE_ENVIRONMENT)
    tune_log = logging.getLogger("ray.tune")
    level = tune_log.level
    tune_log.setLevel(logging.CRITICAL)  # failures are in the result, with their reasons
    try:
        yield
    finally:
        tune_log.setLevel(level)


@contextmanager
def _saving_on_interrupt(
    monitor: SweepMonitorHandle, progress: SweepProgress | None
) -> Iterator[None]:
    """Closes the progress after the block; on Ctrl-C, waits until the runs have saved first."""
    try:
        yield
    except KeyboardInterrupt:
        print("stopping as soon as the runs have saved their state", flush=True)
        ray.get(monitor.request_stop.remote())
        end = time.monotonic() + SAVE_TIMEOUT
        while ray.get(monitor.running.remote()) and time.monotonic() < end:
            time.sleep(POLL_INTERVAL)
        raise
    finally:
        if progress:
            progress.close()


def _ended_histories(specs: Sequence[RunSpec], early_stopping: bool) -> dict[str, list[EpochRow]]:
    """Returns the histories of runs that have ended, by id.

    Only early stopping uses the rows: without it, published runs have empty histories, and stopped
    runs count as unfinished.
    """
    storage = specs[0].storage
    histories: dict[str, list[EpochRow]] = {}
    stopped = read_stopped(storage, [spec.folder for spec in specs]) if early_stopping else {}
    for spec in specs:
        if manifest := read_manifest(storage, spec.folder):
            rows = read_history(storage, spec.folder, manifest) if early_stopping else []
            histories[spec.id] = rows
        elif spec.folder in stopped:
            histories[spec.id] = stopped[spec.folder]["history"]
    return histories


def _trial(
    config: dict[str, str],
    waiting: dict[str, RunSpec],
    monitor: SweepMonitorHandle,
    early_stopper: EarlyStopperHandle | None,
    mark: Mark | None,
) -> dict[str, str]:
    """Trains a run; returns what ended it, if it failed. Tune would try again what is raised."""
    run = config["run"]
    if not ray.get(monitor.begin.remote(run)):
        return {}
    own = run_monitor(monitor, run)
    context = RunContext(monitor=own, early_stopper=early_stopper, mark=mark)
    try:
        error = fit(waiting[run], context).error
    except Exception as failure:
        error = _reason(failure)
    finally:
        ray.get(monitor.end.remote(run))
    return {FAILURE: error} if error else {}


def _run_id(trial: Any) -> str:
    """Returns the run id, which names Tune's folder of the trial: failed trials have it as well."""
    return str(trial.config["run"])


def _failures(results: Any) -> dict[str, str]:
    reasons = {
        Path(result.path).name: _reason(result.error)
        if result.error
        else result.metrics.get(FAILURE)
        for result in results
    }
    return {run: reason for run, reason in reasons.items() if reason}


def _reason(error: Exception) -> str:
    """Returns the last line of a traceback, which names the error that was raised."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__
