"""What happens in a worker at each step and after each epoch of `fit`."""

import math
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import keras
import ray.train

from fmnist import distributed
from fmnist.optimizers import learning_rate
from fmnist.tensorboard import Scalars

if TYPE_CHECKING:
    from fmnist.worker import Worker

STEP_NOTES = 0.5  # seconds between two notes of progress


class Diverged(Exception):  # noqa: N818 - it is an outcome
    """The loss is NaN or infinite."""


class Epochs(keras.callbacks.Callback):
    """Per epoch: seeds, history, checkpoint, report; per step: progress, and a look at the loss."""

    def __init__(self, worker: "Worker") -> None:
        super().__init__()
        self.worker = worker
        self.job = worker.job
        self.scalars = Scalars(self.job.storage, self.job.folder) if worker.rank == 0 else None
        self.epoch = 0
        self.begun = self.noted = 0.0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.epoch, self.begun = epoch, time.perf_counter()
        seed = self.job.training.seed
        distributed.seed_dropout(self.model, seed=seed, epoch=epoch, rank=self.worker.rank)

    def on_train_batch_end(self, batch: int, logs: dict[str, float]) -> None:
        if not math.isfinite(loss := float(logs["loss"])):
            # All ranks see the same loss, and so stop at the same step.
            raise Diverged(
                f"the loss is {loss} in epoch {self.epoch + 1}, step {batch + 1}; expected a "
                "finite number: try a lower learning rate"
            )
        now = time.perf_counter()
        if self.worker.rank == 0 and now - self.noted > STEP_NOTES:
            self.noted = now
            self.job.board.step.remote(self._fraction(batch + 1))

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        row = self._row(epoch, logs)
        before = self.worker.progress
        self.worker.progress = after = replace(
            before, epoch=epoch + 1, history=[*before.history, row]
        )
        if self.worker.rank == 0:
            due = after.epoch % self.job.cluster.checkpoint_every == 0 or self._is_last()
            if due or after.best_epoch == after.epoch:  # the best may be what is published
                self.worker.checkpoints.save(after, self.worker.values())
            if self.scalars:
                self.scalars.write(row)
            self.job.board.epoch.remote(row, self._fraction(self.job.steps))
        ray.train.report(row)

    def _row(self, epoch: int, logs: dict[str, float]) -> dict[str, float]:
        seconds = time.perf_counter() - self.begun
        step = (epoch + 1) * self.job.steps
        return {
            "epoch": epoch + 1,
            **{name: float(value) for name, value in sorted(logs.items())},
            "learning_rate": learning_rate(self.job.training, self.job.steps, step),
            "seconds": seconds,
            "images_per_second": self.job.parts["train"].size / seconds,
        }

    def _fraction(self, steps: int) -> float:
        return (self.epoch * self.job.steps + steps) / (self.job.training.epochs * self.job.steps)

    def _is_last(self) -> bool:
        return self.epoch + 1 == self.job.training.epochs
