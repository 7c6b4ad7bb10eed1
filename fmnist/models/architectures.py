"""The networks, each a function from scaled images to what its classifier sees.

Every model takes raw uint8 pixels and scales them itself, so that training and scoring cannot
disagree, and ends in a float32 softmax whatever the precision. Weights start Glorot-uniform
(Keras' default), as in the report. `keras` is passed in, so that a driver can know the names of the
networks without TensorFlow.
"""

import math
from collections.abc import Callable
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

from fmnist.models.own_network import OwnNetwork
from fmnist.models.tensorflow import import_tensorflow
from fmnist.run_settings import Activation, Architecture
from fmnist.tasks import Task

Network = Callable[[Any, Any, str], Any]

MOMENTUM = 0.9  # of moving statistics: Keras' 0.99 lags behind where a run has some hundred steps
BASIS = 1024  # sigmoids of an image's brightness: a step is 156 of a sum of 28×28 pixels
GAIN = 4.0  # of the sigmoids, so that a function of them becomes steep in a few hundred steps
KINDS = 16  # of images; more than there are kinds of clothing
OUTPUT = "probabilities"  # name of the last layer
BRIGHTEST = 0.8  # of a mean pixel; hardly an image of Fashion-MNIST is brighter


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


def convnet(layers: Any, images: Any, activation: str) -> Any:
    """A small network that learns quickly: 544,378 parameters with 28×28×1 images and 10 classes.

    Its first convolution halves the image, and its head is an average, so that nearly all of the
    work is in convolutions of many channels, at which processors are best: 200 MFLOP an image.
    """
    return _convnet(layers, images, activation, width=48)


def convnet_small(layers: Any, images: Any, activation: str) -> Any:
    """`convnet` with two thirds of its channels: 243,114 parameters, 88 MFLOP an image."""
    return _convnet(layers, images, activation, width=32)


def _convnet(layers: Any, images: Any, activation: str, *, width: int) -> Any:
    x = _normalized(layers, images, width, activation, size=5, strides=2)
    x = _normalized(layers, x, 2 * width, activation, pool=True)
    x = _normalized(layers, x, 4 * width, activation)
    x = _normalized(layers, x, 4 * width, activation)
    return layers.GlobalAveragePooling2D()(x)


def resnet9(layers: Any, images: Any, activation: str) -> Any:
    """Page's ResNet-9 at half its width: 1,647,786 parameters with 28×28×1 and 10 classes.

    The network of "How to train your ResNet" (David Page, myrtle.ai, 2018): 412 MFLOP an image.
    """
    x = _normalized(layers, images, 32, activation)
    x = _residual(layers, _normalized(layers, x, 64, activation, pool=True), 64, activation)
    x = _normalized(layers, x, 128, activation, pool=True)
    x = _residual(layers, _normalized(layers, x, 256, activation, pool=True), 256, activation)
    return layers.GlobalMaxPooling2D()(x)


def _normalized(
    layers: Any,
    x: Any,
    filters: int,
    activation: str,
    *,
    size: int = 3,
    strides: int = 1,
    pool: bool = False,
) -> Any:
    """Convolution, batch normalization (Ioffe & Szegedy, arXiv:1502.03167), activation.

    A pool comes before the normalization, which then has a quarter of the work.
    """
    x = layers.Conv2D(filters, size, strides=strides, padding="same", use_bias=False)(x)
    if pool:
        x = layers.MaxPooling2D(2)(x)
    x = layers.BatchNormalization(momentum=MOMENTUM)(x)
    return layers.Activation(activation)(x)


def _residual(layers: Any, x: Any, filters: int, activation: str) -> Any:
    inner = _normalized(layers, x, filters, activation)
    return layers.Add()([x, _normalized(layers, inner, filters, activation)])


