"""Predicts with a Keras model in batches of one fixed shape.

TensorFlow picks its kernels by the shape of a batch, and traces a model anew for each. Here every
batch has the same shape, the last one being padded, so that nothing is traced twice and the result
of an image depends neither on its neighbours nor on how many images are asked for.
"""

import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fmnist.errors import UserError, first_line
from fmnist.models.tensorflow import import_tensorflow

# Rows and bytes of uint8 pixels of a batch; what the layers make of them takes many times as much.
CPU_BATCH = 512, 1 << 20  # with AVX2, 256 rows are a third slower; the last batch is padded
GPU_BATCH = 4096, 16 << 20  # a GPU is idle between small ones
MISSING = re.compile(r"Could not locate (?:class|function) '[^']*'")  # in Keras' words


class Classifier:
    """A trained model as a function: uint8 images (n, height, width, channels) → probabilities.

    Probabilities are float32 (n, classes). `model` is a Keras model that takes raw pixels, or the
    path of a `.keras` file with one, which is loaded without running code that it may contain.
    With `gpu`, it predicts in large batches on the GPU that Ray gave to this process, which must
    not have imported TensorFlow for anything else; the probabilities differ a little from a CPU's.
    Raises UserError if the file can't be loaded, the model is no classifier of images, or
    TensorFlow sees no GPU.
    """

    def __init__(self, model: Any, *, gpu: bool = False) -> None:
        import_tensorflow(gpu=gpu)
        import tensorflow as tf

        if isinstance(model, str | Path):
            model = load_model(Path(model))
        self.model = model
        self.shape, self.classes = _shapes(model)
        self._rows = batch_rows(self.shape, gpu=gpu)
        self._predict = tf.function(
            lambda images: model(images, training=False),
            input_signature=[tf.TensorSpec((self._rows, *self.shape), tf.uint8)],
            autograph=False,
            jit_compile=False,  # on a CPU, XLA makes convolutions several times slower
        )

    def __call__(self, images: np.ndarray) -> np.ndarray:
        return in_batches(
            lambda batch: self._predict(batch).numpy(), images, self._rows, self.classes
        )


def in_batches(
    predict: Callable[[np.ndarray], np.ndarray], images: np.ndarray, rows: int, classes: int
) -> np.ndarray:
    """Predicts images in batches of `rows`, the last one padded: (n, classes) float32."""
    probabilities = np.empty((len(images), classes), np.float32)
    for start in range(0, len(images), rows):
        batch = images[start : start + rows]
        padding = [(0, rows - len(batch)), (0, 0), (0, 0), (0, 0)]
        predicted = predict(np.pad(batch, padding))
        probabilities[start : start + len(batch)] = predicted[: len(batch)]
    return probabilities


def batch_rows(shape: tuple[int, int, int], *, gpu: bool = False) -> int:
    """Number of images in a batch: a power of two, so that matrix kernels have no odd rows left."""
    height, width, channels = shape
    rows, size = GPU_BATCH if gpu else CPU_BATCH
    most = max(1, min(rows, size // (height * width * channels)))
    return 1 << (most.bit_length() - 1)


def limit_threads(threads: int, *, gpu: bool = False) -> None:
    """Sets the threads of a fresh process, before TensorFlow does anything else in it.

    Raises UserError if it is to use a `gpu`, and TensorFlow sees none.
    """
    import_tensorflow(gpu=gpu)
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    if gpu:  # else each process may choose other convolutions, and float32 loses 13 of its 23 bits
        tf.config.experimental.enable_op_determinism()
        tf.config.experimental.enable_tensor_float_32_execution(False)


def load_model(path: Path, *, name: str = "") -> Any:
    """Loads a `.keras` file without running code that it may contain.

    Raises UserError, which calls the file by that name, if it can't be loaded.
    """
    import keras

    name = name or path.name
    if not zipfile.is_zipfile(path):
        raise UserError(f"{name} is no Keras model: found no zip archive")
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # a damaged file raises almost anything
        missing = MISSING.search(str(error))  # Keras tells it after the configs of all layers
        told = missing[0] if missing else first_line(error)
        raise UserError(f"{name} is no Keras model that can be loaded: {told}") from error


def _shapes(model: Any) -> tuple[tuple[int, int, int], int]:
    """Shape of an image and number of classes; a model of several inputs has a list of shapes."""
    match model.input_shape, model.output_shape:
        case (None, int(height), int(width), int(channels)), (None, int(classes)):
            return (height, width, channels), classes
    raise UserError(
        f"the model takes {model.input_shape} and gives {model.output_shape}, expected images"
        " (None, height, width, channels) and probabilities (None, classes)"
    )
