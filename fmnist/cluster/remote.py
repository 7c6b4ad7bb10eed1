"""Work in another process of the cluster, for a driver that has no TensorFlow."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import ray
from ray import exceptions
from ray._raylet import Config  # type: ignore[attr-defined]  # Ray's stub leaves it out

from fmnist.errors import UserError
from fmnist.models.classifier import open_classifier
from fmnist.runs.published import PublishedModel

RETRIES = 4  # of a task whose process died: spot nodes may leave twice while it runs
MOST_SAID = 300  # characters
# What Ray raises when processes have died and it doesn't start them again.
DEATHS = (
    exceptions.WorkerCrashedError,
    exceptions.RayActorError,
    exceptions.OutOfMemoryError,
    exceptions.NodeDiedError,
    exceptions.LocalRayletDiedError,
    exceptions.ObjectLostError,
)


def bound_retries(retries: int = RETRIES) -> None:
    """Bounds how often Ray starts a task of this process again that was killed for memory.

    Ray does not count such deaths among a task's `max_retries`: by default, a task that is too
    large for its node is killed and started without end, and in silence. The variable that Ray
    reads this from would have to be in the environment of every node.
    """
    Config.initialize(json.dumps({"task_oom_retries": retries}).encode())


def outcome(running: Any, what: str, *, tries: int = 1 + RETRIES) -> Any:
    """What the tasks of a reference, or of a list of them, returned; `what` they do is for people.

    A UserError that a task raised is raised as it was, without Ray's report of it. Raises UserError
    also if a task's process died as often as it was tried.
    """
    try:
        return ray.get(running)
    except exceptions.RayTaskError as error:
        raise error.cause if isinstance(error.cause, UserError) else error from None
    except DEATHS as error:
        raise death(error, what, tries=tries) from None


def death(error: BaseException, what: str, *, tries: int = 1 + RETRIES) -> UserError:
    """What to raise when processes died at each try, with as much of a reason as Ray knows."""
    known = next(iter(str(error).splitlines()), "") or type(error).__name__
    return UserError(
        f"{what}: a process died {tries} times (Ray says: {known[:MOST_SAID]}), expected one that"
        " lives: the usual reasons are too little memory on its node for the model and the images,"
        " and a processor without the instructions that TensorFlow needs. What is finished stays;"
        " the same command goes on from there"
    )


@dataclass(frozen=True, kw_only=True)
class Place:
    """A node of the cluster."""

    node: str  # Ray's id of it
    address: str

    @classmethod
    def here(cls) -> "Place":
        node = ray.get_runtime_context().get_node_id()
        return cls(node=node, address=ray.util.get_node_ip_address())


def not_shared(what: str, *, driver: str, reader: str) -> UserError:
    """What to raise where the node at one address has found files, and the other has not."""
    return UserError(
        f"{what}: node {reader} finds no such file, which node {driver} has, where this job was"
        " started; expected a folder that all nodes share, or s3://bucket/prefix"
    )


def probabilities(models: dict[str, PublishedModel], images: np.ndarray) -> dict[str, np.ndarray]:
    """Of all models, one after the other in one process: starting TensorFlow takes longer."""
    predict = ray.remote(max_retries=RETRIES)(_predict)
    found: dict[str, np.ndarray] = outcome(predict.remote(models, images), "predicting")
    return found


def _predict(models: dict[str, PublishedModel], images: np.ndarray) -> dict[str, np.ndarray]:
    return {name: open_classifier(model)(images) for name, model in models.items()}
