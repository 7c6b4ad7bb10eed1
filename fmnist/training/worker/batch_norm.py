"""Batch normalization over the global batch, the same for any number of workers.

Keras' own layer with `synchronized=True` counts the rows that a rank only repeats to fill up its
batch, and with a mask it does not synchronize. Here the mean and the variance are those of the rows
that count, over all ranks, so all ranks have the same moving statistics without exchanging them.
Only training needs this layer: a published model has Keras' plain layer with the same weights.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf

_weights: list[tf.Tensor] = []  # those of the batch whose step is being traced


@contextmanager
def rows_that_count(weights: tf.Tensor) -> Iterator[None]:
    """Gives the layers that are called in the block the weights (n,) of the rows of their batch.

    Rows of weight 0 count neither in means nor in variances.
    """
    _weights.append(weights)
    try:
        yield
    finally:
        _weights.pop()


class GlobalBatchNormalization(keras.layers.BatchNormalization):
    """Keras' layer with statistics over the rows that count of all ranks, for the last axis.

    One rank alone has no repeated rows, and uses TensorFlow's fused kernel, which is several times
    faster than Keras' elementwise operations. Several ranks add up their sums by one collective a
    layer, and what the gradients need by a second one.
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Normalizes (n, …, channels); within `rows_that_count` by the batch, else as Keras."""
        if not (training and self.trainable and _weights):
            return super().call(inputs, training=training, mask=mask)
        rows, images = inputs.shape[0], _weights[-1].shape[0]
        if None not in (rows, images) and rows != images:  # seen when a network is checked
            raise ValueError(f"normalizes {rows} rows for {images} images, expected one for each")
        if tf.distribute.get_strategy().num_replicas_in_sync == 1:
            outputs, mean, variance = self._normalize_alone(inputs)
        else:
            gamma, beta, near = (
                tf.convert_to_tensor(variable.value)
                for variable in (self.gamma, self.beta, self.moving_mean)
            )
            outputs, mean, variance = normalize_together(
                inputs, gamma, beta, _weights[-1], near=near, epsilon=self.epsilon
            )
        self._move(self.moving_mean, mean)
        self._move(self.moving_variance, variance)
        return outputs

    def _normalize_alone(self, inputs: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        shape = tf.shape(inputs)
        # The kernel takes images alone, but which places there are does not matter to it.
        line = (shape[0], 1, -1, inputs.shape[-1])
        images = inputs if inputs.shape.rank == 4 else tf.reshape(inputs, line)
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=images,
            scale=self.gamma,
            offset=self.beta,
            mean=tf.zeros((0,)),
            variance=tf.zeros((0,)),
            epsilon=self.epsilon,
            is_training=True,
        )
        count = tf.cast(tf.reduce_prod(shape[:-1]), tf.float32)
        # The kernel's variance is that of a sample: it is divided by one less than the count.
        return tf.reshape(outputs, shape), mean, variance * (count - 1) / count

    def _move(self, moving: Any, value: tf.Tensor) -> None:
        """Moves a statistic towards the batch's `value`, on this rank; it is the same on all."""
        strategy = tf.distribute.get_strategy()
        own: tf.Variable = strategy.experimental_local_results(moving.value)[0]
        own.assign_sub((own - value) * (1 - self.momentum))


def normalize_together(
    inputs: tf.Tensor,
    gamma: tf.Tensor,
    beta: tf.Tensor,
    weights: tf.Tensor,
    *,
    near: tf.Tensor,
    epsilon: float,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns normalized `inputs` (n, …, channels), and the float32 means and variances used.

    They are those of the rows with a weight (n,) over all ranks. `near` is a guess of the means:
    of numbers around zero, the squares' mean less the mean's square is exact enough.
    """
    # More than 40 lines: the gradient needs what the forward pass has computed.
    channels, axes = inputs.shape[-1], list(range(inputs.shape.rank - 1))
    counts = tf.reshape(tf.cast(weights > 0, tf.float32), (-1, *[1] * len(axes)))
    places = tf.cast(tf.reduce_prod(tf.shape(inputs)[1:-1]), tf.float32)

    @tf.custom_gradient
    def normalize(inputs: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor) -> Any:
        x = tf.cast(inputs, tf.float32) - near
        real = x * counts
        own_count = tf.reduce_sum(counts)[None] * places
        sums = _sum_over_ranks(
            [tf.reduce_sum(real, axes), tf.reduce_sum(real * x, axes), own_count]
        )
        count = sums[-1]
        mean = sums[:channels] / count
        variance = tf.nn.relu(sums[channels:-1] / count - mean**2)
        scale = tf.math.rsqrt(variance + epsilon)
        normal = (x - mean) * scale

        def gradient(upstream: tf.Tensor, *_: Any) -> tuple[tf.Tensor, ...]:
            """Rows that don't count have none from the loss, and get none."""
            dy = tf.cast(upstream, tf.float32) * counts
            own = [tf.reduce_sum(dy, axes), tf.reduce_sum(dy * normal, axes)]
            means = _sum_over_ranks(own) / count
            dx = dy - means[:channels] - normal * means[channels:]
            return tf.cast(dx * counts * (gamma * scale), inputs.dtype), own[1], own[0]

        outputs = tf.cast(normal * gamma + beta, inputs.dtype)
        return (outputs, near + mean, variance), gradient

    found: tuple[tf.Tensor, tf.Tensor, tf.Tensor] = normalize(inputs, gamma, beta)
    return found


def _sum_over_ranks(parts: list[tf.Tensor]) -> tf.Tensor:
    """Returns the sums of these vectors over all ranks, one after the other, by one collective."""
    context = tf.distribute.get_replica_context()
    return context.all_reduce(tf.distribute.ReduceOp.SUM, tf.concat(parts, axis=0))
