"""The formats in which other programs take a model: how Keras writes each, and its own runtime.

Only functions import the runtimes, since a job's flags need the names alone.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fmnist.errors import UserError

if TYPE_CHECKING:
    import numpy as np

# From uint8 images, in a batch of the shape for which it was opened, to probabilities.
Predict = Callable[["np.ndarray"], "np.ndarray"]


@dataclass(frozen=True, kw_only=True)
class ModelFormat:
    """Keras' name of a format, the file or folder with the model, and the packages it needs.

    `open` makes the function that predicts with the format's runtime, for batches of one shape.
    """

    keras_name: str
    file: str
    open: Callable[[Path, tuple[int, ...]], Predict]
    extra: str = ""
    packages: tuple[str, ...] = ()


def check_installed(name: str) -> None:
    """Raises UserError that names the extra if a package that the format needs is missing."""
    format = FORMATS[name]
    missing = [
        package for package in format.packages if find_spec(package.replace("-", "_")) is None
    ]
    if missing:
        raise UserError(
            f"format {name} needs the extra {format.extra} ({', '.join(missing)} not found): "
            f"pip install '.[{format.extra}]', or -r requirements-export.txt with hashes"
        )


def _open_onnx(path: Path, shape: tuple[int, ...]) -> Predict:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    return lambda images: session.run(None, {given.name: images})[0]


def _open_saved_model(path: Path, shape: tuple[int, ...]) -> Predict:
    import tensorflow as tf

    model = tf.saved_model.load(path)
    return lambda images: model.serve(images).numpy()


def _open_litert(path: Path, shape: tuple[int, ...]) -> Predict:
    from ai_edge_litert.interpreter import Interpreter

    interpreter: Any = Interpreter(model_path=str(path))
    (given,), (found,) = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.resize_tensor_input(given["index"], shape)
    interpreter.allocate_tensors()

    def predict(images: "np.ndarray") -> "np.ndarray":
        interpreter.set_tensor(given["index"], images)
        interpreter.invoke()
        probabilities: np.ndarray = interpreter.get_tensor(found["index"])
        return probabilities

    return predict


FORMATS = {
    "onnx": ModelFormat(
        keras_name="onnx",
        file="model.onnx",
        open=_open_onnx,
        extra="onnx",
        packages=("tf2onnx", "onnxruntime"),
    ),
    "saved_model": ModelFormat(
        keras_name="tf_saved_model", file="saved_model", open=_open_saved_model
    ),
    "litert": ModelFormat(
        keras_name="litert",
        file="model.tflite",
        open=_open_litert,
        extra="litert",
        packages=("ai-edge-litert",),
    ),
}
