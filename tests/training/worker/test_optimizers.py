"""Our optimizers make the steps of Keras' ones, but for rounding."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from fmnist.models.architectures import build
from fmnist.run_settings import CHOICES, Training
from fmnist.tasks import FASHION
from fmnist.training.worker.optimizers import make_optimizer

STEPS = 20
KERAS = {
    "adam": keras.optimizers.Adam,
    "rmsprop": keras.optimizers.RMSprop,
    "sgd": keras.optimizers.SGD,
    "muon": keras.optimizers.Muon,
}


def train(optimizer, *, steps=STEPS, first=0, start=None):
    """Minimizes a quadratic with noise; returns the variables' values.

    `start` has the values after the `first` steps, and without it they start anew.
    """
    random = np.random.default_rng(0)
    weights = [
        keras.Variable(random.normal(size=shape).astype(np.float32)) for shape in ((7, 5), (5,))
    ]
    noise = random.normal(scale=0.3, size=(STEPS, 7, 5)).astype(np.float32)
    optimizer.build(weights)
    variables = [*weights, *optimizer.variables]
    for variable, value in zip(variables, start or [], strict=bool(start)):
        variable.assign(value)

    @tf.function(autograph=False)
    def step(noise):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum((weights[0] + noise) ** 2) + tf.reduce_sum(
                (weights[1] + noise[0]) ** 2
            )
        optimizer.apply(tape.gradient(loss, [each.value for each in weights]), weights)

    for row in noise[first : first + steps]:
        step(row)
    return [keras.ops.convert_to_numpy(variable) for variable in variables]


@pytest.mark.parametrize("schedule", ["constant", "one-cycle"])
@pytest.mark.parametrize("name", CHOICES["optimizer"])
def test_it_makes_the_steps_of_keras(name, schedule):
    training = Training(optimizer=name, learning_rate=1e-2, schedule=schedule, epochs=2)
    fused = make_optimizer(training, steps=10)
    config = fused.get_config()
    if name == "muon":
        config["adam_weight_decay"] = None  # ours has one decay for all
    own, theirs = train(fused), train(KERAS[name].from_config(config))
    for weight, expected in zip(own[:2], theirs[:2], strict=True):
        assert np.allclose(weight, expected, rtol=0, atol=2e-6)
    assert np.abs(own[0] - train(make_optimizer(training, steps=10), steps=0)[0]).max() > 0.02


@pytest.mark.parametrize("name", CHOICES["optimizer"])
def test_its_variables_are_its_whole_state(name):
    """A new optimizer that is given them goes on with the same bytes."""
    training = Training(optimizer=name, learning_rate=1e-2, schedule="one-cycle", epochs=2)

    def new():
        return make_optimizer(training, steps=10)

    begun = train(new(), steps=12)
    resumed = train(new(), steps=STEPS - 12, first=12, start=begun)
    for value, expected in zip(resumed, train(new()), strict=True):
        assert value.tobytes() == expected.tobytes()


@pytest.mark.parametrize("shape", [(3, 3, 8, 40), (5, 5, 4, 16)])
def test_muon_updates_a_convolution_by_an_orthogonal_matrix(shape):
    """As a matrix of inputs by channels, with singular values near 1 before the rate scales it."""
    kernel = keras.Variable(np.zeros(shape, np.float32), name="kernel")
    muon = make_optimizer(Training(optimizer="muon", learning_rate=0.01), steps=1)
    muon.build([kernel])
    muon.apply([tf.random.stateless_normal(shape, seed=(1, 2))], [kernel])
    matrix = keras.ops.convert_to_numpy(kernel).reshape(-1, shape[-1])
    values = np.linalg.svd(matrix, compute_uv=False) / (0.01 * 0.2 * max(matrix.shape) ** 0.5)
    assert values.min() > 0.6 and values.max() < 1.3


def test_muon_leaves_the_last_layer_to_adam():
    network = build("dense", FASHION, activation="relu", precision="float32")
    muon = make_optimizer(Training(optimizer="muon"), steps=1)
    muon.build(network.trainable_variables)
    by_muon = [velocity is None for velocity in muon.adam_velocities]  # Adam has second moments
    assert by_muon == [True, False] * 4 + [False, False]


def test_muon_leaves_what_is_no_kernel_to_adam():
    attention = keras.layers.MultiHeadAttention(2, 4)
    attention.build((None, 3, 8), (None, 3, 8))
    muon = make_optimizer(Training(optimizer="muon"), steps=1)
    muon.build(attention.trainable_variables)
    names = [variable.name for variable in attention.trainable_variables]
    assert "bias" in names and "kernel" in names
    by_muon = [velocity is None for velocity in muon.adam_velocities]
    assert by_muon == [name == "kernel" for name in names]
