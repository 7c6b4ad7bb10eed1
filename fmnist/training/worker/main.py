"""What one training worker does; only workers import this module, since it brings TensorFlow."""

import logging
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import keras
import numpy as np
import ray
import ray.train
from ray.train.collective import broadcast_from_rank_zero

from fmnist.errors import UserError
from fmnist.models.architectures import build
from fmnist.training import batches
from fmnist.training.checkpoints import Checkpoints, TrainingState
from fmnist.training.progress import Notes
from fmnist.training.spec import RunResult, RunSpec
from fmnist.training.worker import distributed
from fmnist.training.worker.callback import Diverged, Epochs, Preempted, StoppedEarly
from fmnist.training.worker.optimizers import optimizer
from fmnist.training.worker.publish import publish_outcome

POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}
EVALUATION_BATCH = 1000


def work(spec: RunSpec, begin: float) -> RunResult:
    """A worker's whole life, which began at that time of `perf_counter`."""
    try:
        worker = Worker(spec, StartupTimer(begin))
        worker.train()
        publish_outcome(worker)
    except Diverged as error:
        return RunResult(mistake=str(error))
    except StoppedEarly:
        return RunResult(stopped=True)
    except Preempted:
        return RunResult(paused=True)
    except UserError as error:
        ray.get(spec.monitor.fail.remote(str(error)))
        raise  # so that Ray Train tries again: a storage may be back by then
    return RunResult()


class StartupTimer:
    """What the seconds until the first step are spent on."""

    def __init__(self, begin: float) -> None:
        self._last = begin
        self.seconds: dict[str, float] = {}

    def end(self, name: str) -> None:
        """The time since the last end, or the beginning, was spent on this."""
        now = time.perf_counter()
        self.seconds[name], self._last = now - self._last, now


class Worker:
    """One rank of a run, with its model and optimizer, resumed where the run stands."""

    def __init__(self, spec: RunSpec, spans: "StartupTimer") -> None:
        self.spans = spans
        self.spans.end("importing TensorFlow")
        context = ray.train.get_context()
        self.rank, self.world = context.get_world_rank(), context.get_world_size()
        self.job = spec
        if self.rank == 0:
            logging.getLogger("fmnist").addHandler(Notes(spec.monitor))
        self.strategy = distributed.start(
            threads=spec.cluster.cpus_per_worker or 1,
            world=self.world,
            deterministic=spec.training.deterministic,
        )
        self.checkpoints = Checkpoints(
            storage=spec.storage,
            run=spec.folder,
            keep=spec.cluster.keep_checkpoints,
        )
        self._data: list[Any] = []
        self.progress, saved = self._resume()
        self.model = self._model(POLICIES[self.progress.precision])
        if saved:
            self._restore(saved)
        self.spans.end("building the model and restoring its state")

    def train(self) -> None:
        """Fits what is left: of an epoch that was paused, then whole epochs."""
        job, progress = self.job, self.progress
        fit = partial(
            self.model.fit,
            self._training_data(),
            callbacks=[Epochs(self)],
            shuffle=False,  # the batches are in the epoch's order
            verbose=0,
            **self._validation(),
        )
        if progress.step:
            fit(
                initial_epoch=progress.epoch,
                epochs=progress.epoch + 1,
                steps_per_epoch=job.steps - progress.step,
            )
        fit(
            initial_epoch=self.progress.epoch,
            epochs=job.training.epochs,
            steps_per_epoch=job.steps,
        )

    def _training_data(self) -> Any:
        training = self.job.training
        images, labels = self.job.parts["train"].get()
        return self._endless(
            lambda: batches.training_batches(
                images,
                labels,
                batch=training.batch,
                seed=training.seed,
                first_epoch=self.progress.epoch,
                first_step=self.progress.step,
                augmentation=training.augmentation,
                rank=self.rank,
                world=self.world,
            )
        )

    def _validation(self) -> dict[str, Any]:
        part = self.job.parts.get("validation")
        if part is None:
            return {}
        images, labels = part.get()
        data = self._endless(
            lambda: batches.evaluation_batches(
                images, labels, batch=EVALUATION_BATCH, rank=self.rank, world=self.world
            )
        )
        steps = batches.steps(part.size, EVALUATION_BATCH)
        return {"validation_data": data, "validation_steps": steps}

    def _endless(self, source: Callable[[], Iterator[batches.Batch]]) -> Any:
        data = distributed.endless(self.strategy, self.job.task.shape, source)
        self._data.append(data)  # as long as this worker lives
        return data

    def _resume(self) -> tuple[TrainingState, list[np.ndarray]]:
        """Where rank 0 finds the run; every rank takes the same checkpoint."""
        newest = None
        if self.rank == 0:
            newest = self.checkpoints.newest(best=self.job.training.select == "best")
        if newest is None:
            wanted = self.job.training.precision
            precision = distributed.best_precision() if wanted == "auto" else wanted
            newest = TrainingState(precision=precision), []
        progress = broadcast_from_rank_zero(newest[0])
        if self.rank == 0 or not (progress.epoch or progress.step):
            return progress, newest[1]
        return self.checkpoints.load(progress.name)

    def _model(self, policy: str) -> distributed.DistributedModel:
        job, training = self.job, self.job.training
        with self.strategy.scope():
            keras.utils.set_random_seed(training.seed)
            plain = build(
                training.architecture, job.task, activation=training.activation, precision=policy
            )
            model = distributed.DistributedModel(plain.inputs, plain.outputs)
            model.compile(
                optimizer=optimizer(training, job.steps),
                # XLA on CPU made an epoch of the CNN six times slower.
                jit_compile=False,
            )
            model.optimizer.build(model.trainable_variables)
        return model

    def size(self) -> dict[str, int]:
        """Of the network."""
        layers = sum(bool(layer.weights) for layer in self.model.layers)
        return {"parameters": self.model.count_params(), "layers": layers}

    def values(self) -> list[np.ndarray]:
        """All that a checkpoint holds: the weights, then the optimizer's variables."""
        return [keras.ops.convert_to_numpy(variable) for variable in self._variables()]

    def _variables(self) -> list[Any]:
        return [*self.model.weights, *self.model.optimizer.variables]

    def _restore(self, saved: list[np.ndarray]) -> None:
        variables = self._variables()
        if [value.shape for value in saved] != [tuple(each.shape) for each in variables]:
            name = f"checkpoint {self.progress.name} of run {self.job.id}"
            raise UserError(f"{name} holds arrays of other shapes than the network's variables")
        for variable, value in zip(variables, saved, strict=True):
            variable.assign(value)
