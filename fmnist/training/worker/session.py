"""One rank of a run: its model and optimizer, and how far it has trained."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, TypedDict

import keras
import numpy as np
import ray.train
import tensorflow as tf
from ray.train.collective import broadcast_from_rank_zero

from fmnist.errors import UserError
from fmnist.models.architectures import build
from fmnist.models.initial_weights import set_initial_weights
from fmnist.models.own_network import OwnNetwork
from fmnist.run_settings import Training
from fmnist.runs.history import EpochRow
from fmnist.tasks import Task
from fmnist.training.batches import Batch
from fmnist.training.checkpoints import Checkpoints, TrainingState
from fmnist.training.spec import RunContext, RunSpec
from fmnist.training.worker import distributed
from fmnist.training.worker.batch_norm import GlobalBatchNormalization
from fmnist.training.worker.optimizers import make_optimizer

POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}  # Keras' names


class NetworkSize(TypedDict):
    """Numbers of a network's parameters, and of its layers that have any."""

    parameters: int
    layers: int


class StartupTimer:
    """Measures the phases of a worker's start, up to its first step; `seconds` has them by name."""

    def __init__(self, begin: float) -> None:
        self._last = begin  # as `time.perf_counter` gives it
        self.seconds: dict[str, float] = {}

    def phase_done(self, name: str) -> None:
        """Ends a phase, which began when the one before it ended."""
        now = time.perf_counter()
        self.seconds[name], self._last = now - self._last, now


@dataclass(kw_only=True)
class Session:
    """Holds what all parts of a worker share; `state` is the run's state after the last epoch."""

    rank: int
    world: int
    spec: RunSpec
    context: RunContext
    strategy: tf.distribute.Strategy
    model: distributed.DistributedModel
    state: TrainingState
    checkpoints: Checkpoints
    startup: StartupTimer
    input_error: UserError | None = None

    def keep_error(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """Yields the batches; keeps the UserError that TensorFlow would hide in one of its own."""
        try:
            yield from batches
        except UserError as error:
            self.input_error = error
            raise

    def finish_epoch(self, row: EpochRow) -> None:
        """Moves the state on to the end of the epoch that `row` describes."""
        self.state = replace(
            self.state,
            epoch=row["epoch"],
            step=0,
            history=[*self.state.history, row],
            sums=[],
            seconds=0.0,
        )

    def save_checkpoint(self, state: TrainingState) -> None:
        """Saves the variables as they are now as those of `state`; only rank 0 does this."""
        assert self.rank == 0
        self.checkpoints.save(state, self.variable_values())

    def variable_values(self) -> list[np.ndarray]:
        """Returns what a checkpoint holds: weights, their averages, the optimizer's variables."""
        return [keras.ops.convert_to_numpy(variable) for variable in self._variables()]

    def restore(self, saved: list[np.ndarray]) -> None:
        """Sets all variables; UserError if the saved arrays have other shapes."""
        variables = self._variables()
        if [value.shape for value in saved] != [tuple(each.shape) for each in variables]:
            name = f"checkpoint {self.state.name} of run {self.spec.id}"
            raise UserError(f"{name} holds arrays of other shapes than the network's variables")
        for variable, value in zip(variables, saved, strict=True):
            variable.assign(value)

    def published_weights(self, values: list[np.ndarray]) -> list[np.ndarray]:
        """Returns the weights to publish, of the `values` of a checkpoint: averages if any."""
        first, count = len(self.model.average.variables), len(self.model.weights)
        return values[first : first + count]

    def network_size(self) -> NetworkSize:
        """Counts the parameters and layers of the network."""
        layers = sum(bool(layer.weights) for layer in self.model.layers)
        return NetworkSize(parameters=self.model.count_params(), layers=layers)

    def _variables(self) -> list[Any]:
        model = self.model
        return [*model.weights, *model.average.variables, *model.optimizer.variables]


def start_session(spec: RunSpec, context: RunContext, startup: StartupTimer) -> Session:
    """Joins the other workers, builds the model, and restores the newest checkpoint, if any.

    Raises UserError for a checkpoint that can't be read or that is of another network.
    """
    train_context = ray.train.get_context()
    rank, world = train_context.get_world_rank(), train_context.get_world_size()
    strategy = distributed.start_strategy(
        threads=spec.cluster.cpus_per_worker or 1,
        world=world,
        deterministic=spec.training.deterministic,
    )
    checkpoints = Checkpoints(
        storage=spec.storage, run=spec.folder, keep=spec.cluster.keep_checkpoints
    )
    state, saved = _find_state(spec, checkpoints, rank)
    session = Session(
        rank=rank,
        world=world,
        spec=spec,
        context=context,
        strategy=strategy,
        model=_build_model(spec, strategy, POLICIES[state.precision]),
        state=state,
        checkpoints=checkpoints,
        startup=startup,
    )
    if saved:
        session.restore(saved)
    startup.phase_done("building the model and restoring its state")
    return session


def _find_state(
    spec: RunSpec, checkpoints: Checkpoints, rank: int
) -> tuple[TrainingState, list[np.ndarray]]:
    """Returns the state to start from, with its variables; none of them for a new run.

    Rank 0 chooses the checkpoint, and all other ranks load the same one.
    """
    newest = None
    if rank == 0:
        newest = checkpoints.newest(best=spec.training.select == "best")
    if newest is None:
        wanted = spec.training.precision
        precision = distributed.best_precision() if wanted == "auto" else wanted
        newest = TrainingState(precision=precision), []
    state: TrainingState = broadcast_from_rank_zero(newest[0])
    if rank == 0 or not (state.epoch or state.step):
        return state, newest[1]
    return checkpoints.load(state.name)


def build_network(training: Training, task: Task, policy: str, *, own: OwnNetwork | None) -> Any:
    """Builds the network with its initial weights, which follow from the run's seed."""
    keras.utils.set_random_seed(training.seed)
    return build(
        training.architecture,
        task,
        activation=training.activation,
        precision=policy,
        batch_normalization=GlobalBatchNormalization,
        own=own,
    )


def _build_model(
    spec: RunSpec, strategy: tf.distribute.Strategy, policy: str
) -> distributed.DistributedModel:
    training = spec.training
    with strategy.scope():
        plain = build_network(training, spec.task, policy, own=spec.network)
        if file := spec.initial_weights:
            set_initial_weights(plain, file.read(), freeze=training.freeze, where=file.given)
        model = distributed.DistributedModel(
            plain.inputs,
            plain.outputs,
            label_smoothing=training.label_smoothing,
            average_weights=training.average_weights,
        )
        model.compile(
            optimizer=make_optimizer(training, spec.steps_per_epoch),
            jit_compile=False,  # XLA on a CPU made an epoch of the CNN six times slower
        )
        model.optimizer.build(model.trainable_variables)
    return model
