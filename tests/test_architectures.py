"""The networks have the report's parameters, layer by layer, and take raw pixels."""

import numpy as np
import pytest

from fmnist.architectures import build
from fmnist.tasks import COMPETITION, FASHION, Task

LAYERS = {"cnn": [832, 18_496, 8_320, 6_423_552, 32_800]}


def model(task=FASHION, precision="float32", activation="relu", architecture="cnn"):
    return build(architecture, task, activation=activation, precision=precision)


@pytest.mark.parametrize(("task", "last"), [(FASHION, 330), (COMPETITION, 165)])
@pytest.mark.parametrize("architecture", LAYERS)
def test_parameters_of_each_layer_are_the_reports(architecture, task, last):
    counts = [layer.count_params() for layer in model(task, architecture=architecture).layers]
    assert [count for count in counts if count] == [*LAYERS[architecture], last]


def test_the_cnn_has_the_reports_number_of_parameters():
    assert model(FASHION).count_params() == 6_484_330


@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid"])
def test_hidden_layers_have_the_activation_and_the_last_one_softmax(activation):
    found = [
        layer.activation.__name__
        for layer in model(activation=activation).layers
        if hasattr(layer, "activation")
    ]
    assert found == [activation] * 5 + ["softmax"]


def test_pixels_are_scaled_inside():
    images = np.random.default_rng(0).integers(0, 256, (2, 28, 28, 1), dtype=np.uint8)
    network = model()
    scaled = network.layers[1](images)
    assert np.allclose(scaled, images / 255)


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_probabilities_are_float32_in_any_precision(precision):
    task = Task(name="small", classes=("a", "b", "c", "d"), shape=(12, 20, 3))
    images = np.zeros((5, 12, 20, 3), np.uint8)
    probabilities = model(task, precision)(images).numpy()
    assert probabilities.shape == (5, 4) and probabilities.dtype == np.float32
    assert np.allclose(probabilities.sum(axis=1), 1)
