"""Small models for tests: real `.keras` files in real run folders, and networks of a user's own."""

from pathlib import Path
from typing import Any

from fmnist.models.own_network import OwnNetwork, parse_network
from fmnist.storage.manifest import publish
from fmnist.storage.open import Storage
from fmnist.tasks import Task

# Depthwise convolutions, which none of ours has, with normalization; quick on a CPU.
SEPARABLE = """
import keras

FILTERS = (8, 16)


def separable(layers, images, activation):
    x = images
    for filters in FILTERS:
        x = layers.SeparableConv2D(filters, 3, padding="same", use_bias=False)(x)
        x = layers.BatchNormalization()(x)
        x = keras.ops.relu(x) if activation == "relu" else layers.Activation(activation)(x)
        x = layers.MaxPooling2D(2)(x)
    return layers.Flatten()(x)


def with_dropout(layers, images, activation):
    x = layers.GaussianNoise(0.1)(images)
    x = layers.SpatialDropout2D(0.2)(layers.Conv2D(4, 3, activation=activation)(x))
    return layers.Dropout(0.2)(separable(layers, x, activation))
"""


def dense(task: Task, *, seed: int = 0) -> Any:
    """Builds a network of one layer: fast, for tests that do not look at its predictions."""
    import keras

    keras.utils.set_random_seed(seed)
    layers = [
        keras.Input(task.shape, dtype="uint8"),
        keras.layers.Rescaling(1 / 255),
        keras.layers.Flatten(),
        keras.layers.Dense(len(task.classes), activation="softmax"),
    ]
    return keras.Sequential(layers)


def convolutional(task: Task, *, seed: int = 0) -> Any:
    """Builds convolutions and dense layers, whose results could depend on the batch size."""
    import keras

    keras.utils.set_random_seed(seed)
    layers = [
        keras.Input(task.shape, dtype="uint8"),
        keras.layers.Rescaling(1 / 255),
        keras.layers.Conv2D(7, 5, padding="same", activation="relu"),
        keras.layers.MaxPooling2D(2),
        keras.layers.Conv2D(16, 3, padding="same", activation="relu"),
        keras.layers.Flatten(),
        keras.layers.Dense(33, activation="relu"),
        keras.layers.Dense(len(task.classes), activation="softmax"),
    ]
    return keras.Sequential(layers)


def publish_run(storage: Storage, folder: Path, model: Any, task: Task, **details: Any) -> str:
    """Publishes a model as a training run would; returns the run's folder."""
    folder.mkdir()
    model.save(folder / "model.keras")
    description = {"name": task.name, "classes": task.classes, "shape": task.shape}
    prefix = "runs/r1"
    publish(storage, prefix, folder, kind="run", id="r1", details={"task": description, **details})
    return prefix


def separable(function: str = "separable") -> OwnNetwork:
    """Returns one of the functions of SEPARABLE."""
    return parse_network(f"nets.py:{function}", SEPARABLE.encode())


def network_of(body: str, *, before: str = "") -> OwnNetwork:
    """Returns the network whose function has this body, after other lines of its file."""
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    text = f"{before}\ndef net(layers, images, activation):\n{lines}\n"
    return parse_network("nets.py:net", text.encode())
