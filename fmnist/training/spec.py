"""The description of a run that its workers receive, and the result that they return."""

from dataclasses import asdict, dataclass
from typing import Any, NotRequired, Protocol, TypedDict

import numpy as np
import ray

from fmnist.cluster.actors import RemoteMethod
from fmnist.cluster.nodes import node_sizes
from fmnist.cluster.shared_folder import Mark
from fmnist.data.dataset import Dataset, Examples, check_room, labelled, split_rows
from fmnist.job_config import JobConfig
from fmnist.runs.history import EpochRow
from fmnist.runs.ids import run_folder, run_id
from fmnist.settings import Cluster, Training
from fmnist.storage.open import Storage
from fmnist.tasks import TASKS, Task
from fmnist.training import batches
from fmnist.training.monitor import MonitorHandle


class DatasetDetails(TypedDict):
    """The data set of a run, with the number of examples in each split."""

    source: str
    fingerprint: str
    train: int
    validation: NotRequired[int]
    test: NotRequired[int]


class RunDetails(TypedDict):
    """Circumstances of a run, for its manifest and its page."""

    command: str
    task: dict[str, Any]
    dataset: DatasetDetails
    nodes: int  # that were alive when the run was started


@dataclass(frozen=True, kw_only=True)
class SharedSplit:
    """One split in Ray's object store, where all workers of a node share it without a copy."""

    images: ray.ObjectRef  # uint8 (n, height, width, channels)
    labels: ray.ObjectRef  # int64 (n,)
    size: int

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns images and labels, read-only."""
        return ray.get(self.images), ray.get(self.labels)


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """Everything that decides a run and where its result goes; a run that resumes has the same."""

    id: str
    task: Task
    training: Training
    cluster: Cluster
    storage: Storage
    splits: dict[str, SharedSplit]  # train; validation and test where they exist with labels
    details: RunDetails
    config_file: str | None = None  # content of the run's config.toml; None: it publishes none

    @classmethod
    def of(
        cls,
        dataset: Dataset,
        training: Training,
        cluster: Cluster,
        storage: Storage,
        *,
        command: str,
        splits: dict[str, SharedSplit],
        config: JobConfig | None = None,
    ) -> "RunSpec":
        """Makes the spec of a run; `splits` is what `put_splits` made of the data set.

        `config` has the flags of the job that trains the run.
        """
        task = dataset.task
        sizes = {name: split.size for name, split in splits.items()}
        data: Any = {"source": dataset.source, "fingerprint": dataset.fingerprint, **sizes}
        details = RunDetails(
            command=command, task=task.details, dataset=data, nodes=len(node_sizes())
        )
        # A job's task can be left to its default, and the defaults of jobs differ.
        named = {"task": task.name} if TASKS.get(task.name) == task else {}
        settings = named | asdict(training) | asdict(cluster)
        return cls(
            id=run_id(task, training, dataset.fingerprint),
            task=task,
            training=training,
            cluster=cluster,
            storage=storage,
            splits=splits,
            details=details,
            config_file=config.of_run(settings, storage.uri).to_toml() if config else None,
        )

    @property
    def folder(self) -> str:
        """The run's folder in the storage root."""
        return run_folder(self.id)

    @property
    def config(self) -> dict[str, Any]:
        """All settings in one dictionary, for people to read."""
        return asdict(self.training) | asdict(self.cluster)

    @property
    def steps_per_epoch(self) -> int:
        """Number of optimizer steps in an epoch."""
        return batches.count_steps(self.splits["train"].size, self.training.batch)


class EarlyStopperHandle(Protocol):
    """The actor handle of an `early_stopping.EarlyStopper`.

    It is defined here because its module imports Ray Tune, which takes a worker a second.
    """

    should_stop: RemoteMethod[[str, EpochRow]]


@dataclass(frozen=True, kw_only=True)
class RunContext:
    """Connects the workers of a run to the job that has started them."""

    monitor: MonitorHandle
    early_stopper: EarlyStopperHandle | None = None  # in a sweep that stops runs early
    mark: Mark | None = None  # in the storage's folder; None for S3


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """The way in which the workers ended: with a published run unless a field says otherwise."""

    error: str | None = None  # the message of a UserError
    preempted: bool = False  # they were asked to end, and have saved a checkpoint
    stopped_early: bool = False  # by the sweep's EarlyStopper, with a checkpoint


def put_splits(dataset: Dataset, validation: float) -> dict[str, SharedSplit]:
    """Puts the splits that have labels into Ray's object store.

    `validation` is the share of the training examples that is held out. Raises UserError if the
    copies do not fit into memory.
    """
    train, test = labelled(dataset), dataset.test
    rows, held_out = split_rows(len(train), validation)
    loaded = train.images.nbytes + (test.images.nbytes if test else 0)
    copied = train.images[:1].nbytes * len(rows) if held_out is not None else 0
    check_room(2 * loaded + copied, f"{dataset.source}: its images, their split and shared copies")
    # `take` copies, so the splits are made one after the other: the copy of one is freed once it is
    # in the object store.
    if held_out is None:
        splits = {"train": _put(train)}
    else:
        splits = {"train": _put(train.take(rows)), "validation": _put(train.take(held_out))}
    if test is not None and test.labels is not None:
        splits["test"] = _put(test)
    return splits


def _put(split: Examples) -> SharedSplit:
    return SharedSplit(images=ray.put(split.images), labels=ray.put(split.labels), size=len(split))
