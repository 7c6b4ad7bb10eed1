"""Many runs at once on Ray Tune, as many as the cluster has room for.

A trial is a run like any other, published by its id in the storage. So a sweep that was killed goes
on by being started again: published runs are left out, unfinished ones go on from their last
checkpoint; Tune's own records are not needed, and lie in a temporary folder.
"""

import logging
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.progress_reporter import TrialProgressCallback

from fmnist.cluster.nodes import ON_THE_HEAD, head_memory, on_this_node
from fmnist.cluster.resources import max_workers
from fmnist.cluster.shared_folder import Mark, mark_storage
from fmnist.comparison.sweep_monitor import run_monitor, start_sweep_monitor
from fmnist.comparison.trial_table import TrialTable
from fmnist.errors import UserError
from fmnist.recipes import least_and_most
from fmnist.runs.history import EpochRow
from fmnist.runs.published import read_history
from fmnist.storage.atomic import temporary_folder
from fmnist.storage.manifest import read_manifest
from fmnist.training.controller import fit
from fmnist.training.early_stopping import EarlyStopper
from fmnist.training.progress import POLL_INTERVAL
from fmnist.training.run import SAVE_TIMEOUT
from fmnist.training.spec import EarlyStopperHandle, RunContext, RunSpec
from fmnist.training.stopped_runs import read_stopped

log = logging.getLogger(__name__)

# Bytes of all the processes on the head that a trial needs beside its workers: its actor, a Train
# controller with its helper, a monitor: 540 MiB with three at once, a share of what they have in
# common included (`python -m benchmarks.trial_memory`).
TRIAL_MEMORY = 600 << 20
TRIES = 1  # of a trial that failed, beside those of its workers
OURS = {  # what Tune leaves to us
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # which swallows Ctrl-C: `fit` returns as if all was well
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # of files that nobody reads
    "RAY_AIR_NEW_OUTPUT": "0",  # which can't be silenced, unlike the old one
}


class Silent(TrialProgressCallback):
    """Takes the place of Tune's own, which prints a line for each trial that ends."""

    def _print(self, msg: str) -> None:
        pass


def concurrency(spec: RunSpec) -> int:
    """How many such runs the cluster holds at once; says so if memory allows less than CPUs."""
    cpus = spec.cluster.cpus_per_worker or 1
    wanted = max_workers(cpus, spec.cluster) // least_and_most(spec.training)[1]
    memory = head_memory()
    held = max(1, memory // TRIAL_MEMORY)
    if held < wanted:
        log.warning(
            "found %.1f GB of memory on the head, room for %d runs at once (%.1f GB each beside "
            "their workers), and room for the workers of %d",
            memory / 1e9,
            held,
            TRIAL_MEMORY / 1e9,
            wanted,
        )
    return min(held, wanted)


def sweep(
    run_specs: Sequence[RunSpec],
    *,
    early_stopping: bool,
    shown: TrialTable | None = None,
) -> dict[str, str]:
    """Runs what has not come to an end; returns, by run id, why a run has no result then.

    The run_specs differ in architecture and the like, but not in resources. With early stopping,
    hopeless runs end early; what is left of them is told by `stopped_runs.read_stopped`.
    Interrupted, the runs save their state before the interrupt goes on from here.
    """
    ended = _histories(run_specs, early_stopping)
    waiting = {job.id: job for job in run_specs if job.id not in ended}
    if not waiting:
        return {}
    first = next(iter(waiting.values()))
    early_stopper = None
    if early_stopping:
        early_stopper = ray.remote(num_cpus=0, scheduling_strategy=on_this_node())(
            EarlyStopper
        ).remote(first.training.epochs, ended)
    monitor = start_sweep_monitor()
    if shown:
        shown.follow(monitor)
    with (
        temporary_folder() as folder,
        mark_storage(first.storage) as mark,
        _on_tune(),
        _ending(monitor, shown),
    ):
        trial = tune.with_parameters(
            _trial, waiting=waiting, monitor=monitor, early_stopper=early_stopper, mark=mark
        )
        results = _tuner(trial, list(waiting.values()), str(folder), shown).fit()
        return _failures(results)


def _tuner(trial: Any, waiting: list[RunSpec], folder: str, shown: TrialTable | None) -> tune.Tuner:
    # A trial only waits for its workers, which hold CPUs and GPUs. The head is the node that stays;
    # its memory is asked for, since other jobs' trials are there as well.
    return tune.Tuner(
        tune.with_resources(trial, ON_THE_HEAD | {"memory": min(TRIAL_MEMORY, head_memory())}),
        param_space={"run": tune.grid_search([spec.id for spec in waiting])},
        tune_config=tune.TuneConfig(
            max_concurrent_trials=max(1, concurrency(waiting[0])),
            trial_dirname_creator=_run_of,
        ),
        run_config=tune.RunConfig(
            name="sweep",
            storage_path=folder,
            failure_config=tune.FailureConfig(max_failures=TRIES),
            callbacks=[Silent(), *([shown] if shown else [])],
            verbose=0,
        ),
    )


@contextmanager
def _on_tune() -> Iterator[None]:
    """Keeps Tune from handling Ctrl-C, and from saying what we say."""
    os.environ.update(OURS)
    tune_log = logging.getLogger("ray.tune")
    level = tune_log.level
    tune_log.setLevel(logging.CRITICAL)  # what fails stands in the result
    try:
        yield
    finally:
        tune_log.setLevel(level)


@contextmanager
def _ending(monitor: Any, shown: TrialTable | None) -> Iterator[None]:
    """Ends what is shown with the block; if that is interrupted, waits for its runs to be saved."""
    try:
        yield
    except KeyboardInterrupt:
        ray.get(monitor.stop.remote())
        end = time.monotonic() + SAVE_TIMEOUT
        while ray.get(monitor.running.remote()) and time.monotonic() < end:
            time.sleep(POLL_INTERVAL)
        raise
    finally:
        if shown:
            shown.close()


def _histories(jobs: Sequence[RunSpec], early_stopping: bool) -> dict[str, list[EpochRow]]:
    """Of the runs that came to an end, by run id; of published ones only if that matters."""
    storage, found = jobs[0].storage, {}
    stopped = read_stopped(storage, [job.folder for job in jobs]) if early_stopping else {}
    for job in jobs:
        if manifest := read_manifest(storage, job.folder):
            found[job.id] = read_history(storage, job.folder, manifest) if early_stopping else []
        elif job.folder in stopped:
            found[job.id] = stopped[job.folder]["history"]
    return found


def _trial(
    config: dict[str, str],
    waiting: dict[str, RunSpec],
    monitor: Any,
    early_stopper: EarlyStopperHandle | None,
    mark: Mark | None,
) -> None:
    run = config["run"]
    if not ray.get(monitor.begins.remote(run)):
        return
    with run_monitor(monitor, run) as own:
        context = RunContext(monitor=own, early_stopper=early_stopper, mark=mark)
        result = fit(waiting[run], context)
    if result.error:
        raise UserError(result.error)


def _run_of(trial: Any) -> str:
    """The run id; also the name of Tune's folder of the trial, which is known whatever failed."""
    return str(trial.config["run"])


def _failures(results: Any) -> dict[str, str]:
    return {Path(result.path).name: _reason(result.error) for result in results if result.error}


def _reason(error: Exception) -> str:
    """The last line of a report, which is what was raised."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__
