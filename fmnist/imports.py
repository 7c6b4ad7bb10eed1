"""Bringing TensorFlow into a process."""

import gc
import os
import sys


def import_tensorflow() -> None:
    """Imports Keras on TensorFlow; whatever imports them afterwards finds them.

    The import makes a million objects that stay. To look through them for garbage again and again
    takes nearly a third of its time; once they are frozen, nothing ever looks through them again.
    """
    if "keras" in sys.modules:
        return
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    gc.disable()
    try:
        import keras  # noqa: F401
        import tensorflow  # noqa: F401
    finally:
        gc.freeze()
        gc.enable()
