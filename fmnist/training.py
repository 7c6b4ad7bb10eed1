"""One training run on Ray Train: submitted, trained to the end or resumed, evaluated, published.

The same call does all of it: a published run is found by its id, an unfinished one goes on from its
newest sound checkpoint, and ends byte for byte where an uninterrupted run ends.
"""

import json
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from typing import Any

import ray
import ray.train
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from fmnist import batches
from fmnist.backend import KerasConfig
from fmnist.capacity import cpus_per_worker, nodes
from fmnist.dataset import Dataset, Examples, split
from fmnist.errors import UserError
from fmnist.lease import held
from fmnist.manifest import Manifest, content_id, read_manifest
from fmnist.progress import shown
from fmnist.recipes import Cluster, Training, check, least_and_most, settle
from fmnist.storage import Storage
from fmnist.tasks import Task

PATIENCE = 20  # seconds for a run to save its state when its driver is told to end
BEGUN = "begun.json"
FORMAT = 1  # raised when the same configuration would train to other weights


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
            "task": {"name": task.name, "classes": list(task.classes), "shape": list(task.shape)},
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


def run_folder(run_id: str) -> str:
    """Where in the storage root a run lies."""
    return f"runs/{run_id}"


def run_id(task: Task, training: Training, fingerprint: str) -> str:
    """Follows from configuration and data alone: submitted again, a run finds itself.

    The fingerprint of the data set has its task in it.
    """
    digest = content_id(FORMAT, asdict(training), fingerprint)
    return f"{task.name}-{training.architecture}-{digest}"


def train(
    dataset: Dataset, training: Training, cluster: Cluster, storage: Storage, *, command: str
) -> Manifest:
    """The published run of this configuration on this data set, trained now unless it is there.

    Raises UserError for a configuration that cannot be trained on this data or this cluster, for
    storage that fails, and for a loss that is no longer finite.
    """
    check(training, cluster)
    training = settle(training, dataset.task, len(labelled(dataset)))
    folder = run_folder(run_id(dataset.task, training, dataset.fingerprint))
    if published := read_manifest(storage, folder):
        return published
    threads = cpus_per_worker(*least_and_most(training), cluster)
    begin(dataset, training, storage)
    assignment = Assignment.of(
        dataset,
        training,
        replace(cluster, cpus_per_worker=threads),
        storage,
        command=command,
        parts=place(dataset, training.validation),
    )
    with shown(training.epochs) as board:
        _run(replace(assignment, board=board))
    published = read_manifest(storage, folder)
    assert published, "the workers ended well, so rank 0 has published"
    return published


def begin(dataset: Dataset, training: Training, storage: Storage) -> None:
    """Notes what an unfinished run is of, for `check_resumed`; the first note stays."""
    folder = run_folder(run_id(dataset.task, training, dataset.fingerprint))
    note = {"config": asdict(training), "fingerprint": dataset.fingerprint}
    storage.create(f"{folder}/{BEGUN}", json.dumps(note).encode())


def check_resumed(
    run: str, dataset: Dataset, training: Training, cluster: Cluster, storage: Storage
) -> None:
    """Raises UserError unless this configuration and these data go on with that run."""
    check(training, cluster)
    training = settle(training, dataset.task, len(labelled(dataset)))
    if run == run_id(dataset.task, training, dataset.fingerprint):
        return
    found = storage.read_version(f"{run_folder(run)}/{BEGUN}")
    if found is None:
        raise UserError(f"{storage.uri}: found no run {run!r}, expected one that was begun")
    note = json.loads(found[0])
    problems = [
        f"{name} is {value}, but the run was begun with {note['config'].get(name)}"
        for name, value in asdict(training).items()
        if value != note["config"].get(name)
    ]
    if note["fingerprint"] != dataset.fingerprint:
        problems.append(
            f"the data at {dataset.source} has changed: found fingerprint {dataset.fingerprint}, "
            f"but the run was begun with {note['fingerprint']}"
        )
    raise UserError.of([f"run {run} can't go on: {problem}" for problem in problems])


def _run(assignment: Assignment) -> None:
    """Fits in a process of its own, so that a signal finds this one free to act on it."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    retries = assignment.cluster.max_failures  # if this process dies; not if it raises
    task = ray.remote(num_cpus=0, max_retries=retries, scheduling_strategy=here)(fit)
    running = task.remote(assignment)
    try:
        ending = ray.get(running)
    except KeyboardInterrupt:
        ray.get(assignment.board.stop.remote())
        ray.wait([running], timeout=PATIENCE)
        raise
    if ending.mistake:
        raise UserError(ending.mistake)


def labelled(dataset: Dataset) -> Examples:
    """The training examples; UserError where there are none with labels."""
    if dataset.train is None or dataset.train.labels is None:
        raise UserError(f"{dataset.source}: found no labelled training examples, expected some")
    return dataset.train


def place(dataset: Dataset, validation: float) -> dict[str, Part]:
    """The splits in the object store, as far as they have labels."""
    train, held_out = split(labelled(dataset), validation)
    return {
        name: Part(images=ray.put(part.images), labels=ray.put(part.labels), size=len(part))
        for name, part in (("train", train), ("validation", held_out), ("test", dataset.test))
        if part is not None and part.labels is not None
    }


def fit(assignment: Assignment, callbacks: tuple[ray.train.UserCallback, ...] = ()) -> Ending:
    """Runs the workers to the end, again after each time that a worker had to leave."""
    storage, board = assignment.storage, assignment.board
    try:
        with held(storage, f"{assignment.folder}/lease.json", tell=board.note.remote):
            failures = 0
            while read_manifest(storage, assignment.folder) is None:
                try:
                    ending = _fit_once(assignment, callbacks)
                except (
                    ray.exceptions.RayActorError
                ):  # of the controller; Train restarts only workers
                    failures += 1
                    if failures > assignment.cluster.max_failures:
                        raise
                    continue
                if not ending.paused or ray.get(board.stopping.remote()):
                    return ending
    except UserError as error:
        return Ending(mistake=str(error))
    return Ending()


def _fit_once(assignment: Assignment, callbacks: tuple[ray.train.UserCallback, ...]) -> Ending:
    cluster, training = assignment.cluster, assignment.training
    workers = training.workers  # elastic if it is a range
    resources: dict[str, Any] = {"CPU": cluster.cpus_per_worker}
    if cluster.gpu:
        resources["GPU"] = cluster.gpus_per_worker
    # Ray Train wants a folder for its own records, of which nothing here depends: what a run needs
    # to go on lies in our storage.
    with tempfile.TemporaryDirectory(prefix="fmnist-") as records:
        trainer = DataParallelTrainer(
            _work,
            train_loop_config={"assignment": assignment},
            backend_config=KerasConfig(),
            scaling_config=ray.train.ScalingConfig(
                num_workers=workers if isinstance(workers, int) else least_and_most(training),
                elastic_resize_monitor_interval_s=cluster.resize_every,
                use_gpu=cluster.gpu,
                resources_per_worker=resources,
            ),
            run_config=ray.train.RunConfig(
                name=assignment.id,
                storage_path=records,
                callbacks=list(callbacks),
                failure_config=ray.train.FailureConfig(max_failures=cluster.max_failures),
            ),
        )
        try:
            return trainer.fit().return_value
        except ray.train.TrainingFailedError:
            if mistake := ray.get(assignment.board.failure.remote()):
                return Ending(mistake=mistake)
            raise


def _work(config: dict[str, Assignment]) -> Ending:
    begin = time.perf_counter()
    from fmnist.worker import work  # workers alone hold a model

    return work(config["assignment"], begin)
