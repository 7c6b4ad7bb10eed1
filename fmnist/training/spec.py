"""What the workers of a run are told, and what they answer."""

from dataclasses import asdict, dataclass
from typing import Any

import ray

from fmnist.cluster.nodes import node_sizes
from fmnist.cluster.shared_folder import Mark
from fmnist.data.dataset import Dataset, Examples, check_room, labelled, split_rows
from fmnist.recipes import Cluster, Training
from fmnist.runs.ids import run_folder, run_id
from fmnist.storage.open import Storage
from fmnist.tasks import Task
from fmnist.training import batches


@dataclass(frozen=True, kw_only=True)
class SharedSplit:
    """One split in the object store, where all workers of a node share it without a copy."""

    images: ray.ObjectRef  # uint8 (n, height, width, channels)
    labels: ray.ObjectRef  # int64 (n,)
    size: int

    def get(self) -> tuple[Any, Any]:
        """Images and labels, read-only."""
        return ray.get(self.images), ray.get(self.labels)


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """How a run's workers ended: with a published result unless one of these says otherwise."""

    mistake: str | None = None  # what a UserError should say
    paused: bool = False  # told to end before their time, with a checkpoint
    stopped: bool = False  # early, by the sweep's early_stopper, with a checkpoint


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """All that a worker is told."""

    id: str
    task: Task
    training: Training
    cluster: Cluster
    storage: Storage
    parts: dict[str, SharedSplit]  # train; validation and test where there are labels for them
    details: dict[str, Any]  # how the run came about, for its manifest and its page
    monitor: Any = None  # the actor handle of a progress.RunMonitor
    early_stopper: Any = None  # of an early_stopping.EarlyStopper, in a sweep that stops runs early
    mark: Mark | None = None  # in the storage, where that is a folder

    @classmethod
    def of(
        cls,
        dataset: Dataset,
        training: Training,
        cluster: Cluster,
        storage: Storage,
        *,
        command: str,
        parts: dict[str, SharedSplit],
    ) -> "RunSpec":
        """What the workers of this run are told; `parts` is what `place` made of the data set."""
        task = dataset.task
        sizes = {name: part.size for name, part in parts.items()}
        details = {
            "command": command,
            "task": task.details,
            "dataset": {"source": dataset.source, "fingerprint": dataset.fingerprint, **sizes},
            "nodes": len(node_sizes()),
        }
        return cls(
            id=run_id(task, training, dataset.fingerprint),
            task=task,
            training=training,
            cluster=cluster,
            storage=storage,
            parts=parts,
            details=details,
        )

    @property
    def folder(self) -> str:
        """The run's folder in the storage root."""
        return run_folder(self.id)

    @property
    def config(self) -> dict[str, Any]:
        """The configuration, flat, for people to read."""
        return asdict(self.training) | asdict(self.cluster)

    @property
    def steps(self) -> int:
        """Steps in an epoch."""
        return batches.steps(self.parts["train"].size, self.training.batch)


def put_splits(dataset: Dataset, validation: float) -> dict[str, SharedSplit]:
    """The splits in the object store, as far as they have labels.

    Raises UserError if this does not fit into memory.
    """
    train, test = labelled(dataset), dataset.test
    rows, held_out = split_rows(len(train), validation)
    loaded = train.images.nbytes + (test.images.nbytes if test else 0)
    copied = train.images[:1].nbytes * len(rows) if held_out is not None else 0
    check_room(2 * loaded + copied, f"{dataset.source}: its images, their split and shared copies")
    # One after the other, since each is copied by `take` before it is in the object store.
    if held_out is None:
        parts = {"train": _put(train)}
    else:
        parts = {"train": _put(train.take(rows)), "validation": _put(train.take(held_out))}
    if test is not None and test.labels is not None:
        parts["test"] = _put(test)
    return parts


def _put(part: Examples) -> SharedSplit:
    return SharedSplit(images=ray.put(part.images), labels=ray.put(part.labels), size=len(part))
