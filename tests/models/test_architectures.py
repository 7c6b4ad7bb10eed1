"""The networks take raw pixels; the report's have its parameters, layer by layer."""

from functools import cache

import keras
import numpy as np
import pytest

from fmnist.models.architectures import ARCHITECTURES, BASIS, build, flops
from fmnist.run_settings import CHOICES, Training
from fmnist.tasks import COMPETITION, FASHION, Task
from fmnist.training.worker.optimizers import make_optimizer

# Parameters of the layers before the last one, then of the whole network as the report counts.
LAYERS = {
    "dense": [803_840, 524_800, 65_664, 4_128],
    "cnn": [832, 18_496, 8_320, 6_423_552, 32_800],
    "resnet": [1_664, *[36_928] * 5, 8_320, 6_423_552, 131_200, 4_128],
    "inception": [320, 2_112, 2_112, 2_112, 73_856, 102_464, 2_112, 82_176, 51_400, 6_432],
}
REPORT = {
    "dense": (COMPETITION, 1_398_597),
    "cnn": (FASHION, 6_484_330),
    "resnet": (COMPETITION, 6_753_669),
    "inception": (FASHION, 325_426),
}


@cache
def model(task=FASHION, precision="float32", activation="relu", architecture="cnn"):
    return build(architecture, task, activation=activation, precision=precision)


@pytest.mark.parametrize("task", [FASHION, COMPETITION], ids=lambda task: task.name)
@pytest.mark.parametrize("architecture", REPORT)
def test_parameters_of_each_layer(architecture, task):
    counts = [layer.count_params() for layer in model(task, architecture=architecture).layers]
    last = 33 * len(task.classes)
    assert sorted(filter(None, counts)) == sorted([*LAYERS[architecture], last])


@pytest.mark.parametrize("architecture", REPORT)
def test_the_number_of_parameters_is_the_reports(architecture):
    task, count = REPORT[architecture]
    assert model(task, architecture=architecture).count_params() == count


@pytest.mark.parametrize(
    ("architecture", "parameters", "megaflops"),
    [
        ("convnet-small", 243_114, 87.65),
        ("convnet", 544_378, 196.5),
        ("resnet9", 1_647_786, 411.9),
    ],
)
def test_the_normalized_networks_are_as_large_as_they_say(architecture, parameters, megaflops):
    network = model(architecture=architecture)
    assert network.count_params() == parameters
    assert flops(network) / 1e6 == pytest.approx(megaflops, abs=0.05)
    assert f"{parameters:,}" in ARCHITECTURES[architecture].__doc__


def test_brightness_is_a_smooth_basis_of_the_sum_of_pixels():
    """The first half of the sigmoids is on where the mean pixel is half of the brightest."""
    network = model(COMPETITION, "mixed_bfloat16", architecture="convnet-brightness")
    basis = keras.Model(network.input, network.get_layer("brightness").output)
    images = np.full((3, 28, 28, 1), 102, np.uint8)
    images[1, 0, 0] += 100  # too little for bfloat16
    images[2, 0] += 100
    (values, more, most) = basis(images).numpy()
    half = BASIS // 2
    assert values[: half - 2].min() > 0.95 and values[half + 2 :].max() < 0.05
    assert values[half] < more[half] < most[half] and values.dtype == np.float32


def test_a_layer_can_take_the_place_of_batch_normalization():
    """It has the same weights, so that a published model can have Keras' own."""

    class Own(keras.layers.BatchNormalization):
        pass

    own = build("convnet", FASHION, activation="relu", precision="float32", batch_normalization=Own)
    assert sum(isinstance(layer, Own) for layer in own.layers) == 4
    plain = [weight.path.split("/")[-1] for weight in model(architecture="convnet").weights]
    assert [weight.path.split("/")[-1] for weight in own.weights] == plain


def test_the_resnet_has_eleven_layers_and_costs_five_times_the_cnn():
    network = model(architecture="resnet")
    assert sum(bool(layer.weights) for layer in network.layers) == 11
    assert flops(network) / flops(model()) == pytest.approx(5, abs=0.2)


def test_operations_of_the_cnn_are_those_counted_by_hand():
    """Number of weights × number of places, for three convolutions and three dense layers."""
    multiplications = 800 * 784 + 18_432 * 196 + 8_192 * 49 + 6_422_528 + 32_768 + 320
    assert flops(model()) == 6 * multiplications


@pytest.mark.parametrize(
    ("architecture", "optimizer"),
    [
        *((name, "adam") for name in ARCHITECTURES),
        *(("cnn", name) for name in CHOICES["optimizer"][1:]),
    ],
)
def test_every_architecture_and_every_optimizer_learns(architecture, optimizer):
    """The loss goes down on one batch."""
    task = Task(name="small", classes=("dark", "light"), shape=(12, 20, 3))
    labels = np.arange(32) % 2
    images = (labels * 100)[:, None, None, None] + np.random.default_rng(0).integers(
        0, 100, (32, 12, 20, 3)
    )
    keras.utils.set_random_seed(0)
    network = build(architecture, task, activation="relu", precision="float32")
    training = Training(optimizer=optimizer, learning_rate=0.1 if optimizer == "sgd" else 1e-3)
    network.compile(optimizer=make_optimizer(training, 1), loss="sparse_categorical_crossentropy")
    losses = [network.train_on_batch(images.astype(np.uint8), labels) for _ in range(12)]
    assert min(losses[6:]) < 0.9 * losses[0]


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


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_probabilities_are_float32_in_any_precision(precision):
    task = Task(name="small", classes=("a", "b", "c", "d"), shape=(12, 20, 3))
    images = np.zeros((5, 12, 20, 3), np.uint8)
    probabilities = model(task, precision)(images).numpy()
    assert probabilities.shape == (5, 4) and probabilities.dtype == np.float32
    assert np.allclose(probabilities.sum(axis=1), 1)


def test_every_choice_of_an_architecture_has_its_network():
    assert tuple(ARCHITECTURES) == CHOICES["architecture"]
