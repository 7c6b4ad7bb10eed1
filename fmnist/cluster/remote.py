"""Tasks in other processes of the cluster, with errors that a user understands."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import ray
from ray import exceptions
from ray._raylet import Config  # type: ignore[attr-defined]  # Ray's stub leaves it out

from fmnist.cluster.nodes import not_shared_error
from fmnist.errors import UserError, first_line
from fmnist.runs.published import PublishedModel, load_classifier
from fmnist.storage.errors import READ_ERRORS, explain

TASK_RETRIES = 4  # of a task whose process died: spot nodes may leave twice while it runs
ADDED_BY_RAY = "\nFailed to apply UDF"  # Ray Data tells how many attempts there were: one
MAX_REASON = 300  # characters of Ray's message that a user sees
# Ray raises these when processes have died and it does not start them again.
PROCESS_DEATHS = (
    exceptions.WorkerCrashedError,
    exceptions.RayActorError,
    exceptions.OutOfMemoryError,
    exceptions.NodeDiedError,
    exceptions.LocalRayletDiedError,
    exceptions.ObjectLostError,
)


def bound_retries(retries: int = TASK_RETRIES) -> None:
    """Bounds how often Ray starts a task of this process again that was killed for memory.

    Ray does not count such deaths among a task's `max_retries`: by default, a task that is too
    large for its node is killed and started without end, and in silence. The variable that Ray
    reads this from would have to be in the environment of every node.
    """
    Config.initialize(json.dumps({"task_oom_retries": retries}, allow_nan=False).encode())


def get_result(references: Any, what: str, *, attempts: int = 1 + TASK_RETRIES) -> Any:
    """Waits for tasks, and returns what they returned; `what` says in messages what they do.

    `references` is one reference or a list of them. Raises what `find_cause` finds behind a task
    that failed, without Ray's traceback.
    """
    try:
        return ray.get(references)
    except exceptions.RayError as error:
        raise find_cause(error, what, attempts=attempts) or error from None


def find_cause(
    error: BaseException,
    action: str,
    *passed_on: type[Exception],
    attempts: int = 1 + TASK_RETRIES,
) -> Exception | None:
    """Finds the user's mistake, or the failure of the environment, behind failed tasks.

    `action` says in messages what the tasks do, of whose `attempts` each failed if their processes
    died. Exceptions of the types `passed_on` are returned as UserErrors are, with their own text
    alone.
    """
    driver = reader = ray.util.get_node_ip_address()  # who asks is on the driver's node
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, exceptions.RayTaskError):
            # Ray keeps the address of the task's node in the text alone.
            found = re.search(r"\bip=([^,\s)]+)", str(cause))
            reader, cause = found[1] if found else driver, cause.cause
        elif isinstance(cause, Exception) and isinstance(cause, (UserError, *passed_on)):
            return type(cause)(str(cause).partition(ADDED_BY_RAY)[0])
        elif isinstance(cause, PROCESS_DEATHS):
            return process_death_error(_reason_of_death(cause), action, attempts=attempts)
        elif isinstance(cause, READ_ERRORS):
            file = getattr(cause, "filename", None)
            missing = isinstance(cause, FileNotFoundError) and reader != driver
            if missing and (file is None or Path(file).exists()):
                return not_shared_error(file or action, driver=driver, reader=reader)
            return UserError(f"{file or action}: {explain(cause)}")
        else:
            cause = cause.__cause__
    return None


def _reason_of_death(error: BaseException) -> str:
    """Returns the reason that Ray gives for a death, in one line."""
    return f"Ray says: {first_line(error)[:MAX_REASON]}"


def process_death_error(detail: str, what: str, *, attempts: int = 1 + TASK_RETRIES) -> UserError:
    """Makes the error for processes that died at each attempt."""
    return UserError(
        f"{what}: a process died {attempts} times ({detail}), expected one"
        " that lives: the usual reasons are too little memory on its node for the model and the"
        " images, and a processor without the instructions that TensorFlow needs. What is finished"
        " stays; the same command goes on from there"
    )


def predict_remotely(
    models: dict[str, PublishedModel], images: np.ndarray
) -> dict[str, np.ndarray]:
    """Returns each model's probabilities (n, classes) for the images (n, height, width, channels).

    One process of the cluster computes them, since a driver has no TensorFlow, and since starting
    TensorFlow in a process for each model would take longer.
    """
    predict = ray.remote(max_retries=TASK_RETRIES)(_predict)
    found: dict[str, np.ndarray] = get_result(predict.remote(models, images), "predicting")
    return found


def _predict(models: dict[str, PublishedModel], images: np.ndarray) -> dict[str, np.ndarray]:
    return {name: load_classifier(model)(images) for name, model in models.items()}
