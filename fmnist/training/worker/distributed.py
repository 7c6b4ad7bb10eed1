"""Trains Keras 3 models under TensorFlow's MultiWorkerMirroredStrategy.

Keras 3 does not support this strategy (keras-team/keras#20585). Three things stand in the way, and
this module works around each of them:

1. Before it builds a model, its trainer averages a first batch over the workers, which fails.
   Our models, metrics and optimizers are built before `fit`, so that step is left out.
2. After each step it reduces what `train_step` returned over axis 0, which fails for scalars:
   hence the leading axis in `_summed_by_keras`.
3. At the end of a finite data set the workers have to agree that it is over: hence endless data
   sets and fixed numbers of steps.

Ray's own TensorflowTrainer asks its workers for the legacy Keras 2 (`TF_USE_LEGACY_KERAS`), which
only concerns `tf.keras`; we import `keras`, and `fmnist.training.backend` does not ask.
"""

import os
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from fmnist import machine
from fmnist.training.batches import Batch
from fmnist.training.worker.averaging import WeightAverage
from fmnist.training.worker.batch_norm import rows_that_count


def start_strategy(
    *, threads: int, world: int, deterministic: bool = True
) -> tf.distribute.Strategy:
    """Configures TensorFlow, and joins the other workers; returns the strategy for the model.

    It must be the first call of TensorFlow in this process. A single worker gets the same strategy
    without a cluster, and so without collectives.
    """
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    if deterministic:
        tf.config.experimental.enable_op_determinism()
    gpus = tf.config.get_visible_devices("GPU")
    if world == 1:
        os.environ.pop("TF_CONFIG", None)
    collectives = tf.distribute.experimental.CommunicationImplementation
    strategy = tf.distribute.MultiWorkerMirroredStrategy(
        communication_options=tf.distribute.experimental.CommunicationOptions(
            implementation=collectives.NCCL if gpus else collectives.AUTO
        )
    )
    # A worker with more replicas than one would train on other losses and batches.
    assert strategy.num_replicas_in_sync == world
    return strategy


