"""Seeds of a worker's random numbers, so that a run draws the same whether or not it resumes."""

import keras
import numpy as np


def seed_dropout(model: keras.Model, *, seed: int, epoch: int, step: int, rank: int) -> None:
    """Sets the state of each dropout layer's generator for `step` steps into this epoch.

    A checkpoint does not hold these states. They follow from the arguments alone, so the masks of
    each rank are the same whether or not the run was interrupted.
    """
    for index, layer in enumerate(model.layers):
        if isinstance(layer, keras.layers.Dropout):
            state = np.random.SeedSequence([seed, epoch, rank, index]).generate_state(2, np.uint32)
            state += np.array([0, step], np.uint32)  # as the generator itself counts its draws
            layer.seed_generator.state.assign(state)
