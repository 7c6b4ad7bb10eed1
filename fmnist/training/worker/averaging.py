"""A moving average of the weights over the steps of a run (Polyak & Juditsky, 1992).

Keras' optimizers have one, too, but without the moving statistics of batch normalization, and Keras
overwrites the weights with it after each `fit`, so that an interrupted run would end elsewhere.
"""

from typing import Any

import tensorflow as tf


class WeightAverage:
    """The moving averages of `weights`, which begin where the weights begin.

    Every rank computes them on its own, since all ranks have the same weights. Make it in the scope
    of the strategy.
    """

    def __init__(self, weights: list[Any], decay: float) -> None:
        self._weights = [weight.value for weight in weights]
        self._decay = decay
        self.variables = [tf.Variable(weight, trainable=False) for weight in self._weights]

    def update(self, steps: Any) -> None:
        """Moves the averages after step number `steps`; early ones soon forget the beginning."""
        done = tf.cast(steps, tf.float32)
        decay = tf.minimum(self._decay, (1 + done) / (10 + done))
        for average, weight in self._own_pairs():
            average.assign_sub((average - weight) * (1 - decay))

    def swap(self) -> None:
        """Exchanges weights and averages, bit by bit."""
        for average, weight in self._own_pairs():
            value = average.numpy()
            average.assign(weight)
            weight.assign(value)

    def _own_pairs(self) -> list[tuple[tf.Variable, tf.Variable]]:
        """Returns this rank's averages, each with its weight."""
        own = tf.distribute.get_strategy().experimental_local_results
        pairs = zip(self.variables, self._weights, strict=True)
        return [(own(average)[0], own(weight)[0]) for average, weight in pairs]
