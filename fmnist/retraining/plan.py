"""What today's data ask for: a challenger to train, or nothing."""

from dataclasses import dataclass, replace

from fmnist.data.dataset import Dataset, labelled
from fmnist.recipes import Training, resolve_auto
from fmnist.registry.champion import Champion, read_champion
from fmnist.retraining.challenge import HeldOut, hold_out, withdrawn_reason
from fmnist.retraining.verdicts import Note, Outcome, read_notes
from fmnist.runs.ids import run_folder, run_id
from fmnist.storage.manifest import read_manifest
from fmnist.storage.open import Storage


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What there is to do with this data: `settled` says why nothing, and is None otherwise.

    `training` is the challenger's configuration, `challenger` its run id. `unfinished` is the note
    of this challenger's promotion, if the job that promoted it died before it published a summary.
    """

    dataset: Dataset
    champion: Champion | None
    training: Training
    challenger: str
    held_out: HeldOut
    settled: tuple[Outcome, str] | None
    unfinished: Note | None = None


def make_plan(
    dataset: Dataset, training: Training, storage: Storage, *, force: bool = False
) -> Plan:
    """Reads what is there, and writes nothing.

    A champion of this data and recipe, with whatever seed, needs no challenger; a run that somebody
    rolled back is none. `force` takes the first seed from the configured one on of which no run is
    published and none was champion: ids follow from configuration and data, so another training
    needs another seed. Before all that, a promotion on this data with this recipe and whatever seed
    is finished if its summary is not published.
    """
    task = dataset.task
    training = resolve_auto(training, task, len(labelled(dataset)))
    champion = read_champion(storage, task.name)
    unfinished = _unfinished(dataset, training, storage, champion)
    if unfinished:
        training = replace(training, seed=unfinished.seed)
    elif force:
        training = _unused_seed(dataset, training, storage, champion)
    challenger = run_id(task, training, dataset.fingerprint)
    settled = None
    if champion and not force and not unfinished:
        settled = _settled(dataset, training, storage, champion, challenger)
    return Plan(
        dataset=dataset,
        champion=champion,
        training=training,
        challenger=challenger,
        held_out=hold_out(dataset, training),
        settled=settled,
        unfinished=unfinished,
    )


def _unfinished(
    dataset: Dataset, training: Training, storage: Storage, champion: Champion | None
) -> Note | None:
    for note in read_notes(storage, dataset.task.name):
        same = run_id(dataset.task, replace(training, seed=note.seed), dataset.fingerprint)
        if note.run == same and note.happened(champion):
            return note
    return None


def _unused_seed(
    dataset: Dataset, training: Training, storage: Storage, champion: Champion | None
) -> Training:
    champions = {move.run for move in champion.history} if champion else set()
    while True:
        run = run_id(dataset.task, training, dataset.fingerprint)
        if run not in champions and read_manifest(storage, run_folder(run)) is None:
            return training
        training = replace(training, seed=training.seed + 1)


def _settled(
    dataset: Dataset, training: Training, storage: Storage, champion: Champion, challenger: str
) -> tuple[Outcome, str] | None:
    manifest = read_manifest(storage, run_folder(champion.run))
    config = manifest.details.get("config") if manifest else None
    seed = config.get("seed") if isinstance(config, dict) else None
    if isinstance(seed, int):
        same = run_id(dataset.task, replace(training, seed=seed), dataset.fingerprint)
        if champion.run == same:
            return "unchanged", "The champion has been trained on this data with this recipe."
    if challenger in champion.withdrawn:
        return "kept", withdrawn_reason(challenger)
    return None
