"""Optimizers, with the schedules of the learning rate.

Keras' own optimizers pass over all weights once for each elementwise operation, about twelve times
for Adam. These do the same arithmetic in one of TensorFlow's fused kernels, which took a quarter of
the time for the CNN's weights. They differ from Keras' by rounding alone, and keep Keras' arguments
and variables.
"""

from typing import Any

import keras
import tensorflow as tf

from fmnist.models.architectures import OUTPUT
from fmnist.run_settings import Training

NO_KERNELS = ("bias", "beta", "gamma", "embeddings")  # Keras' names of variables
START = 1 / 25  # of the peak: the rate of the first step
WARM_UP = 1 / 4  # of all steps of the run


class FusedAdam(keras.optimizers.Adam):
    """Keras' Adam in one pass over the weights."""

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Updates one variable and its two moments."""
        index = self._get_variable_index(variable)
        step = tf.cast(self.iterations + 1, variable.dtype)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=tf.pow(tf.cast(self.beta_1, variable.dtype), step),
            beta2_power=tf.pow(tf.cast(self.beta_2, variable.dtype), step),
            lr=learning_rate,
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=gradient,
        )


class FusedRMSprop(keras.optimizers.RMSprop):
    """Keras' RMSprop in one pass over the weights; the kernel wants a momentum, which is 0."""

    def build(self, variables: Any) -> None:
        """Adds the momenta, which Keras has only where they are used."""
        super().build(variables)
        self._momentums = self.add_optimizer_variables(variables, "momentum")

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Updates one variable and the mean of its squared gradients."""
        index = self._get_variable_index(variable)
        tf.raw_ops.ResourceApplyRMSProp(
            var=variable.handle,
            ms=self._velocities[index].value.handle,
            mom=self._momentums[index].value.handle,
            lr=learning_rate,
            rho=self.rho,
            momentum=0.0,
            epsilon=self.epsilon,
            grad=gradient,
        )


class FusedSGD(keras.optimizers.SGD):
    """Keras' SGD without momentum in one pass over the weights."""

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Updates one variable."""
        tf.raw_ops.ResourceApplyGradientDescent(
            var=variable.handle, alpha=learning_rate, delta=gradient
        )


class KernelMuon(keras.optimizers.Muon):
    """Keras' Muon, which makes the update of a matrix orthogonal, for convolutions as well.

    A convolution's kernel is a matrix of its inputs by its channels, as in Keller Jordan's Muon
    (2024); Keras leaves such kernels to Adam. The last layer, biases, normalization and embeddings
    stay with Adam. The rate is scaled so that updates are as large as Adam's (Liu et al.,
    arXiv:2502.16982).
    """

    def _should_use_adamw(self, variable: Any) -> bool:
        kernel = len(variable.shape) > 1 and not variable.name.endswith(NO_KERNELS)
        return not kernel or variable.path.startswith(OUTPUT)

    def zeropower_via_newtonschulz5(self, x: Any, steps: int) -> Any:
        """Returns a kernel of the same shape, made orthogonal as a matrix."""
        matrix = tf.reshape(x, (-1, x.shape[-1]))
        return tf.reshape(super().zeropower_via_newtonschulz5(matrix, steps), x.shape)

    def lr_adjust(self, x: Any) -> Any:
        """Scales the update of a kernel by the longer side of its matrix."""
        channels = x.shape[-1]
        return x * (self.rms_rate * max(x.shape.num_elements() // channels, channels) ** 0.5)

    def _apply_weight_decay(self, variables: Any) -> None:
        """As in other optimizers: Muon's own way can't be used under a distribution strategy."""
        super(keras.optimizers.Muon, self)._apply_weight_decay(variables)


CLASSES: dict[str, type[keras.optimizers.Optimizer]] = {
    "adam": FusedAdam,
    "rmsprop": FusedRMSprop,
    "sgd": FusedSGD,
    "muon": KernelMuon,
}


def make_optimizer(training: Training, steps: int) -> keras.optimizers.Optimizer:
    """Makes the optimizer with Keras' defaults and our learning rate; `steps` are in an epoch."""
    optimizer = CLASSES[training.optimizer](
        _schedule(training, steps), weight_decay=training.weight_decay or None
    )
    # Decay of these only slows down what normalization and biases are for.
    optimizer.exclude_from_weight_decay(var_names=["bias", "beta", "gamma"])
    return optimizer


def learning_rate(training: Training, steps: int, step: int) -> float:
    """Returns the rate of step `step` of the run, counted from 0."""
    schedule = _schedule(training, steps)
    return float(schedule if isinstance(schedule, float) else schedule(step))


def _schedule(
    training: Training, steps: int
) -> float | keras.optimizers.schedules.LearningRateSchedule:
    if training.schedule == "constant":
        return training.learning_rate
    total = steps * training.epochs
    warm_up = int(total * WARM_UP)
    # One-cycle (Smith & Topin, arXiv:1708.07120), with a cosine down to zero.
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=training.learning_rate * START,
        warmup_target=training.learning_rate,
        warmup_steps=warm_up,
        decay_steps=total - warm_up,
    )
