"""The summary of a retraining: what summary.json holds and the page shows."""

from dataclasses import asdict, dataclass
from typing import Any, TypedDict

from fmnist.data.dataset import Dataset
from fmnist.drift.check import DataCheck
from fmnist.drift.limits import DriftLimits
from fmnist.pages.html import Fact
from fmnist.pages.scores import EvaluationJson
from fmnist.registry.champion import pointer_key
from fmnist.registry.retention_settings import Retention
from fmnist.retraining.gate import Gate, GateDecision
from fmnist.retraining.held_out import HeldOut, HeldOutPart
from fmnist.retraining.plan import Plan
from fmnist.retraining.result import ChampionVersion, Outcome, RetrainingResult
from fmnist.run_settings import Cluster, Training
from fmnist.runs.ids import run_folder
from fmnist.scoring.predictions import LABELS, SUBMISSION, predictions_folder
from fmnist.storage.manifest import Manifest, content_id, versions
from fmnist.storage.open import Storage

# Left out of a summary's id: the same result of another command or version is the same result. The
# data check follows from the rest, unless it has decided the outcome.
NOT_IN_ID = ("config", "versions", "command")
DATA_CHECK = ("data_check", "limits")


class TaskJson(TypedDict):
    """A task's name, classes, and the shape of its images: height, width, channels."""

    name: str
    classes: list[str]
    shape: list[int]


@dataclass(frozen=True, kw_only=True)
class ChampionChange:
    """The champion when the job began, and the one when it ended."""

    before: ChampionVersion | None
    after: ChampionVersion


@dataclass(frozen=True, kw_only=True)
class HeldOutSummary:
    """Part and number of the examples that the gate was applied to, with a note for people."""

    part: HeldOutPart
    examples: int
    note: str


@dataclass(frozen=True, kw_only=True)
class PredictionsSummary:
    """Id of the champion's predictions, their number, and where they are."""

    id: str
    images: int
    labels: str
    submission: str


@dataclass(frozen=True, kw_only=True)
class RetrainingSummary:
    """All that a retraining says about itself; `to_json` is the content of summary.json.

    `dataset` holds source, fingerprint and the number of examples of each part that the data have.
    `challenger` is None if there was nothing to train. `pointer` and `model` are the places of the
    champion's pointer and run. `evaluations`, by `champion` and `challenger`, are those of the
    `RetrainingResult`. `predictions` is None if nothing was scored, and `data_check` if there was
    no champion to compare with. `pruned` are the runs that were marked for deletion. `config` holds
    the fields of `Training` and `Cluster`.
    """

    outcome: Outcome
    reason: str
    task: TaskJson
    dataset: dict[str, str | int]
    champion: ChampionChange
    challenger: str | None
    pointer: str
    model: str
    held_out: HeldOutSummary
    decision: GateDecision | None
    evaluations: dict[str, EvaluationJson]
    gate: Gate
    data_check: DataCheck | None
    limits: DriftLimits
    predictions: PredictionsSummary | None
    retention: Retention
    pruned: list[str]
    config: dict[str, Fact]
    versions: dict[str, str]
    command: str

    @property
    def id(self) -> str:
        """Id that follows from what happened."""
        left_out = NOT_IN_ID + (() if self.outcome == "drifted" else DATA_CHECK)
        fields = {name: each for name, each in asdict(self).items() if name not in left_out}
        return f"{self.task['name']}-{self.outcome}-{content_id(fields)}"

    def to_json(self) -> dict[str, Any]:
        """Returns the fields as summary.json has them, the id first."""
        return {"id": self.id, **asdict(self)}


def summarize(
    plan: Plan,
    result: RetrainingResult,
    predictions: Manifest | None,
    pruned: list[str],
    *,
    data_check: DataCheck | None,
    limits: DriftLimits,
    cluster: Cluster,
    storage: Storage,
    retention: Retention,
    command: str,
) -> RetrainingSummary:
    """Makes the summary of a retraining; its champion has scored, and old runs are marked."""
    task = plan.dataset.task
    return RetrainingSummary(
        outcome=result.outcome,
        reason=result.reason,
        task=TaskJson(name=task.name, classes=list(task.classes), shape=list(task.shape)),
        dataset=_dataset(plan.dataset),
        champion=ChampionChange(before=result.before, after=result.after),
        challenger=None if result.outcome in ("unchanged", "drifted") else plan.challenger,
        pointer=f"{storage.uri}/{pointer_key(task.name)}",
        model=f"{storage.uri}/{run_folder(result.after.run)}",
        held_out=_held_out(plan.held_out),
        decision=result.decision,
        evaluations=result.evaluations,
        gate=result.gate,
        data_check=data_check,
        limits=limits,
        predictions=_predictions(storage, predictions) if predictions else None,
        retention=retention,
        pruned=pruned,
        config=_config(plan.training, cluster),
        versions=versions(),
        command=command,
    )


def _dataset(dataset: Dataset) -> dict[str, str | int]:
    parts = {"train": dataset.train, "test": dataset.test}
    sizes = {name: len(part) for name, part in parts.items() if part is not None}
    return {"source": dataset.source, "fingerprint": dataset.fingerprint, **sizes}


def _held_out(held_out: HeldOut) -> HeldOutSummary:
    return HeldOutSummary(part=held_out.part, examples=len(held_out.examples), note=held_out.note)


def _predictions(storage: Storage, manifest: Manifest) -> PredictionsSummary:
    folder = f"{storage.uri}/{predictions_folder(manifest.id)}"
    return PredictionsSummary(
        id=manifest.id,
        images=manifest.details["images"],
        labels=f"{folder}/{LABELS}/",
        submission=f"{folder}/{SUBMISSION}",
    )


def _config(training: Training, cluster: Cluster) -> dict[str, Fact]:
    return asdict(training) | asdict(cluster)
