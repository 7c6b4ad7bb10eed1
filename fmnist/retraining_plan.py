"""What today's data ask for: a challenger to train, or nothing."""

from dataclasses import dataclass, replace

from fmnist.challenge import HeldOut, Outcome, hold_out
from fmnist.dataset import Dataset, labelled
from fmnist.manifest import read_manifest
from fmnist.recipes import Training, settle
from fmnist.registry import Champion, read_champion
from fmnist.runs import run_folder, run_id
from fmnist.storage import Storage


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What there is to do with this data: `settled` says why nothing, and is None otherwise.

    `training` is the challenger's configuration, `challenger` its run id.
    """

    dataset: Dataset
    champion: Champion | None
    training: Training
    challenger: str
    held_out: HeldOut
    settled: tuple[Outcome, str] | None


def make_plan(
    dataset: Dataset, training: Training, storage: Storage, *, force: bool = False
) -> Plan:
    """Reads what is there, and writes nothing.

    A champion of this data and recipe, with whatever seed, needs no challenger; a run that somebody
    rolled back is none. `force` takes the first seed from the configured one on of which no run is
    published and none was champion: ids follow from configuration and data, so another training
    needs another seed.
    """
    task = dataset.task
    training = settle(training, task, len(labelled(dataset)))
    champion = read_champion(storage, task.name)
    if force:
        training = _unused_seed(dataset, training, storage, champion)
    challenger = run_id(task, training, dataset.fingerprint)
    settled = None
    if champion and not force:
        settled = _settled(dataset, training, storage, champion, challenger)
    return Plan(
        dataset=dataset,
        champion=champion,
        training=training,
        challenger=challenger,
        held_out=hold_out(dataset, training),
        settled=settled,
    )


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
        return "kept", (
            f"The challenger {challenger} was champion until it was rolled back, and is not "
            "promoted again; --force trains another one with another seed."
        )
    return None