class DistributedModel(keras.Model):
    """A functional classifier whose steps are the same for any number of workers.

    Batches are (images, labels, weights) from `training.batches`. The loss of a global batch is the
    sum of its weighted losses over all ranks, and the optimizer adds up the gradients of all ranks.
    With `label_smoothing`, gradients are those of smoothed labels, but the losses that it tells are
    not. With `average_weights`, `average` has the moving average of the weights, of that decay.
    """

    def __init__(
        self,
        *args: Any,
        label_smoothing: float = 0.0,
        average_weights: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._label_smoothing = label_smoothing
        weights = self.weights if average_weights else []
        self.average = WeightAverage(weights, average_weights)
        self._loss_mean = keras.metrics.Mean("loss")
        self._accuracy_mean = keras.metrics.Mean("accuracy")
        self._preempted = tf.Variable(
            0.0,
            trainable=False,
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )

    def preempt_all_ranks(self) -> None:
        """Makes `preempted` positive in the logs of all ranks from the next step on.

        All ranks have to end at the same step: a rank that trained on would wait for ever for the
        gradients of the others.
        """
        self._own(self._preempted).assign(1.0)

    @property
    def metric_sums(self) -> np.ndarray:
        """This rank's sums and counts (float32), from which the epoch's metrics are computed."""
        return np.array([self._own(sum_).numpy() for sum_ in self._sums()], np.float32)

    @metric_sums.setter
    def metric_sums(self, values: np.ndarray) -> None:
        for sum_, value in zip(self._sums(), values, strict=True):
            self._own(sum_).assign(value)

    def _sums(self) -> list[Any]:
        return [variable.value for metric in self.metrics for variable in metric.variables]

    def _own(self, variable: Any) -> tf.Variable:
        """Returns this rank's part of a variable that is a sum over the ranks."""
        own: tf.Variable = self.distribute_strategy.experimental_local_results(variable)[0]
        return own

    def get_metrics_result(self) -> dict[str, Any]:
        """Adds `preempted`: Keras uses the metrics only if they are named like a step's logs."""
        return {**super().get_metrics_result(), "preempted": 0.0}

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """Means over the examples of all ranks."""
        return [self._loss_mean, self._accuracy_mean]

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Makes one optimizer step; returns loss and accuracy of the global batch."""
        images, labels, weights = data
        with tf.GradientTape() as tape:
            with rows_that_count(weights):
                probabilities = self(images, training=True)
            losses, correct = self._losses_and_correct(labels, probabilities)
            loss = tf.reduce_sum(losses * weights)
            minimized = tf.reduce_sum(self._smoothed(losses, probabilities) * weights)
        variables = self.trainable_variables
        gradients = tape.gradient(minimized, variables)
        self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        self.average.update(self.optimizer.iterations)
        self._count(losses, correct, weights)
        accuracy = tf.reduce_sum(correct * weights)
        logs = {"loss": loss, "accuracy": accuracy, "preempted": self._preempted + 0.0}
        return {name: _summed_by_keras(value) for name, value in logs.items()}

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Adds one batch to the metrics; Keras replaces what it returns by them in the end."""
        images, labels, weights = data
        losses, correct = self._losses_and_correct(labels, self(images, training=False))
        self._count(losses, correct, weights)
        return {name: _summed_by_keras(tf.zeros(())) for name in ("loss", "accuracy", "preempted")}

    @staticmethod
    def _losses_and_correct(
        labels: tf.Tensor, probabilities: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns each example's loss, and 1 where the most probable class is right, else 0."""
        losses = keras.losses.sparse_categorical_crossentropy(labels, probabilities)
        guesses = tf.argmax(probabilities, axis=-1, output_type=labels.dtype)
        return losses, tf.cast(guesses == labels, tf.float32)

    def _smoothed(self, losses: tf.Tensor, probabilities: tf.Tensor) -> tf.Tensor:
        """Returns the losses for labels of which a part is spread evenly over all classes."""
        if not self._label_smoothing:
            return losses
        logs = tf.math.log(tf.maximum(probabilities, keras.backend.epsilon()))
        spread = -tf.reduce_mean(logs, axis=-1)
        return losses + self._label_smoothing * (spread - losses)

    def _count(self, losses: tf.Tensor, correct: tf.Tensor, weights: tf.Tensor) -> None:
        real = tf.cast(weights > 0, tf.float32)
        self._loss_mean.update_state(losses, sample_weight=real)
        self._accuracy_mean.update_state(correct, sample_weight=real)

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        """Does nothing, since all is built already; see 1 above."""


def _summed_by_keras(value: tf.Tensor) -> tf.Tensor:
    """Changes a rank's part of a sum so that Keras' reduction gives the sum; see 2 above."""
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    return value if replicas == 1 else tf.reshape(value * replicas, (1,))


def endless_dataset(
    strategy: tf.distribute.Strategy,
    shape: tuple[int, int, int],
    batches: Callable[[], Iterator[Batch]],
) -> tf.distribute.DistributedDataset:
    """Makes a data set of this rank's own batches; each iteration goes on where the last ended.

    TensorFlow neither shards nor resizes the batches. Keep a reference to the data set until the
    process ends: to delete an iterator takes up to a minute, since it waits for a thread of its
    autotuner that sleeps. Keras would make a new iterator for each validation, which cost up to
    20 s an epoch; so all iterations share one iterator here.
    """
    signature = (
        tf.TensorSpec((None, *shape), tf.uint8),
        tf.TensorSpec((None,), tf.int64),
        tf.TensorSpec((None,), tf.float32),
    )
    local = tf.data.Dataset.from_generator(batches, output_signature=signature).prefetch(2)
    # Else all ranks would ask each other before each step whether all of them have a batch left.
    local = local.apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY))
    dataset = strategy.distribute_datasets_from_function(lambda _: local)
    iterator = iter(dataset)
    # Keras recognizes a distributed data set by its class, so this has to be a subclass of it.
    dataset.__class__ = type("Endless", (type(dataset),), {"__iter__": lambda _: iterator})
    return dataset


def gather_rows(strategy: tf.distribute.Strategy, rows: np.ndarray) -> np.ndarray:
    """Returns the rows of all ranks in the order of the ranks, on every rank."""
    if strategy.num_replicas_in_sync == 1:
        return rows
    gathered: np.ndarray = strategy.gather(tf.constant(rows), axis=0).numpy()
    return gathered


def best_precision() -> str:
    """Returns bfloat16 if every GPU, or without GPUs the processor, multiplies it natively."""
    gpus = tf.config.get_visible_devices("GPU")
    if gpus:
        details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
        modern = all(detail.get("compute_capability", (0, 0)) >= (8, 0) for detail in details)
        return "bfloat16" if modern else "float32"
    return "bfloat16" if machine.has_bfloat16() else "float32"
