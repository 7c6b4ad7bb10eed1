"""What the workers of a run are told, and what they answer."""

from dataclasses import asdict, dataclass
from typing import Any

import ray

from fmnist import batches
from fmnist.capacity import nodes
from fmnist.dataset import Dataset, labelled, split
from fmnist.recipes import Cluster, Training
from fmnist.runs import run_folder, run_id
from fmnist.storage import Storage
from fmnist.tasks import Task


@dataclass(frozen=True, kw_only=True)
class Part:
    """One split in the object store, where all workers of a node share it without a copy."""

    images: ray.ObjectRef  # uint8 (n, height, width, channels)
    labels: ray.ObjectRef  # int64 (n,)
    size: int

    def get(self) -> tuple[Any, Any]:
        """Images and labels, read-only."""
        return ray.get(self.images), ray.get(self.labels)


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How a run's workers ended: with a published result unless one of these says otherwise."""

    mistake: str | None = None  # what a UserError should say
    paused: bool = False  # told to end before their time, with a checkpoint
    stopped: bool = False  # early, by the sweep's referee, with a checkpoint


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """All that a worker is told."""

    id: str
    task: Task
    training: Training
    cluster: Cluster
    storage: Storage
    parts: dict[str, Part]  # train; validation and test where there are labels for them
    details: dict[str, Any]  # how the run came about, for its manifest and its page
    board: Any = None  # the actor handle of a progress.Board
    referee: Any = None  # of an early_stopping.Referee, in a sweep that stops runs early

    @classmethod
    def of(
        cls,
        dataset: Dataset,
        training: Training,
        cluster: Cluster,
        storage: Storage,
        *,
        command: str,
        parts: dict[str, Part],
    ) -> "Assignment":
        """What the workers of this run are told; `parts` is what `place` made of the data set."""
        task = dataset.task
        sizes = {name: part.size for name, part in parts.items()}
        details = {
            "command": command,
            "task": task.details,
            "dataset": {"source": dataset.source, "fingerprint": dataset.fingerprint, **sizes},
            "nodes": len(nodes()),
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


def place(dataset: Dataset, validation: float) -> dict[str, Part]:
    """The splits in the object store, as far as they have labels."""
    train, held_out = split(labelled(dataset), validation)
    return {
        name: Part(images=ray.put(part.images), labels=ray.put(part.labels), size=len(part))
        for name, part in (("train", train), ("validation", held_out), ("test", dataset.test))
        if part is not None and part.labels is not None
    }
