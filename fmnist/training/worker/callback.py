"""What happens in a worker at each step and after each epoch of `fit`."""

import math
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import ray
import ray.train
from ray.train.collective import broadcast_from_rank_zero

from fmnist.training import backend, early_stopping
from fmnist.training.worker import distributed
from fmnist.training.worker.optimizers import learning_rate
from fmnist.training.worker.tensorboard import Scalars

if TYPE_CHECKING:
    from fmnist.training.worker.main import Worker

STEP_NOTES = 0.5  # seconds between two notes of progress


class Diverged(Exception):  # noqa: N818 - it is an outcome
    """The loss, of training or validation, is NaN or infinite."""


class Preempted(Exception):  # noqa: N818 - it is an outcome
    """The run has been told to end before its time, and its state is saved."""


class StoppedEarly(Exception):  # noqa: N818 - it is an outcome
    """A sweep has stopped this run early; its state is saved."""


class Epochs(keras.callbacks.Callback):
    """Per epoch: seeds, history, checkpoint, report; per step: progress, and whether to go on."""

    def __init__(self, worker: "Worker") -> None:
        super().__init__()
        self.worker = worker
        self.job = worker.job
        self.scalars = Scalars(self.job.storage, self.job.folder) if worker.rank == 0 else None
        self.epoch = 0
        self.first_step = 0  # of this epoch in this process
        self.begun = self.noted = 0.0
        self.answer: ray.ObjectRef | None = None
        self.pausing = False

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        before, rank = self.worker.progress, self.worker.rank
        self.epoch, self.first_step = epoch, before.step
        self.begun = time.perf_counter() - before.seconds
        distributed.seed_dropout(
            self.model, seed=self.job.training.seed, epoch=epoch, step=before.step, rank=rank
        )
        if before.sums:
            self.model.sums = self._own_sums(before.sums)

    def on_train_batch_end(self, batch: int, logs: dict[str, float]) -> None:
        step = self.first_step + batch + 1
        if not self.noted:
            self._started()
        self._check_finite("loss", logs["loss"], f"epoch {self.epoch + 1}, step {step}")
        if logs["pause"]:
            self.pausing = True
            if step < self.job.steps:  # else the end of the epoch is next
                self._save(step)
                raise Preempted
        elif backend.noticed.is_set() or self._asked(step):
            self.model.pause()

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        row = self._row(epoch, logs)
        self._check_finite("mean loss", row["loss"], f"epoch {epoch + 1}")
        self._check_finite("validation loss", row.get("val_loss", 0.0), f"epoch {epoch + 1}")
        before = self.worker.progress
        self.worker.progress = after = replace(
            before, epoch=epoch + 1, step=0, history=[*before.history, row], sums=[], seconds=0.0
        )
        hopeless = self._judge(row)
        if self.worker.rank == 0:
            due = after.epoch % self.job.cluster.checkpoint_every == 0 or self._is_last()
            if due or self.pausing or hopeless or after.best_epoch == after.epoch:
                self.worker.checkpoints.save(after, self.worker.values())
            if hopeless:
                details = {"history": after.history, **self.worker.size()}
                early_stopping.record(self.job.storage, self.job.folder, details)
            if self.scalars:
                self.scalars.write(row)
            self.job.monitor.epoch.remote(row, self._fraction(self.job.steps))
        ray.train.report(row)
        if (self.pausing or hopeless) and not self._is_last():
            raise StoppedEarly if hopeless else Preempted

    @staticmethod
    def _check_finite(name: str, loss: float, where: str) -> None:
        """Raises Diverged; all ranks see the same loss, and so stop at the same step."""
        if not math.isfinite(loss):
            raise Diverged(
                f"the {name} is {float(loss)} in {where}; expected a finite number: "
                "try a lower learning rate"
            )

    def _judge(self, row: dict[str, float]) -> bool:
        """Whether a sweep stops this run early, as all ranks must know."""
        early_stopper, rank = self.job.early_stopper, self.worker.rank
        if early_stopper is None:
            return False
        return broadcast_from_rank_zero(
            rank == 0 and ray.get(early_stopper.stops.remote(self.job.id, row))
        )

    def _started(self) -> None:
        self.noted = time.perf_counter()
        backend.listen()
        if self.worker.rank == 0:
            self.worker.spans.end("tracing the first step")
            progress, spans = self.worker.progress, self.worker.spans.seconds
            self.job.monitor.started.remote(progress.epoch, progress.step, spans)

    def _asked(self, step: int) -> bool:
        """Rank 0 tells the monitor now and then how far it is; the answer is whether to end."""
        if self.worker.rank:
            return False
        if self.answer is None and time.perf_counter() - self.noted > STEP_NOTES:
            self.noted = time.perf_counter()
            self.answer = self.job.monitor.step.remote(self._fraction(step))
        if self.answer is None or not ray.wait([self.answer], timeout=0)[0]:
            return False
        answer, self.answer = self.answer, None
        return ray.get(answer)

    def _save(self, step: int) -> None:
        sums = distributed.gather(self.worker.strategy, self.model.sums[None])
        if self.worker.rank == 0:
            now = replace(
                self.worker.progress,
                step=step,
                sums=sums.tolist(),
                seconds=time.perf_counter() - self.begun,
            )
            self.worker.checkpoints.save(now, self.worker.values())

    def _own_sums(self, saved: list[list[float]]) -> np.ndarray:
        """This rank's, or in a world of another size all of them on rank 0."""
        if len(saved) == self.worker.world:
            return np.array(saved[self.worker.rank])
        return np.sum(saved, axis=0) * (self.worker.rank == 0)

    def _row(self, epoch: int, logs: dict[str, float]) -> dict[str, float]:
        seconds = time.perf_counter() - self.begun
        step = (epoch + 1) * self.job.steps
        return {
            "epoch": epoch + 1,
            **{name: float(logs[name]) for name in sorted(logs) if not name.endswith("pause")},
            "learning_rate": learning_rate(self.job.training, self.job.steps, step),
            "seconds": seconds,
            "images_per_second": self.job.parts["train"].size / seconds,
        }

    def _fraction(self, steps: int) -> float:
        return (self.epoch * self.job.steps + steps) / (self.job.training.epochs * self.job.steps)

    def _is_last(self) -> bool:
        return self.epoch + 1 == self.job.training.epochs
