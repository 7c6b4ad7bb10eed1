"""The networks, each a function from scaled images to what its classifier sees.

Every model takes raw uint8 pixels and scales them itself, so that training and scoring cannot
disagree, and ends in a float32 softmax whatever the precision. Weights start Glorot-uniform
(Keras' default), as in the report. `keras` is passed in, so that a driver can know the names of the
networks without TensorFlow.
"""

import math
from collections.abc import Callable
from typing import Any

from fmnist.models.tensorflow import import_tensorflow
from fmnist.settings import Activation, Architecture
from fmnist.tasks import Task

Network = Callable[[Any, Any, str], Any]


def dense(layers: Any, images: Any, activation: str) -> Any:
    """The report's fully connected network: 1,398,597 parameters with 28×28×1 and 5 classes."""
    x = layers.Flatten()(images)
    for units in (1024, 512, 128, 32):
        x = layers.Dense(units, activation=activation)(x)
    return x


def cnn(layers: Any, images: Any, activation: str) -> Any:
    """The report's best network: 6,484,330 parameters with 28×28×1 images and 10 classes."""
    x = layers.Conv2D(32, 5, padding="same", activation=activation)(images)
    x = layers.MaxPooling2D(2)(x)
    # The report's text says 5×5 here in one place; its parameter count proves 3×3.
    x = layers.Conv2D(64, 3, padding="same", activation=activation)(x)
    x = layers.MaxPooling2D(2)(x)
    x = layers.Conv2D(128, 1, activation=activation)(x)
    x = layers.Dropout(0.2)(x)
    x = layers.Flatten()(x)
    x = layers.Dense(1024, activation=activation)(x)
    x = layers.Dropout(0.25)(x)
    return layers.Dense(32, activation=activation)(x)


def resnet(layers: Any, images: Any, activation: str) -> Any:
    """A reconstruction that matches the count: 6,753,669 parameters with 28×28×1 and 5 classes.

    The report's figure is lost; it says eleven layers and two skips. The places of the pools are
    chosen to match its cost as well: five times that of the `cnn`.
    """

    def convolution(x: Any, size: int, filters: int = 64) -> Any:
        return layers.Conv2D(filters, size, padding="same", activation=activation)(x)

    def block(x: Any) -> Any:
        inner = convolution(x, 3)
        inner = layers.Conv2D(64, 3, padding="same")(inner)
        return layers.Activation(activation)(layers.Add()([x, inner]))

    x = convolution(convolution(images, 5), 3)
    x = block(layers.MaxPooling2D(2)(x))
    x = block(layers.MaxPooling2D(2)(x))
    x = layers.Flatten()(convolution(x, 1, 128))
    for units in (1024, 128, 32):
        x = layers.Dense(units, activation=activation)(x)
    return x


def inception(layers: Any, images: Any, activation: str) -> Any:
    """A reconstruction that matches the count: 325,426 parameters with 28×28×1 and 10 classes.

    The report's network cannot be told from its count and its one sentence: a convolution, pooling,
    one inception block (Szegedy et al., arXiv:1409.4842), global average pooling, dense layers.
    """

    def convolution(x: Any, size: int, filters: int) -> Any:
        return layers.Conv2D(filters, size, padding="same", activation=activation)(x)

    x = layers.MaxPooling2D(2)(convolution(images, 3, 32))
    branches = [
        convolution(x, 1, 64),
        convolution(convolution(x, 1, 64), 3, 128),
        convolution(convolution(x, 1, 64), 5, 64),
        convolution(layers.MaxPooling2D(3, strides=1, padding="same")(x), 1, 64),
    ]
    x = layers.GlobalAveragePooling2D()(layers.Concatenate()(branches))
    for units in (256, 200, 32):
        x = layers.Dense(units, activation=activation)(x)
    return x


ARCHITECTURES: dict[Architecture, Network] = {
    "dense": dense,
    "cnn": cnn,
    "resnet": resnet,
    "inception": inception,
}


def build(architecture: Architecture, task: Task, *, activation: Activation, precision: str) -> Any:
    """Makes an untrained `keras.Model`: uint8 (n, height, width, channels) → float32 (n, classes).

    `precision` is a Keras dtype policy, such as `float32` or `mixed_bfloat16`.
    """
    import_tensorflow()
    import keras

    layers, before = keras.layers, keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        pixels = keras.Input(task.shape, dtype="uint8", name="pixels")
        scaled = layers.Rescaling(1 / 255)(pixels)
        features = ARCHITECTURES[architecture](layers, scaled, activation)
        probabilities = layers.Dense(
            len(task.classes), activation="softmax", dtype="float32", name="probabilities"
        )(features)
        return keras.Model(pixels, probabilities, name=architecture)
    finally:
        keras.config.set_dtype_policy(before)


def flops(model: Any) -> int:
    """Floating-point operations to train on one image.

    Each weight is multiplied and added, two operations, in each of three passes: forward, and
    backward for the inputs and for the weights.
    """
    multiplications = 0
    for layer in model.layers:
        if hasattr(layer, "kernel"):
            places = layer.output.shape[1:-1]  # none for a dense layer
            multiplications += math.prod(layer.kernel.shape) * math.prod(places)
    return 3 * 2 * multiplications
