"""The plan of a retraining: which challenger to train on today's data, or why none is needed."""

from dataclasses import dataclass, replace

from fmnist.data.dataset import Dataset, labelled
from fmnist.errors import UserError
from fmnist.models.network_files import NO_FILES, NetworkFiles
from fmnist.registry.champion import Champion, read_champion
from fmnist.retraining.held_out import HeldOut, hold_out
from fmnist.retraining.pending import PendingPromotion, read_pending
from fmnist.retraining.promotion import rolled_back_reason
from fmnist.retraining.result import Outcome
from fmnist.run_settings import MOST_SEED, Training, resolve_auto
from fmnist.runs.ids import run_folder, run_id
from fmnist.runs.published import check_same_task
from fmnist.storage.manifest import read_manifest
from fmnist.storage.open import Storage
from fmnist.tasks import Task


@dataclass(frozen=True, kw_only=True)
class NoTraining:
    """The outcome of a retraining that has nothing to train, and the reason for people."""

    outcome: Outcome
    reason: str


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Steps that a retraining will take with this data.

    `training` is the challenger's configuration, `challenger` its run id. `no_training` is None
    unless there is nothing to train. `pending` is this challenger's promotion, if the job that
    promoted it died before it published a summary.
    """

    dataset: Dataset
    champion: Champion | None
    training: Training
    challenger: str
    held_out: HeldOut
    no_training: NoTraining | None
    pending: PendingPromotion | None = None
    files: NetworkFiles = NO_FILES  # that `training` names


def make_plan(
    dataset: Dataset, training: Training, storage: Storage, *, force: bool = False
) -> Plan:
    """Makes the plan from the data and the registry; writes nothing.

    A pending promotion on this data with this recipe, whatever its seed, comes first: its summary
    is still to be published. Otherwise, nothing is trained if the champion was trained on this data
    with this recipe, whatever its seed, or if the challenger was rolled back before. With `force`,
    the challenger gets the first seed from the configured one on of which no run is published and
    none was champion: run ids follow from configuration and data, so another training needs
    another seed.

    Raises UserError if the champion has other classes, takes images of another shape, or is gone.
    """
    task = dataset.task
    training = resolve_auto(training, task, len(labelled(dataset)))
    champion = read_champion(storage, task.name)
    if champion:
        _check_champion(storage, champion, task)
    pending = _find_pending(dataset, training, storage, champion)
    if pending:
        training = replace(training, seed=pending.seed)
    elif force:
        training = _with_unused_seed(dataset, training, storage, champion)
    challenger = run_id(task, training, dataset.fingerprint)
    no_training = None
    if champion and not force and not pending:
        no_training = _nothing_to_train(dataset, training, storage, champion, challenger)
    return Plan(
        dataset=dataset,
        champion=champion,
        training=training,
        challenger=challenger,
        held_out=hold_out(dataset, training),
        no_training=no_training,
        pending=pending,
    )


def _check_champion(storage: Storage, champion: Champion, task: Task) -> None:
    """Raises UserError where another task has the same name: a folder of images gives its own."""
    try:
        check_same_task(storage, run_folder(champion.run), task)
    except UserError as error:
        raise UserError(
            f"the champion of the task {task.name!r} can't be compared: {error}. Without --task, "
            "a folder of images gives its task a name and classes: another --storage, or a task "
            "file, keeps two of one name apart; a task file with the champion's name and classes "
            "takes images of fewer classes"
        ) from error


def _find_pending(
    dataset: Dataset, training: Training, storage: Storage, champion: Champion | None
) -> PendingPromotion | None:
    """Returns the newest promotion of this data and recipe that happened without a summary."""
    for pending in read_pending(storage, dataset.task.name):
        same = run_id(dataset.task, replace(training, seed=pending.seed), dataset.fingerprint)
        if pending.run == same and pending.happened(champion):
            return pending
    return None


def _with_unused_seed(
    dataset: Dataset, training: Training, storage: Storage, champion: Champion | None
) -> Training:
    champions = {move.run for move in champion.history} if champion else set()
    while True:
        run = run_id(dataset.task, training, dataset.fingerprint)
        if run not in champions and read_manifest(storage, run_folder(run)) is None:
            return training
        training = replace(training, seed=(training.seed + 1) % (MOST_SEED + 1))


def _nothing_to_train(
    dataset: Dataset, training: Training, storage: Storage, champion: Champion, challenger: str
) -> NoTraining | None:
    manifest = read_manifest(storage, run_folder(champion.run))
    config = manifest.details.get("config") if manifest else None
    seed = config.get("seed") if isinstance(config, dict) else None
    if isinstance(seed, int):
        same = run_id(dataset.task, replace(training, seed=seed), dataset.fingerprint)
        if champion.run == same:
            reason = "The champion has been trained on this data with this recipe."
            return NoTraining(outcome="unchanged", reason=reason)
    if challenger in champion.rolled_back:
        return NoTraining(outcome="kept", reason=rolled_back_reason(challenger))
    return None
