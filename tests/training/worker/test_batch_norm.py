"""Both ways of normalizing are Keras' way, over the rows that count."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from fmnist.training.worker.batch_norm import (
    GlobalBatchNormalization,
    normalize_together,
    rows_that_count,
)

RANDOM = np.random.default_rng(0)
INPUTS = RANDOM.normal(3, 2, (6, 5, 4, 3)).astype(np.float32)
UPSTREAM = RANDOM.normal(size=INPUTS.shape).astype(np.float32)


def layers(shape=INPUTS.shape):
    """Keras' layer and ours, with the same weights and moving statistics."""
    both = keras.layers.BatchNormalization(momentum=0.9), GlobalBatchNormalization(momentum=0.9)
    for layer in both:
        layer.build((None, *shape[1:]))
        layer.set_weights(
            np.array([[1.5, 0.5, -1], [0.2, 0, -0.3], [2, 3, 4], [1, 4, 2]], np.float32)
        )
    return both


def outputs_and_gradients(layer, inputs, upstream):
    """Outputs in training, and gradients for inputs, gamma and beta."""
    inputs = tf.constant(inputs)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = layer(inputs, training=True)
        loss = tf.reduce_sum(outputs * upstream)
    variables = [inputs, layer.gamma.value, layer.beta.value]
    return [outputs, *tape.gradient(loss, variables)]


def assert_close(found, expected):
    for one, other in zip(found, expected, strict=True):
        assert np.allclose(one, other, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("rank", [2, 3, 4, 5])
def test_the_fused_kernel_is_keras_layer(rank):
    places = {2: (0, 0), 3: (0,), 4: (), 5: (None,)}[rank]
    inputs, upstream = (each[:, *places] for each in (INPUTS, UPSTREAM))
    theirs, ours = layers(inputs.shape)
    expected = outputs_and_gradients(theirs, inputs, upstream)
    with rows_that_count(tf.ones(len(inputs))):
        assert_close(outputs_and_gradients(ours, inputs, upstream), expected)
    assert_close(ours.get_weights(), theirs.get_weights())


def test_outside_of_training_it_is_keras_layer():
    theirs, ours = layers()
    with rows_that_count(tf.ones(len(INPUTS))):
        assert np.array_equal(ours(INPUTS, training=False), theirs(INPUTS, training=False))


def test_rows_of_weight_zero_count_in_nothing():
    """Keras' layer gets the other rows alone."""
    weights = np.array([0.2, 0, 0.2, 0.2, 0, 0.2], np.float32)
    real = weights > 0
    theirs, _ = layers()
    outputs, *gradients = outputs_and_gradients(theirs, INPUTS[real], UPSTREAM[real])
    gamma, beta, mean, _ = map(tf.constant, layers()[0].get_weights())
    inputs = tf.constant(INPUTS)
    with tf.GradientTape() as tape:
        tape.watch([inputs, gamma, beta])
        found, means, variances = normalize_together(
            inputs, gamma, beta, tf.constant(weights), near=mean, epsilon=theirs.epsilon
        )
        loss = tf.reduce_sum(found * UPSTREAM * real[:, None, None, None])
    of_inputs, *of_weights = tape.gradient(loss, [inputs, gamma, beta])
    assert_close([found[real], of_inputs[real], *of_weights], [outputs, *gradients])
    assert not np.any(of_inputs[~real])
    assert_close(
        [means, variances],
        [INPUTS[real].mean(axis=(0, 1, 2)), INPUTS[real].var(axis=(0, 1, 2))],
    )
