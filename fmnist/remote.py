"""Work in another process of the cluster, for a driver that has no TensorFlow."""

from typing import Any

import numpy as np
import ray

from fmnist.errors import UserError
from fmnist.inference import open_classifier
from fmnist.published import PublishedModel


def outcome(running: Any) -> Any:
    """What the tasks of a reference, or of a list of them, returned.

    A UserError that a task raised is raised as it was, without Ray's report of it.
    """
    try:
        return ray.get(running)
    except ray.exceptions.RayTaskError as error:
        raise UserError(str(error.cause)) if isinstance(error.cause, UserError) else error from None


def probabilities(models: dict[str, PublishedModel], images: np.ndarray) -> dict[str, np.ndarray]:
    """Of all models, one after the other in one process: starting TensorFlow takes longer."""
    found: dict[str, np.ndarray] = outcome(ray.remote(_predict).remote(models, images))
    return found


def _predict(models: dict[str, PublishedModel], images: np.ndarray) -> dict[str, np.ndarray]:
    return {name: open_classifier(model)(images) for name, model in models.items()}
