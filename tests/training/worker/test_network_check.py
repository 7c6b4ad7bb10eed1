"""What is wrong with a user's network is found before anything is trained."""

import re
from dataclasses import replace

import pytest

from fmnist.models.network_files import WeightsFile
from fmnist.models.own_network import parse_network
from fmnist.models.tensorflow import import_tensorflow
from fmnist.run_settings import MOST_SEED, Training
from fmnist.training.worker.network_check import find_problem
from tests.support.models import dense, network_of, separable
from tests.support.samples import SHAPES

FLAT = "x = layers.Flatten()(images)\n"


def problem_of(network, **settings):
    import_tensorflow()
    training = replace(Training(architecture=network.name), **settings)
    return find_problem(training, SHAPES, network, None)


@pytest.mark.parametrize("precision", ["float32", "auto"])
def test_sound_networks_have_none(precision):
    for function in ("separable", "with_dropout"):
        assert problem_of(separable(function), precision=precision) is None
    assert problem_of(separable(), seed=MOST_SEED) is None


def test_a_function_with_another_number_is_another_network():
    source = (
        "import functools\n"
        "def net(layers, images, activation, width=2):\n"
        "    return layers.Dense(width)(layers.Flatten()(images))\n"
        "wide = functools.partial(net, width=9)\n"
    )
    for name in ("net", "wide"):
        assert problem_of(parse_network(f"nets.py:{name}", source.encode())) is None


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("return layers.Dens(3)(images)", r"line 8: AttributeError: .* no attribute 'Dens'"),
        ("return None", r"returns NoneType, expected the output \(None, features\)"),
        ("return keras.Sequential()", "returns Sequential, expected"),
        ("return layers.Conv2D(3, 3)(images)", r"returns \(None, 10, 18, 3\), .*: flatten or pool"),
        (FLAT + "return keras.ops.cast(x, 'int32')", "returns int32, expected floating-point"),
        ("return layers.Dense(3)(keras.Input((4,)))", "ValueError: .* not connected"),
        (FLAT + "return layers.Dense(3, name='probabilities')(x)", "is used 2 times"),
        (
            FLAT + "x = keras.layers.BatchNormalization()(x)\n"
            "return keras.layers.BatchNormalization()(x)",
            r"layer '\w+' \(and 1 more\) is Keras' BatchNormalization, .* argument `layers`",
        ),
        (
            "return layers.Flatten()(layers.BatchNormalization(axis=1)(images))",
            "over another axis, expected the last one",
        ),
        (
            "x = keras.ops.reshape(images, (-1, 4, 5, 3))\n"
            "return keras.ops.reshape(layers.BatchNormalization()(x), (-1, 720))",
            "ValueError: .*normalizes 48 rows for 4 images",
        ),
        (FLAT + "return layers.Lambda(lambda x: 2 * x)(x)", "is a Lambda, expected layers or"),
        (
            FLAT + "return layers.Dense(3, activation=lambda x: x)(x)",
            "can't be saved, .* no lambda",
        ),
        (FLAT + "return Own()(x)", "is a Own of your own, expected Keras' layers"),
        (
            FLAT + "return layers.Dense(3, activation=own)(x)",
            "can't be loaded without your file: .* Could not locate function 'Custom>own'",
        ),
        (FLAT + "return layers.Dense(3, kernel_regularizer='l2')(x)", "has a regularizer"),
        (FLAT + "return layers.ActivityRegularization(0.1)(x)", "has a regularizer"),
        (FLAT + "return layers.Dense(3, kernel_constraint='max_norm')(x)", "has a constraint"),
        (FLAT + "return layers.Dense(3, dtype='float16')(x)", "has weights of float16"),
        (
            FLAT + "return x - keras.ops.mean(x, axis=0, keepdims=True)",
            "depend on the other images of its batch",
        ),
        (
            FLAT + "x = keras.ops.argmax(layers.Dense(3)(x), axis=-1, keepdims=True)\n"
            "return keras.ops.cast(x, 'float32')",
            "no gradient reaches dense/kernel",
        ),
        (
            FLAT + "return layers.SpectralNormalization(layers.Dense(4))(x)",
            "'spectral_normalization' keeps state that a step changes",
        ),
        (
            FLAT + "drop = layers.Dropout(0.2)\nreturn drop(layers.Dense(3)(drop(x)))",
            "'dropout' draws random numbers more than once in a step",
        ),
        (FLAT + "return layers.Dense(1 + os.urandom(2)[0])(x)", "returned another network"),
        (FLAT + "return x + keras.random.normal((720,))", "returned another network"),
    ],
)
def test_a_problem_is_one_clear_message(body, problem):
    before = (
        "import os, keras\n"
        "class Own(keras.layers.Layer):\n    def call(self, x): return x\n"
        "@keras.saving.register_keras_serializable()\ndef own(x): return 2 * x\n"
    )
    found = problem_of(network_of(body, before=before))
    assert found is not None and found.startswith("network nets.py:net: ")
    assert "\n" not in found
    assert re.search(problem, found), found


def test_a_frozen_normalization_of_keras_is_sound():
    """It does not learn, so that nothing of it could differ between workers."""
    body = "import keras\nx = keras.layers.BatchNormalization(trainable=False)(images)\n"
    assert problem_of(network_of(body + "return layers.Flatten()(x)")) is None


def test_initial_weights_that_do_not_fit_are_a_problem(tmp_path):
    model = dense(SHAPES)
    model.save(tmp_path / "model.keras")
    data = (tmp_path / "model.keras").read_bytes()
    weights = WeightsFile.of("a.keras", "a.keras", data)
    training = Training(architecture="dense")
    expected = (
        "initial weights a.keras: layer 1 with weights is Dense (kernel (720, 4), bias (4,)), but "
        "the network has Dense (kernel (720, 1024), bias (1024,))"
    )
    assert find_problem(training, SHAPES, None, weights) == expected
    broken = WeightsFile.of("a.keras", "a.keras", data[:-200])
    assert "a.keras is no Keras model" in (find_problem(training, SHAPES, None, broken) or "")
