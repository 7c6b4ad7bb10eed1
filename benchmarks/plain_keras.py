"""Trains one network as a plain Keras script does: what several benchmarks are compared to.

    python -m benchmarks.plain_keras FOLDER cnn relu adam 1e-3 256 2

`data.npz` in the folder has the images, from `write_arrays`. A tenth of them is held out, and
validates after each epoch. It evaluates the test images at the end, saves the model, and prints the
images/s of the last epoch. TensorFlow uses all cores.
"""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from fmnist.data.dataset import Dataset
from fmnist.models.architectures import build
from fmnist.run_settings import Training
from fmnist.tasks import FASHION

FILE = "data.npz"


def write_arrays(folder: Path, data: Dataset) -> None:
    train, test = data.train, data.test
    assert train is not None and train.labels is not None
    assert test is not None and test.labels is not None
    np.savez(
        folder / FILE,
        images=train.images,
        labels=train.labels,
        test_images=test.images,
        test_labels=test.labels,
    )


def train_plainly(folder: Path, training: Training, *, our_kernels: bool = False) -> float:
    """Trains in a process of its own; returns the images/s of the last epoch.

    TensorFlow chooses its kernels by itself, or takes those that our code makes it take.
    """
    names = ("architecture", "activation", "optimizer", "learning_rate", "batch", "epochs")
    arguments = [str(getattr(training, name)) for name in names]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.plain_keras", str(folder), *arguments],
        env=os.environ | ({"TF_ENABLE_ONEDNN_OPTS": "1"} if our_kernels else {}),
        check=True,
        capture_output=True,
        text=True,
    )
    return float(done.stdout.split()[-1])


def main(
    folder: str,
    architecture: Any,
    activation: Any,
    optimizer: str,
    rate: str,
    batch: str,
    epochs: str,
) -> None:
    import keras

    class LastEpoch(keras.callbacks.Callback):  # type: ignore[misc]
        begin = seconds = 0.0

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.begin = time.perf_counter()

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.seconds = time.perf_counter() - self.begin

    data = np.load(Path(folder, FILE))
    model = build(architecture, FASHION, activation=activation, precision="float32")
    model.compile(
        optimizer=keras.optimizers.get(
            {"class_name": optimizer, "config": {"learning_rate": float(rate)}}
        ),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    held_out, timer = len(data["images"]) // 10, LastEpoch()
    images, labels = data["images"][held_out:], data["labels"][held_out:]
    model.fit(
        images,
        labels,
        validation_data=(data["images"][:held_out], data["labels"][:held_out]),
        batch_size=int(batch),
        epochs=int(epochs),
        verbose=0,
        callbacks=[timer],
    )
    model.evaluate(data["test_images"], data["test_labels"], batch_size=512, verbose=0)
    model.save(Path(folder, "model.keras"))
    print(len(images) / timer.seconds)


if __name__ == "__main__":
    main(*sys.argv[1:])
