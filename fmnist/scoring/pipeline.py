"""The Ray Data pipeline of scoring: images are read, an actor pool predicts, labels are written."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow.fs
import ray
from ray.data import ActorPoolStrategy, DataContext, ExecutionResources
from ray.data.datasource import FilenameProvider

from fmnist.cluster.nodes import not_shared_error, on_this_node
from fmnist.cluster.remote import (
    PROCESS_DEATHS,
    TASK_RETRIES,
    bound_retries,
    get_result,
    process_death_error,
)
from fmnist.cluster.shared_folder import Mark, mark_storage
from fmnist.data.locations import READ_ERRORS, reason
from fmnist.errors import UserError
from fmnist.models.classifier import batch_rows
from fmnist.runs.published import PublishedModel
from fmnist.scoring.actor import Changed, Scorer
from fmnist.scoring.inputs import CHUNK_BYTES, Inputs
from fmnist.storage.open import Storage

BLOCKS_PER_ACTOR = 16  # read, predicted or waiting, all together
GPU_BATCHES = 4  # to each call, since the last one of a call is padded
ADDED_BY_RAY = "\nFailed to apply UDF"  # how many attempts there were, which is one
# How often Ray starts an actor again, whatever it died of. What ends a job is a block whose actor
# dies each time (TASK_RETRIES): many deaths are nothing unusual where nodes come and go for hours.
RESTARTS = 100


class Names(FilenameProvider):
    """Names of the files of an attempt, given out by the tasks that write them.

    Raises UserError on a node that does not share the folder that it would write to.
    """

    def __init__(self, attempt: str, mark: Mark | None) -> None:
        super().__init__(dataset_uuid=attempt, file_format="parquet")
        self._mark = mark

    def get_filename_for_task(self, write_uuid: str, task_index: int) -> str:
        if self._mark:
            self._mark.check()
        name: str = super().get_filename_for_task(write_uuid, task_index)
        return name


def write_labels(
    model: PublishedModel,
    inputs: Inputs,
    scored: np.ndarray,
    *,
    storage: Storage,
    folder: str,
    attempt: str,
    actors: tuple[int, int],
    gpu: bool,
    probabilities: bool,
    rows_per_file: int,
) -> None:
    """Scores all inputs but those `scored` (n,) bool into Parquet files in the storage's `folder`.

    `actors` says how many there are at first, and at most, each with one CPU, and with a GPU of its
    own if they use any; one that dies is started again, as is a task. The files' names begin with
    `attempt_`. Raises UserError for a model that can't predict, for storage that fails, for
    processes that die each time they are started, for a folder that a node which writes does not
    share, and for data that are no longer what was surveyed.

    The pipeline runs in a process of its own beside this one, so that what Ray prints about it goes
    where its other logs go (for each pool of actors a line about ray-project/ray#53727).
    """
    rows = GPU_BATCHES * batch_rows(model.task.shape, gpu=True) if gpu else None
    block = max(CHUNK_BYTES, model.task.pixels * (rows or 1))
    system, path = storage.arrow(folder)
    # References in a list stay references: the pipeline hands them on without looking at them.
    references = [ray.put(model), ray.put((inputs.ids, inputs.marks, scored))]
    pipeline = ray.remote(num_cpus=0, max_retries=0, scheduling_strategy=on_this_node())(_run)
    try:
        with mark_storage(storage) as mark:
            get_result(
                pipeline.remote(
                    inputs.read,
                    references,
                    system,
                    path,
                    names=Names(attempt, mark),
                    actors=actors,
                    gpu=gpu,
                    rows=rows,
                    probabilities=probabilities,
                    rows_per_file=rows_per_file,
                    object_store_memory=actors[1] * BLOCKS_PER_ACTOR * block,
                    action=f"scoring {inputs.source} into {storage.uri}/{folder}",
                ),
                "the process that feeds the scoring actors",
                attempts=1,
            )
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, Changed):
            raise inputs.changed(str(error.cause)) from None
        raise


def _run(
    read: Callable[[], ray.data.Dataset],
    references: list[ray.ObjectRef],
    system: Any,
    path: str,
    *,
    names: Names,
    actors: tuple[int, int],
    gpu: bool,
    rows: int | None,
    probabilities: bool,
    rows_per_file: int,
    object_store_memory: int,
    action: str,
) -> None:
    bound_retries()  # of the tasks that read and write
    with _settings(object_store_memory):
        labels = read().map_batches(
            Scorer,
            fn_constructor_args=references,
            fn_constructor_kwargs={"probabilities": probabilities, "gpu": gpu},
            batch_size=rows,  # None: a block as it comes
            batch_format="pyarrow",
            compute=ActorPoolStrategy(min_size=actors[0], max_size=actors[1]),
            num_cpus=1,
            num_gpus=int(gpu),
            max_restarts=RESTARTS,
            max_task_retries=TASK_RETRIES,
        )
        try:
            labels.write_parquet(
                path,
                filesystem=system,
                # S3 has no folders; to make one, Arrow would ask for permissions on the bucket.
                try_create_dir=isinstance(system, pyarrow.fs.LocalFileSystem),
                filename_provider=names,
                min_rows_per_file=rows_per_file,
                # No CPU, since the actors may hold them all.
                ray_remote_args={"num_cpus": 0, "max_retries": TASK_RETRIES},
                concurrency=1,
            )
        except (ray.exceptions.RayError, UserError, Changed, *READ_ERRORS) as error:
            raise _cause(error, action) or error from None


@contextmanager
def _settings(object_store_memory: int) -> Iterator[None]:
    """Small blocks and few of them, so that many actors get some.

    Without a limit, reading would run ahead until it has filled its part of the object store.
    """
    context = DataContext.get_current().copy()
    context.target_max_block_size = CHUNK_BYTES
    context.raise_original_map_exception = True  # Ray would keep no more than the text of it
    context.execution_options.resource_limits = ExecutionResources(
        object_store_memory=object_store_memory
    )
    # Arrow has retried already, all but this; Ray Data would do all of that ten times over.
    context.retried_io_errors = ["HTTP status 429"]
    context.enable_progress_bars = False
    with DataContext.current(context):
        yield


def _cause(error: BaseException, action: str) -> Exception | None:
    """The user's mistake or the failed environment behind a failed pipeline, if there is one."""
    driver = reader = ray.util.get_node_ip_address()  # the pipeline is on the driver's node
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ray.exceptions.RayTaskError):
            # Ray keeps the address of the task's node in the text alone.
            found = re.search(r"\bip=([^,\s)]+)", str(cause))
            reader, cause = found[1] if found else driver, cause.cause
        elif isinstance(cause, Changed | UserError):
            return type(cause)(str(cause).partition(ADDED_BY_RAY)[0])
        elif isinstance(cause, PROCESS_DEATHS):
            return process_death_error(cause, action)
        elif isinstance(cause, FileNotFoundError) and reader != driver:
            return not_shared_error(action, driver=driver, reader=reader)
        elif isinstance(cause, READ_ERRORS):
            return UserError(f"{action}: {reason(cause)}")
        else:
            cause = cause.__cause__
    return None
