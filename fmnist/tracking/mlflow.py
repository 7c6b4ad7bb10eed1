"""Tells MLflow of a published result, if MLFLOW_TRACKING_URI is set.

A process of its own does it, so that neither what MLflow imports and starts nor a server that does
not answer has anything to do with the job.
"""

import logging
import os
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import fmnist
from fmnist.stages import stage
from fmnist.storage.open import Storage
from fmnist.tracking.bounded import run_bounded

log = logging.getLogger(__name__)

TRACKING_URI = "MLFLOW_TRACKING_URI"
TIMEOUT = 120.0  # seconds for all that a result consists of
# MLflow's own variables; a user's values win.
SETTINGS = {
    "MLFLOW_ALLOW_FILE_STORE": "true",  # else it refuses a folder
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",  # seconds; MLflow would wait for minutes, 7 times
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "GIT_PYTHON_REFRESH": "quiet",  # there may be no git
}


def tell_mlflow(storage: Storage, folder: str) -> None:
    """Tells the published result in that folder of the storage, with all runs that belong to it.

    For `registry/<task>` it tells the task's champion. What fails is one line of warning.
    """
    if not os.environ.get(TRACKING_URI):
        return
    if find_spec("mlflow") is None:
        log.warning(
            "%s is set, but the extra `mlflow` is not installed, so MLflow is told nothing: "
            "pip install '.[mlflow]', or -r requirements-mlflow.txt",
            TRACKING_URI,
        )
        return
    path = os.pathsep.join(
        filter(None, [str(Path(fmnist.__file__).parents[1]), os.environ.get("PYTHONPATH")])
    )
    command = [sys.executable, "-m", "fmnist.tracking.tell", storage.uri, folder]
    with stage("telling MLflow"), tempfile.TemporaryFile("w+") as output:
        problem = run_bounded(
            command,
            timeout=TIMEOUT,
            env=SETTINGS | os.environ | {"PYTHONPATH": path},
            output=output,
        )
        output.seek(0)
        said = output.read().splitlines()
    if problem and problem.startswith("ended with") and said:
        problem = said[-1]
    if problem:
        log.warning("MLflow was not told of %s: %s; the same command tries again", folder, problem)
