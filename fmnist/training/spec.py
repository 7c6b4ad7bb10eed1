"""The description of a run that its workers receive, and the result that they return."""

from dataclasses import asdict, dataclass, replace
from typing import Any, NotRequired, Protocol, TypedDict

from fmnist.cluster.actors import RemoteMethod
from fmnist.cluster.nodes import node_sizes
from fmnist.cluster.shared_folder import Mark
from fmnist.data.dataset import Dataset
from fmnist.data.streaming.dataset import ShardedDataset
from fmnist.job_config import JobConfig
from fmnist.models.network_files import NetworkFiles, WeightsFile
from fmnist.models.own_network import OwnNetwork
from fmnist.run_settings import Cluster, Training
from fmnist.runs.history import EpochRow
from fmnist.runs.ids import run_folder, run_id
from fmnist.storage.open import Storage
from fmnist.tasks import TASKS, Task
from fmnist.training import batches
from fmnist.training.monitor import MonitorHandle
from fmnist.training.splits import Splits


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
class RunSpec:
    """Everything that decides a run and where its result goes; a run that resumes has the same."""

    id: str
    task: Task
    training: Training
    cluster: Cluster
    storage: Storage
    splits: Splits  # train; validation and test where they exist with labels
    details: RunDetails
    config_file: str | None = None  # content of the run's config.toml; None: it publishes none
    network: OwnNetwork | None = None  # None: one of ours
    initial_weights: WeightsFile | None = None

    @classmethod
    def of(
        cls,
        dataset: Dataset | ShardedDataset,
        training: Training,
        cluster: Cluster,
        storage: Storage,
        *,
        command: str,
        splits: Splits,
        config: JobConfig | None = None,
    ) -> "RunSpec":
        """Makes the spec of a run; `splits` is what was made of the data set.

        `config` has the flags of the job that trains the run.
        """
        task = dataset.task
        sizes = {name: split.size for name, split in splits.items()}
        data: Any = {"source": dataset.source, "fingerprint": dataset.fingerprint, **sizes}
        details = RunDetails(
            command=command, task=task.details, dataset=data, nodes=len(node_sizes())
        )
        spec = cls(
            id="",
            task=task,
            training=training,
            cluster=cluster,
            storage=storage,
            splits=splits,
            details=details,
        )
        return spec.with_training(training, config)

    def with_training(self, training: Training, config: JobConfig | None) -> "RunSpec":
        """Returns the spec of another run on the same data, held out alike; `config` as in `of`."""
        # A job's task can be left to its default, and the defaults of jobs differ.
        named = {"task": self.task.name} if TASKS.get(self.task.name) == self.task else {}
        settings = named | asdict(training) | asdict(self.cluster)
        return replace(
            self,
            id=run_id(self.task, training, self.details["dataset"]["fingerprint"]),
            training=training,
            config_file=config.of_run(settings, self.storage.uri).to_toml() if config else None,
        )

    def with_files(self, files: NetworkFiles) -> "RunSpec":
        """Returns the spec with those of the user's files that its settings name."""
        return replace(
            self,
            network=files.network(self.training),
            initial_weights=files.initial_weights(self.training),
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
    """How the workers ended: if no field says it, the run is published or was stopped early."""

    error: str | None = None  # the message of a UserError
    preempted: bool = False  # they were asked to end, and have saved a checkpoint
