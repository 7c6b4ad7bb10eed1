"""The Keras callback of a worker: reports, checkpoints, and the decision to end early."""

import math
import time
from dataclasses import replace
from typing import Any, cast

import keras
import numpy as np
import ray
import ray.train
from ray.train.collective import broadcast_from_rank_zero

from fmnist.runs.history import EpochRow
from fmnist.training import preemption
from fmnist.training.stopped_runs import StoppedRun, write_stopped
from fmnist.training.worker import distributed
from fmnist.training.worker.optimizers import learning_rate
from fmnist.training.worker.randomness import seed_dropout
from fmnist.training.worker.session import Session
from fmnist.training.worker.tensorboard import ScalarWriter

REPORT_INTERVAL = 0.5  # seconds between two reports of steps to the monitor


class Diverged(Exception):  # noqa: N818 - it ends `fit` and is not a fault of the program
    """The loss, of training or validation, or a probability is NaN or infinite."""


class Preempted(Exception):  # noqa: N818 - it ends `fit` and is no error
    """The worker was asked to end, and the state of the run is saved."""


class StoppedEarly(Exception):  # noqa: N818 - it ends `fit` and is no error
    """The sweep's EarlyStopper has stopped the run, and its state is saved."""


class TrainingCallback(keras.callbacks.Callback):
    """Reports steps and epochs, saves checkpoints, and ends `fit` on all ranks at the same step."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session, self.spec = session, session.spec
        self.monitor = session.context.monitor
        self.scalars = (
            ScalarWriter(self.spec.storage, self.spec.folder) if session.rank == 0 else None
        )
        self.epoch = 0
        self.first_step = 0  # of this epoch in this process
        self.epoch_begin = 0.0  # by `perf_counter`, less the time that other processes trained it
        self.last_report: float | None = None  # None until the first step is done
        self.monitor_answer: ray.ObjectRef | None = None
        self.preempted = False

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Seeds dropout, and restores the metrics of an epoch that was interrupted."""
        state, rank = self.session.state, self.session.rank
        self.epoch, self.first_step = epoch, state.step
        self.epoch_begin = time.perf_counter() - state.seconds
        seed_dropout(
            self.model, seed=self.spec.training.seed, epoch=epoch, step=state.step, rank=rank
        )
        if state.sums:
            self.model.metric_sums = self._own_sums(state.sums)

    def on_train_batch_end(self, batch: int, logs: dict[str, float]) -> None:
        """Checks the loss; once all ranks know of a preemption, saves the state and raises."""
        step = self.first_step + batch + 1
        if self.last_report is None:
            self._first_step_done()
        self._check_finite("loss", logs["loss"], f"epoch {self.epoch + 1}, step {step}")
        if logs["preempted"]:
            self.preempted = True
            if step < self.spec.steps_per_epoch:  # else `on_epoch_end` comes next, and saves
                self._save_within_epoch(step)
                raise Preempted
        elif preemption.is_notified() or self._monitor_asks_to_end(step):
            self.model.preempt_all_ranks()

    def on_test_begin(self, logs: Any = None) -> None:
        """Validates the moving average of the weights, if the run has one."""
        self.model.average.swap()

    def on_test_end(self, logs: Any = None) -> None:
        """Trains on with the weights as they were."""
        self.model.average.swap()

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Adds the epoch to the history, saves a checkpoint if one is due, and reports."""
        row = self._row(epoch, logs)
        self._check_finite("mean loss", row["loss"], f"epoch {epoch + 1}")
        self._check_finite("validation loss", row.get("val_loss", 0.0), f"epoch {epoch + 1}")
        self.session.finish_epoch(row)
        stopped = self._is_stopped_early(row)
        if self.session.rank == 0:
            self._save_epoch(stopped)
            if self.scalars:
                self.scalars.write(row)
            self.monitor.epoch_done.remote(row, self._fraction(self.spec.steps_per_epoch))
        ray.train.report(row)
        if (self.preempted or stopped) and not self._is_last():
            raise StoppedEarly if stopped else Preempted

    @staticmethod
    def _check_finite(name: str, loss: float, where: str) -> None:
        """Raises Diverged; all ranks see the same loss, and so end at the same step."""
        if not math.isfinite(loss):
            raise Diverged(
                f"the {name} is {float(loss)} in {where}; expected a finite number: "
                "try a lower learning rate"
            )

    def _is_stopped_early(self, row: EpochRow) -> bool:
        """Returns on all ranks what the sweep's EarlyStopper answers to rank 0."""
        stopper, rank = self.session.context.early_stopper, self.session.rank
        if stopper is None:
            return False
        answer = rank == 0 and ray.get(stopper.should_stop.remote(self.spec.id, row))
        return bool(broadcast_from_rank_zero(answer))

    def _save_epoch(self, stopped: bool) -> None:
        state = self.session.state
        due = state.epoch % self.spec.cluster.checkpoint_every == 0 or self._is_last()
        if due or self.preempted or stopped or state.best_epoch == state.epoch:
            self.session.save_checkpoint(state)
        if stopped:
            run = StoppedRun(history=state.history, **self.session.network_size())
            write_stopped(self.spec.storage, self.spec.folder, run)

    def _first_step_done(self) -> None:
        self.last_report = time.perf_counter()
        preemption.reinstall_handler()
        if self.session.rank == 0:
            startup, state = self.session.startup, self.session.state
            startup.phase_done("tracing the first step")
            self.monitor.training_started.remote(state.epoch, state.step, startup.seconds)

    def _monitor_asks_to_end(self, step: int) -> bool:
        """Reports steps on rank 0 at intervals, and returns the monitor's newest answer.

        It never waits for the answer: a step takes as long as without a monitor.
        """
        if self.session.rank:
            return False
        assert self.last_report is not None
        if self.monitor_answer is None and time.perf_counter() - self.last_report > REPORT_INTERVAL:
            self.last_report = time.perf_counter()
            self.monitor_answer = self.monitor.step_done.remote(self._fraction(step))
        if self.monitor_answer is None or not ray.wait([self.monitor_answer], timeout=0)[0]:
            return False
        answer, self.monitor_answer = self.monitor_answer, None
        return bool(ray.get(answer))

    def _save_within_epoch(self, step: int) -> None:
        sums = distributed.gather_rows(self.session.strategy, self.model.metric_sums[None])
        if self.session.rank == 0:
            state = replace(
                self.session.state,
                step=step,
                sums=sums.tolist(),
                seconds=time.perf_counter() - self.epoch_begin,
            )
            self.session.save_checkpoint(state)

    def _own_sums(self, saved: list[list[float]]) -> np.ndarray:
        """Returns this rank's sums; in a world of another size, rank 0 gets the sums of all."""
        if len(saved) == self.session.world:
            return np.array(saved[self.session.rank])
        total: np.ndarray = np.sum(saved, axis=0)
        return total * (self.session.rank == 0)

    def _row(self, epoch: int, logs: dict[str, float]) -> EpochRow:
        seconds = time.perf_counter() - self.epoch_begin
        step = (epoch + 1) * self.spec.steps_per_epoch
        scores = {name: float(logs[name]) for name in sorted(logs) if "preempted" not in name}
        row = {
            "epoch": epoch + 1,
            **scores,
            "learning_rate": learning_rate(self.spec.training, self.spec.steps_per_epoch, step),
            "seconds": seconds,
            "images_per_second": self.spec.splits["train"].size / seconds,
        }
        return cast(EpochRow, row)

    def _fraction(self, steps: int) -> float:
        """Returns the part of all the run's steps that is done, `steps` steps into this epoch."""
        per_epoch = self.spec.steps_per_epoch
        return (self.epoch * per_epoch + steps) / (self.spec.training.epochs * per_epoch)

    def _is_last(self) -> bool:
        return self.epoch + 1 == self.spec.training.epochs
