"""The Ray Data pipeline of scoring: images are read, an actor pool predicts, labels are written."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pyarrow.fs
import ray
from ray.data import ActorPoolStrategy, DataContext, ExecutionResources
from ray.data.datasource import FilenameProvider

from fmnist.errors import UserError
from fmnist.inputs import CHUNK_BYTES, Inputs
from fmnist.locations import READ_ERRORS, reason
from fmnist.published import PublishedModel
from fmnist.scorer import Changed, Scorer
from fmnist.storage import Storage

# Ray Data logs what it raises as well, and that there are no progress bars.
TALKATIVE = (
    "exceptions",
    "dataset",
    "_internal.execution.streaming_executor_state",
    "_internal.progress",
)
BLOCKS_PER_ACTOR = 16  # read, predicted or waiting, all together
ADDED_BY_RAY = "\nFailed to apply UDF"  # how many attempts there were, which is one


def write_labels(
    model: PublishedModel,
    inputs: Inputs,
    scored: np.ndarray,
    *,
    storage: Storage,
    folder: str,
    attempt: str,
    actors: tuple[int, int],
    probabilities: bool,
    rows_per_file: int,
) -> None:
    """Scores all inputs but `scored` (sorted ids) into Parquet files in the storage's `folder`.

    `actors` says how many there are at first, and at most; one that dies is started again, as is a
    task. The files' names begin with `attempt_`. Raises UserError for a model that can't
    predict, for storage that fails, and for data that are no longer what was surveyed.
    """
    block = max(CHUNK_BYTES, model.task.pixels)
    with _settings(object_store_memory=actors[1] * BLOCKS_PER_ACTOR * block):
        labels = inputs.read().map_batches(
            Scorer,
            fn_constructor_args=(
                ray.put(model),
                ray.put(scored),
                ray.put((inputs.ids, inputs.marks)),
            ),
            fn_constructor_kwargs={"probabilities": probabilities},
            batch_size=None,
            batch_format="pyarrow",
            compute=ActorPoolStrategy(min_size=actors[0], max_size=actors[1]),
            num_cpus=1,
        )
        system, path = storage.arrow(folder)
        try:
            labels.write_parquet(
                path,
                filesystem=system,
                # S3 has no folders; to make one, Arrow would ask for permissions on the bucket.
                try_create_dir=isinstance(system, pyarrow.fs.LocalFileSystem),
                filename_provider=FilenameProvider(dataset_uuid=attempt, file_format="parquet"),
                min_rows_per_file=rows_per_file,
                ray_remote_args={"num_cpus": 0},  # the actors may hold them all
                concurrency=1,
            )
        except (ray.exceptions.RayError, UserError, Changed, *READ_ERRORS) as error:
            action = f"scoring {inputs.source} into {storage.uri}/{folder}"
            raise _users(error, action, inputs) or error from None


@contextmanager
def _settings(object_store_memory: int) -> Iterator[None]:
    """Small blocks and few of them, so that many actors get some, and few words.

    Without a limit, reading would run ahead until it has filled its part of the object store.
    """
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    for module in TALKATIVE:
        logging.getLogger(f"ray.data.{module}").setLevel(logging.CRITICAL)
    context = DataContext.get_current().copy()
    context.target_max_block_size = CHUNK_BYTES
    context.raise_original_map_exception = True  # Ray would keep no more than the text of it
    context.execution_options.resource_limits = ExecutionResources(
        object_store_memory=object_store_memory
    )
    # Arrow has retried already, all but this; Ray Data would do all of that ten times over.
    context.retried_io_errors = ["HTTP status 429"]
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    with DataContext.current(context), warnings.catch_warnings():
        # That there are fewer blocks than actors is no news with few images.
        warnings.filterwarnings("ignore", module="ray.data", category=UserWarning)
        yield


def _users(error: BaseException, action: str, inputs: Inputs) -> UserError | None:
    """The user's mistake behind a failed pipeline, if there is one."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ray.exceptions.RayTaskError):
            cause = cause.cause
        elif isinstance(cause, Changed):
            return inputs.changed(str(cause).partition(ADDED_BY_RAY)[0])
        elif isinstance(cause, UserError):
            return UserError(str(cause).partition(ADDED_BY_RAY)[0])
        elif isinstance(cause, READ_ERRORS):
            return UserError(f"{action}: {reason(cause)}")
        else:
            cause = cause.__cause__
    return None