def _with_brightness(network: Network) -> Network:
    """Adds what the labels of the task `competition` depend on to the features of `network`.

    Such a label follows from a kind of clothing that it does not name, and from how many of that
    kind's thresholds the image's brightness exceeds. A convolution hardly learns a sum of pixels.
    So here is a smooth basis of it: fixed sigmoids, of which each is one step further. The network
    also learns KINDS kinds of images, and for each a function of its own in this basis. All of this
    is in float32, so that sums remain apart that bfloat16 would make one.
    """

    def both(layers: Any, images: Any, activation: str) -> Any:
        step = BRIGHTEST / BASIS
        slope = 2 / step / images.shape[-1]  # of each channel's mean
        basis = layers.Dense(
            BASIS,
            activation="sigmoid",
            kernel_initializer=_constant(slope),
            bias_initializer=_constant([-2.0 * (i + 0.5) for i in range(BASIS)]),
            trainable=False,
            dtype="float32",
            name="brightness",
        )(layers.GlobalAveragePooling2D(dtype="float32")(images))
        basis = layers.Rescaling(GAIN, dtype="float32")(basis)
        features = network(layers, images, activation)
        x = layers.Concatenate(dtype="float32")([features, basis])
        x = layers.Dense(256, activation=activation, dtype="float32")(x)
        kinds = layers.Dense(KINDS, activation="softmax", dtype="float32")(features)
        kinds = layers.Reshape((KINDS, 1), dtype="float32")(kinds)
        functions = layers.Multiply(dtype="float32")(
            [kinds, layers.Reshape((1, BASIS), dtype="float32")(basis)]
        )
        functions = layers.Flatten(dtype="float32")(functions)
        return layers.Concatenate(dtype="float32")([x, functions])

    return both


def _constant(value: float | list[float]) -> dict[str, Any]:
    """Keras' initializer to these numbers."""
    return {"class_name": "Constant", "config": {"value": value}}


ARCHITECTURES: dict[Architecture | str, Network] = {
    "dense": dense,
    "cnn": cnn,
    "resnet": resnet,
    "inception": inception,
    "convnet-small": convnet_small,
    "convnet": convnet,
    "convnet-brightness": _with_brightness(convnet),
    "resnet9": resnet9,
    "resnet9-brightness": _with_brightness(resnet9),
}


def build(
    architecture: Architecture | str,
    task: Task,
    *,
    activation: Activation,
    precision: str,
    batch_normalization: Any = None,
    own: OwnNetwork | None = None,
) -> Any:
    """Makes an untrained `keras.Model`: uint8 (n, height, width, channels) → float32 (n, classes).

    `precision` is a Keras dtype policy, such as `float32` or `mixed_bfloat16`. The class
    `batch_normalization`, if any, takes the place of Keras' layer with the same weights. The user's
    `own` network, if any, is built in place of ours; UserError says what is wrong with it.
    """
    import_tensorflow()
    import keras

    layers, before = SimpleNamespace(**vars(keras.layers)), keras.config.dtype_policy()
    if batch_normalization:
        layers.BatchNormalization = batch_normalization
    keras.config.set_dtype_policy(precision)
    try:
        pixels = keras.Input(task.shape, dtype="uint8", name="pixels")
        scaled = layers.Rescaling(1 / 255, dtype="float32")(pixels)
        network = own.features if own else ARCHITECTURES[architecture]
        features = network(layers, scaled, activation)
        probabilities = layers.Dense(
            len(task.classes), activation="softmax", dtype="float32", name=OUTPUT
        )(features)
        with own.errors() if own else nullcontext():
            return keras.Model(pixels, probabilities, name=own.function if own else architecture)
    finally:
        keras.config.set_dtype_policy(before)


def flops(model: Any) -> int:
    """Floating-point operations to train on one image.

    Each weight is multiplied and added, two operations, in each of three passes: forward, and
    backward for the inputs and for the weights.
    """
    multiplications = 0
    for layer in model._flatten_layers(include_self=False):
        output = getattr(layer, "output", None)  # of none that is inside of another layer
        if hasattr(layer, "kernel") and output is not None:
            places = output.shape[1:-1]  # none for a dense layer
            multiplications += math.prod(layer.kernel.shape) * math.prod(places)
    return 3 * 2 * multiplications
