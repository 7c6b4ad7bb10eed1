"""Keras 3 under TensorFlow's MultiWorkerMirroredStrategy: the one place that knows how.

Keras 3 does not support this strategy (keras-team/keras#20585); three things stand in the way:

1. Before it builds a model, its trainer averages a first batch over the workers, which fails.
   Our models, metrics and optimizers are built before `fit`, so that step is left out.
2. After each step it reduces what `train_step` returned over axis 0, which fails for scalars:
   hence the leading axis in `_for_reduction`.
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


def start(*, threads: int, world: int, deterministic: bool = True) -> tf.distribute.Strategy:
    """Sets up this process, once and before any other TensorFlow call, and joins the workers.

    One worker gets the same strategy without a cluster, and so without collectives.
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
    # The losses and the batches are made for one replica a worker.
    assert strategy.num_replicas_in_sync == world
    return strategy


class DistributedModel(keras.Model):
    """A functional classifier whose step is exact for any number of workers.

    Batches are (images, labels, weights) from `fmnist.training.batches`. A global batch's loss is the sum of
    its weighted losses over all ranks; the optimizer adds the ranks' gradients up.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._loss_mean = keras.metrics.Mean("loss")
        self._accuracy_mean = keras.metrics.Mean("accuracy")
        self._pause = tf.Variable(
            0.0,
            trainable=False,
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )

    def pause(self) -> None:
        """From the next step on, `pause` is above zero in the logs of every rank.

        They have to stop at the same step, or those that go on would wait for the others for ever.
        """
        self._own(self._pause).assign(1.0)

    @property
    def sums(self) -> np.ndarray:
        """This rank's part of the sums and counts (float32) behind the metrics of this epoch."""
        return np.array([self._own(sum_).numpy() for sum_ in self._sums()], np.float32)

    @sums.setter
    def sums(self, values: np.ndarray) -> None:
        for sum_, value in zip(self._sums(), values, strict=True):
            self._own(sum_).assign(value)

    def _sums(self) -> list[Any]:
        return [variable.value for metric in self.metrics for variable in metric.variables]

    def _own(self, variable: Any) -> tf.Variable:
        """This rank's part of a variable that is a sum over the ranks."""
        return self.distribute_strategy.experimental_local_results(variable)[0]

    def get_metrics_result(self) -> dict[str, Any]:
        """With `pause`: Keras goes by the metrics only if they have the names of a step's logs."""
        return {**super().get_metrics_result(), "pause": 0.0}

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """Means over examples, added up over the ranks when they are read."""
        return [self._loss_mean, self._accuracy_mean]

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """One optimizer step; returns the global batch's loss and accuracy."""
        images, labels, weights = data
        with tf.GradientTape() as tape:
            losses, correct = self._judge(labels, self(images, training=True))
            loss = tf.reduce_sum(losses * weights)
        variables = self.trainable_variables
        gradients = tape.gradient(loss, variables)
        self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        self._count(losses, correct, weights)
        accuracy = tf.reduce_sum(correct * weights)
        logs = {"loss": loss, "accuracy": accuracy, "pause": self._pause + 0.0}
        return {name: _for_reduction(value) for name, value in logs.items()}

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Counts one batch; what it returns is replaced by the metrics when the epoch ends."""
        images, labels, weights = data
        losses, correct = self._judge(labels, self(images, training=False))
        self._count(losses, correct, weights)
        return {name: _for_reduction(tf.zeros(())) for name in ("loss", "accuracy", "pause")}

    @staticmethod
    def _judge(labels: tf.Tensor, probabilities: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        losses = keras.losses.sparse_categorical_crossentropy(labels, probabilities)
        guesses = tf.argmax(probabilities, axis=-1, output_type=labels.dtype)
        return losses, tf.cast(guesses == labels, tf.float32)

    def _count(self, losses: tf.Tensor, correct: tf.Tensor, weights: tf.Tensor) -> None:
        real = tf.cast(weights > 0, tf.float32)
        self._loss_mean.update_state(losses, sample_weight=real)
        self._accuracy_mean.update_state(correct, sample_weight=real)

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        """Nothing is left to build; see 1 above."""


def _for_reduction(value: tf.Tensor) -> tf.Tensor:
    """Of a rank's part of a sum: what Keras' reduction turns into the sum; see 2 above."""
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    return value if replicas == 1 else tf.reshape(value * replicas, (1,))


def endless(
    strategy: tf.distribute.Strategy,
    shape: tuple[int, int, int],
    batches: Callable[[], Iterator[Batch]],
) -> tf.distribute.DistributedDataset:
    """This rank's own batches, for `fit`: each iteration goes on where the last one ended.

    TensorFlow neither shards nor resizes the batches. Keep the data set as long as time matters: an
    iterator that goes waits for its autotuner, which sleeps 10, 20, 40 … ms in turn, up to a
    minute, and is not woken. Keras makes a new iterator for each validation, which cost up to 20 s
    an epoch; so there is only one iterator here.
    """
    signature = (
        tf.TensorSpec((None, *shape), tf.uint8),
        tf.TensorSpec((None,), tf.int64),
        tf.TensorSpec((None,), tf.float32),
    )
    local = tf.data.Dataset.from_generator(batches, output_signature=signature).prefetch(2)
    dataset = strategy.distribute_datasets_from_function(lambda _: local)
    iterator = iter(dataset)
    # Keras tells a distributed data set by the name of its class, so it has to be a subclass.
    dataset.__class__ = type("Endless", (type(dataset),), {"__iter__": lambda _: iterator})
    return dataset


def seed_dropout(model: keras.Model, *, seed: int, epoch: int, step: int, rank: int) -> None:
    """Gives each dropout layer the masks of this rank in this epoch, after so many of its steps.

    Keras saves weights and optimizer but not these generators, so a resumed run would else draw
    other masks than the uninterrupted one.
    """
    for index, layer in enumerate(model.layers):
        if isinstance(layer, keras.layers.Dropout):
            state = np.random.SeedSequence([seed, epoch, rank, index]).generate_state(2, np.uint32)
            state += np.array([0, step], np.uint32)  # as the generator itself does at each draw
            layer.seed_generator.state.assign(state)


def gather(strategy: tf.distribute.Strategy, rows: np.ndarray) -> np.ndarray:
    """All ranks' rows, one rank's after the other's, on every rank."""
    if strategy.num_replicas_in_sync == 1:
        return rows
    return strategy.gather(tf.constant(rows), axis=0).numpy()


def best_precision() -> str:
    """`bfloat16` where the processor or every GPU multiplies it natively, else `float32`."""
    gpus = tf.config.get_visible_devices("GPU")
    if gpus:
        details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
        modern = all(detail.get("compute_capability", (0, 0)) >= (8, 0) for detail in details)
        return "bfloat16" if modern else "float32"
    return "bfloat16" if machine.has_bfloat16() else "float32"
