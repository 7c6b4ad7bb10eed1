"""The files that settings of networks name: read at once, and tried before anything is trained."""

import shlex
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from fmnist.errors import UserError, together
from fmnist.job_config import JobConfig
from fmnist.models.network_files import NetworkFiles, WeightsFile
from fmnist.models.own_network import OwnNetwork, parse_network
from fmnist.run_settings import OWN_NAME, OWN_PLACE, Training, resolve_auto
from fmnist.stages import stage
from fmnist.tasks import Task
from jobs.support.config import absolute_place, read_file

if TYPE_CHECKING:
    from fmnist.data.dataset import Dataset
    from fmnist.data.streaming.dataset import ShardedDataset
    from fmnist.storage.open import Storage

WEIGHTS = "initial weights"
# The settings on which depends whether a network is right; other cells are not tried again.
TRIED = ("architecture", "activation", "precision", "deterministic", "initial_weights", "freeze")


def read_networks(trainings: Sequence[Training]) -> list[OwnNetwork]:
    """Reads the files of the user's networks; raises UserError that lists all mistakes in them."""
    given = dict.fromkeys(training.architecture for training in trainings)
    return [each for each in together(*(partial(_read_network, name) for name in given)) if each]


def _read_network(name: str) -> OwnNetwork | None:
    """Reads the file of a network; None for one of ours."""
    if match := OWN_PLACE.fullmatch(name):
        return parse_network(name, read_file("network", match["file"]))
    if OWN_NAME.fullmatch(name):
        raise UserError(
            f"unknown network {name!r}: expected the flag --architecture with its file, as in "
            f"nets.py:{name.partition('.')[0]}; beside a run, that is network.py"
        )
    return None


def read_files(trainings: Sequence[Training], networks: Sequence[OwnNetwork]) -> NetworkFiles:
    """Reads the other files that the settings name; `networks` are those that they name.

    Raises UserError for those that can't be read.
    """
    weights = []
    for given in dict.fromkeys(training.initial_weights for training in trainings):
        if given:
            with stage("reading the initial weights"):
                data = read_file(WEIGHTS, given)
            weights.append(WeightsFile.of(given, absolute_place(given), data))
    return NetworkFiles(networks=networks, weights=weights)


def config_with_files(config: JobConfig, files: NetworkFiles) -> JobConfig:
    """Returns a job's configuration with what it calls these files.

    Networks that were given by `--axis` become those of `--architecture`: it stands beside the file
    when the job is started again, and a flag `--axis` would replace all axes of the file.
    """
    if not files.networks:
        return config.with_written(files.written(), "")
    axes = config.values.get("axis") or ()
    assert isinstance(axes, tuple)
    for axis in axes:
        name, _, networks = axis.partition("=")
        if name.strip() == "architecture":
            rest = tuple(each for each in axes if each != axis)
            config = config.with_values({"architecture": networks, "axis": rest})
    flag = shlex.join(["--architecture", str(config.values["architecture"])])
    return config.with_written(files.written(), flag)


def try_networks(
    files: NetworkFiles,
    trainings: Sequence[Training],
    dataset: "Dataset | ShardedDataset",
    storage: "Storage",
) -> NetworkFiles:
    """Tries the networks of these settings; returns the files as they can be sent to workers.

    Those of published runs are not tried again. Raises UserError that lists what is wrong with any
    of the others. Needs Ray.
    """
    if not files.networks and not files.weights:
        return files
    import ray

    files, problems = files.shared(), []
    tried = [each for each in trainings if not is_published(each, dataset, storage)]
    different = {tuple(getattr(each, name) for name in TRIED): each for each in reversed(tried)}
    # A process of its own, which Ray ends: TensorFlow's settings are changed in it.
    task = ray.remote(num_cpus=0, max_calls=1)(_find_problem)
    with stage("trying the network"):
        for each in reversed(different.values()):
            network, weights = files.network(each), files.initial_weights(each)
            if network or weights:
                problems.append(ray.get(task.remote(each, dataset.task, network, weights)))
    UserError.raise_if(list(dict.fromkeys(filter(None, problems))))
    return files


def is_published(
    training: Training, dataset: "Dataset | ShardedDataset", storage: "Storage"
) -> bool:
    """Returns True if the run of these settings on this data is finished."""
    from fmnist.runs.ids import run_folder, run_id
    from fmnist.storage.manifest import read_manifest

    training = resolve_auto(training, dataset.task, dataset.count_labelled())
    run = run_id(dataset.task, training, dataset.fingerprint)
    return read_manifest(storage, run_folder(run)) is not None


def _find_problem(
    training: Training, task: Task, network: OwnNetwork | None, weights: WeightsFile | None
) -> str | None:
    from fmnist.models.tensorflow import import_tensorflow

    import_tensorflow()
    from fmnist.training.worker.network_check import find_problem

    return find_problem(training, task, network, weights)
