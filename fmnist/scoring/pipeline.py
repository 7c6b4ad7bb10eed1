"""The Ray Data pipeline of scoring: images are read, an actor pool predicts, labels are written."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import numpy as np
import ray
from pyarrow.fs import FileSystem, LocalFileSystem
from ray.data import ActorPoolStrategy, ExecutionResources
from ray.data.datasource import FilenameProvider

from fmnist.cluster.data_pipelines import data_context
from fmnist.cluster.progress_bar import show_count
from fmnist.cluster.remote import TASK_RETRIES, bound_retries, find_cause, get_result
from fmnist.cluster.shared_folder import Mark, mark_storage
from fmnist.errors import UserError
from fmnist.models.classifier import batch_rows
from fmnist.scoring.actor import DataChanged, ScoringActor
from fmnist.scoring.inputs import CHUNK_BYTES, Reader, block_bytes
from fmnist.scoring.job import ScoringJob
from fmnist.scoring.settings import PredictionSettings
from fmnist.scoring.supervisor import SupervisorHandle, start_supervisor
from fmnist.storage.errors import READ_ERRORS

BLOCKS_PER_ACTOR = 16  # that are read, predicted or waiting, all together
READ_TIMEOUT = 5.0  # seconds for an answer of the supervisor
GPU_BATCHES = 4  # in each call of an actor; only the last batch of a call is padded
# Ray starts an actor again so many times. Many deaths are usual where nodes come and go for hours.
# A job ends only if an actor dies several times without finishing a block: see the supervisor.
ACTOR_RESTARTS = 100


class LabelFileNames(FilenameProvider):
    """Names the label files of an attempt, in the tasks that write them.

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


@dataclass(frozen=True, kw_only=True)
class PipelineSettings:
    """The settings of a job's pipeline, without the model and the images, which are large.

    `pool_size` is the number of actors at first, and at most. `rows_per_call` are the images that
    an actor gets at once; None: as many as a block has.
    """

    filesystem: FileSystem
    folder: str  # in the file system
    file_names: LabelFileNames
    pool_size: tuple[int, int]
    prediction: PredictionSettings
    rows_per_call: int | None
    rows_per_file: int
    block_bytes: int  # of ids and images
    object_store_memory: int  # bytes that all blocks take together
    action: str  # what the pipeline does, for messages


def write_labels(job: ScoringJob, scored: np.ndarray, attempt: str) -> None:
    """Writes Parquet files of predictions for all inputs but those that are `scored` (n,) bool.

    The files' names begin with `attempt_`. An actor that dies is started again, as is a task.
    Raises UserError for a model that can't predict, for storage that fails, for processes that die
    each time they are started, for a folder that a node which writes does not share, and for data
    that have changed since they were hashed.

    The pipeline runs in a process of its own beside this one, so that what Ray prints about it goes
    where its other logs go (for each pool of actors a line about ray-project/ray#53727).
    """
    # References in a list stay references: the pipeline passes them on without fetching them.
    expected = (job.inputs.ids, job.inputs.hashes, scored, job.inputs.names)
    references = [ray.put(job.model), ray.put(expected)]
    read = job.inputs.reader(~scored)
    try:
        with mark_storage(job.storage) as mark:
            settings = _settings(job, LabelFileNames(attempt, mark))
            supervisor = start_supervisor(settings.action, job.model.run)
            with _show_progress(supervisor, before=int(np.count_nonzero(scored)), of=len(scored)):
                get_result(
                    supervisor.run.remote(_run_pipeline, read, references, settings),
                    "the process that feeds the scoring actors",
                    attempts=1,
                )
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, DataChanged):
            raise job.inputs.changed_error(str(error.cause)) from None
        raise


@contextmanager
def _show_progress(supervisor: SupervisorHandle, *, before: int, of: int) -> Iterator[None]:
    done = before

    def count() -> int:
        nonlocal done
        with suppress(ray.exceptions.RayError):  # who waits for the pipeline gets the error
            scored: int = ray.get(supervisor.scored.remote(), timeout=READ_TIMEOUT)
            done = min(before + scored, of)
        return done

    with show_count("scoring", "images", of, count):
        yield


def _settings(job: ScoringJob, file_names: LabelFileNames) -> PipelineSettings:
    filesystem, folder = job.storage.arrow(job.labels_folder)
    task = job.model.task
    rows = GPU_BATCHES * batch_rows(task.shape, gpu=True) if job.settings.gpu else None
    block = max(CHUNK_BYTES, task.pixels * (rows or 1))
    return PipelineSettings(
        filesystem=filesystem,
        folder=folder,
        file_names=file_names,
        pool_size=job.pool_size,
        prediction=job.settings,
        rows_per_call=rows,
        rows_per_file=job.rows_per_file,
        block_bytes=block_bytes(task.shape),
        object_store_memory=job.pool_size[1] * BLOCKS_PER_ACTOR * block,
        action=f"scoring {job.inputs.source} into {job.storage.uri}/{job.labels_folder}",
    )


def _run_pipeline(
    read: Reader,
    references: list[ray.ObjectRef],
    settings: PipelineSettings,
    supervisor: SupervisorHandle,
) -> None:
    bound_retries()  # of the tasks that read and write
    with _data_context(settings):
        predictions = _predict(read(), references, settings, supervisor)
        try:
            _write(predictions, settings)
        except (ray.exceptions.RayError, UserError, DataChanged, *READ_ERRORS) as error:
            raise find_cause(error, settings.action, DataChanged) or error from None


def _predict(
    images: ray.data.Dataset,
    references: list[ray.ObjectRef],
    settings: PipelineSettings,
    supervisor: SupervisorHandle,
) -> ray.data.Dataset:
    least, most = settings.pool_size
    prediction = settings.prediction
    return images.map_batches(
        ScoringActor,
        fn_constructor_args=references,
        fn_constructor_kwargs={"settings": prediction, "supervisor": supervisor},
        batch_size=settings.rows_per_call,
        batch_format="pyarrow",
        compute=ActorPoolStrategy(min_size=least, max_size=most),
        num_cpus=prediction.cpus,
        num_gpus=int(prediction.gpu),
        max_restarts=ACTOR_RESTARTS,
        max_task_retries=-1,
    )


def _write(predictions: ray.data.Dataset, settings: PipelineSettings) -> None:
    predictions.write_parquet(
        settings.folder,
        filesystem=settings.filesystem,
        # S3 has no folders; to make one, Arrow would ask for permissions on the bucket.
        try_create_dir=isinstance(settings.filesystem, LocalFileSystem),
        filename_provider=settings.file_names,
        min_rows_per_file=settings.rows_per_file,
        # No CPU, since the actors may hold them all.
        ray_remote_args={"num_cpus": 0, "max_retries": TASK_RETRIES},
        concurrency=1,
    )


@contextmanager
def _data_context(settings: PipelineSettings) -> Iterator[None]:
    """Makes Ray Data use small blocks, so that each of many actors gets some, and few of them.

    Without a limit, reading would run ahead until it has filled its part of the object store.
    """
    with data_context() as context:
        context.target_max_block_size = settings.block_bytes
        context.execution_options.resource_limits = ExecutionResources(
            object_store_memory=settings.object_store_memory
        )
        yield
