"""Seeds of a worker's random numbers, so that a run draws the same whether or not it resumes."""

import keras
import numpy as np


def seed_dropout(model: keras.Model, *, seed: int, epoch: int, step: int, rank: int) -> None:
    """Sets the states of the layers' random generators for `step` steps into this epoch.

    A checkpoint does not hold these states. They follow from the arguments alone, so the masks of
    each rank are the same whether or not the run was interrupted. Each layer draws once a step.
    """
    for index, layer in enumerate(model._flatten_layers(include_self=False)):
        for number, generator in enumerate(layer._seed_generators):
            key = [seed, epoch, rank, index, *([number] if number else [])]
            state = np.random.SeedSequence(key).generate_state(2, np.uint32)
            state += np.array([0, step], np.uint32)  # as the generator itself counts its draws
            generator.state.assign(state)
