"""Data sets whose labels follow from one pixel, and models that read some or all labels from it."""

import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from fmnist.data.dataset import Dataset, Examples
from fmnist.models.classifier import Classifier
from fmnist.run_settings import Training
from fmnist.runs.evaluation import evaluate
from fmnist.runs.ids import run_folder, run_id
from fmnist.runs.published import METRICS, MODEL
from fmnist.storage.manifest import publish
from fmnist.storage.open import Storage
from tests.support.samples import SHAPES, examples

STEP = 60  # between two labels, in the first pixel
RECIPE = Training(architecture="dense", batch=8, epochs=1, validation=0)


def readable(seed: int, *, train: int = 40, test: int = 60) -> Dataset:
    """Makes a data set of noise with the label in the first pixel; each seed gives another one."""
    parts = {"train": _readable(train, seed), "test": _readable(test, 1000 + seed)}
    return Dataset(task=SHAPES, source=f"data {seed}", **parts)


def publish_reader(storage: Storage, data: Dataset, training: Training, *, knows: int) -> str:
    """Publishes a model that knows the first `knows` classes as the run of this data and recipe.

    It predicts the first class for images of the others.
    """
    model = _reader(knows)
    assert data.test is not None and data.test.labels is not None
    scores = evaluate(data.test.labels, Classifier(model)(data.test.images), SHAPES.classes)
    run = run_id(SHAPES, training, data.fingerprint)
    task = {"name": SHAPES.name, "classes": list(SHAPES.classes), "shape": list(SHAPES.shape)}
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder, MODEL))
        Path(folder, METRICS).write_text(json.dumps({"test": scores.to_json()}))
        details = {"task": task, "config": asdict(training)}
        publish(storage, run_folder(run), Path(folder), kind="run", id=run, details=details)
    return run


def _readable(count: int, seed: int) -> Examples:
    plain = examples(SHAPES, count, seed)
    assert plain.labels is not None
    plain.images[:, 0, 0, 0] = plain.labels * STEP
    return plain


def _reader(knows: int) -> Any:
    """The nearest class to x is the one with the largest 2cx − c², which is linear in x."""
    import keras

    layers = [
        keras.Input(SHAPES.shape, dtype="uint8"),
        keras.layers.Rescaling(1 / STEP),
        keras.layers.Flatten(),
        keras.layers.Dense(len(SHAPES.classes), activation="softmax"),
    ]
    model = keras.Sequential(layers)
    classes = np.arange(len(SHAPES.classes))
    weights = np.zeros((SHAPES.pixels, len(classes)))
    weights[0] = 20 * classes
    bias = -10.0 * classes**2
    bias[knows:] = -1000
    model.set_weights([weights, bias])
    return model
