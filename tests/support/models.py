"""Small published models for tests: real `.keras` files in real run folders."""

from pathlib import Path
from typing import Any

from fmnist.storage.manifest import publish
from fmnist.storage.open import Storage
from fmnist.tasks import Task


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
