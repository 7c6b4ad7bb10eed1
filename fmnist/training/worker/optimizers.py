"""Optimizers, with the schedules of the learning rate."""

import keras

from fmnist.settings import Training

CLASSES = {
    "adam": keras.optimizers.Adam,
    "rmsprop": keras.optimizers.RMSprop,
    "sgd": keras.optimizers.SGD,
}
START = 1 / 25  # of the peak: the rate of the first step
WARM_UP = 1 / 4  # of all steps of the run


def make_optimizer(training: Training, steps: int) -> keras.optimizers.Optimizer:
    """Makes the optimizer with Keras' defaults and our learning rate; `steps` are in an epoch."""
    return CLASSES[training.optimizer](_schedule(training, steps))


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
