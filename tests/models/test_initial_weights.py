"""Networks begin with the weights of a file, layer by layer."""

import keras
import numpy as np
import pytest

from fmnist.errors import UserError
from fmnist.models.architectures import build
from fmnist.models.initial_weights import layers_with_weights, set_initial_weights
from fmnist.tasks import FASHION, Task
from tests.support.models import network_of, separable

DIGITS = Task(name="digits", classes=tuple("0123456"), shape=FASHION.shape)
BACKBONE = "x = layers.Conv2D(4, 3)(images)\nx = layers.BatchNormalization()(x)\n"
POOLED = BACKBONE + "return layers.GlobalAveragePooling2D()(x)"


def make(own, task=FASHION, seed=0):
    keras.utils.set_random_seed(seed)
    return build("own", task, activation="relu", precision="float32", own=own)


def saved(model, folder):
    model.save(folder / "model.keras")
    return (folder / "model.keras").read_bytes()


def begin(model, data, freeze=0):
    return set_initial_weights(model, data, freeze=freeze, where="model.keras")


def equal_layers(first, second):
    """Returns, for each layer with weights, True if both models have the same."""
    pairs = zip(layers_with_weights(first), layers_with_weights(second), strict=True)
    return [
        all(map(np.array_equal, one.get_weights(), other.get_weights())) for one, other in pairs
    ]


def test_a_network_begins_with_all_weights_of_another_run_of_it(tmp_path):
    before, model = make(separable()), make(separable(), seed=1)
    for weight in before.weights:  # moving statistics too, which every new network has alike
        weight.assign(weight + 0.5)
    assert not any(equal_layers(before, model))
    assert begin(model, saved(before, tmp_path)) == 5
    assert all(equal_layers(before, model))
    assert all(layer.trainable for layer in model.layers)


def test_so_does_one_of_several_branches(tmp_path):
    before, model = (
        build("inception", FASHION, activation="relu", precision="float32") for _ in range(2)
    )
    assert begin(model, saved(before, tmp_path)) == 11
    images = np.random.default_rng(0).integers(0, 256, (3, 28, 28, 1), np.uint8)
    assert np.array_equal(model(images), before(images))


def test_the_classifier_of_other_classes_is_new(tmp_path):
    before, model = make(separable()), make(separable(), DIGITS, seed=1)
    assert begin(model, saved(before, tmp_path), freeze=4) == 4
    assert equal_layers(before, model) == [True, True, True, True, False]
    names = {weight.path for weight in model.trainable_weights}
    assert names == {"probabilities/kernel", "probabilities/bias"}
    images = np.ones((2, 28, 28, 1), np.uint8)
    trained, plain = (model(images, training=mode).numpy() for mode in (True, False))
    assert np.array_equal(trained, plain)  # frozen normalization keeps its moving statistics


def test_a_backbone_is_the_beginning_of_a_network(tmp_path):
    """Here without a classifier, and nested as Keras' own applications are."""
    pixels = keras.Input(FASHION.shape)
    layers = keras.layers
    inner = keras.Model(pixels, layers.BatchNormalization()(layers.Conv2D(4, 3)(pixels)))
    backbone = keras.Sequential([keras.Input(FASHION.shape), inner, layers.Flatten()])
    model = make(network_of(BACKBONE + "return layers.Dense(5)(layers.Flatten()(x))"))
    assert begin(model, saved(backbone, tmp_path)) == 2
    assert np.array_equal(model.layers[2].get_weights()[0], inner.layers[1].get_weights()[0])


@pytest.mark.parametrize(
    ("body", "freeze", "problem"),
    [
        (
            "x = layers.Conv2D(8, 3)(images)\nreturn layers.Flatten()(x)",
            0,
            r"model.keras: layer 1 with weights is Conv2D \(kernel \(3, 3, 1, 4\), bias \(4,\)\), "
            r"but the network has Conv2D \(kernel \(3, 3, 1, 8\), bias \(8,\)\)$",
        ),
        ("return layers.Flatten()(images)", 0, "layer 1 with weights is Conv2D"),
        (POOLED, 3, "freeze is 3, expected at most 2: .* 3 layers with weights, 3 have initial"),
        (POOLED.replace("2D()(x)", "2D()(x)[:, :3]"), 3, "freeze is 3, expected at most 2: .*, 2"),
    ],
)
def test_what_does_not_fit_is_refused(body, freeze, problem, tmp_path):
    data = saved(make(network_of(POOLED)), tmp_path)
    with pytest.raises(UserError, match=problem):
        begin(make(network_of(body)), data, freeze=freeze)
