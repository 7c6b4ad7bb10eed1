"""Measures how accurate recipes are, and after how many seconds of training.

    python -m benchmarks.time_to_accuracy fashion-1min epochs=3,4,5 learning_rate=4e-3,8e-3
    python -m benchmarks.time_to_accuracy fashion-1min --final --seeds 3

Development, the first form, trains each combination of the values with validation images that are
taken from the training images, and does not load the test images. Once a recipe is frozen, the
second form trains it on all training images, once for each seed, and looks at the test images once.
A run that is finished is not trained again, but printed again.

Each row has the machine's matrix peak (`benchmarks.peak`), measured just before, the training
seconds, what they would be at 860 GFLOP/s, and the part of the peak that was used. The seconds of
development contain the validation. Run it on an otherwise idle machine.
"""

import argparse
import itertools
import statistics
from dataclasses import replace
from typing import Any, get_type_hints

import ray

from benchmarks import peak
from fmnist.comparison.estimate import training_flops
from fmnist.data.dataset import Dataset, labelled
from fmnist.data.load import load
from fmnist.errors import UserError
from fmnist.recipes import RECIPES
from fmnist.run_settings import Cluster, Training
from fmnist.storage.open import Storage, open_storage
from fmnist.tasks import find_task
from fmnist.training.run import train
from jobs.support.connect import start_ray
from jobs.support.launch import launch

REFERENCE = 860.0  # GFLOP/s, a peak to which seconds are scaled
COLUMNS = ("accuracy", "training", "seconds", "GFLOP/s", "at 860", "of peak")


def run(flags: argparse.Namespace) -> None:
    recipe, storage = RECIPES[flags.recipe], open_storage(flags.storage)
    task = find_task(flags.task or flags.recipe.partition("-")[0])
    dataset = load(task)
    if flags.final:
        if flags.values:
            raise UserError(f"found {' '.join(flags.values)}, expected a recipe as it is")
        variants = [("", replace(recipe, validation=0.0))]
    else:
        dataset = replace(dataset, test=None)
        variants = [(name, replace(recipe, **change)) for name, change in combine(flags.values)]
    start_ray()
    print(f"{'':<40}{''.join(f'{name:>10}' for name in COLUMNS)}")
    for name, training in variants:
        accuracies = [
            measure(f"{name} seed {seed}", dataset, replace(training, seed=seed), storage)
            for seed in range(flags.seeds)
        ]
        if len(accuracies) > 1:
            mean, spread = statistics.mean(accuracies), statistics.stdev(accuracies)
            print(f"{name} mean {mean:.4%} ± {spread:.4%} (n = {len(accuracies)})", flush=True)


def combine(values: list[str]) -> list[tuple[str, dict[str, Any]]]:
    """Returns all combinations of the settings' values, such as `epochs=3,4`, each with a name."""
    kinds, axes = get_type_hints(Training), []
    for text in values:
        field, _, several = text.partition("=")
        if field not in kinds:
            raise UserError(f"unknown setting {field!r}, expected one of {', '.join(kinds)}")
        kind = kinds[field] if kinds[field] in (int, float) else str
        axes.append([(field, kind(value)) for value in several.split(",")])
    return [
        (" ".join(f"{field}={value}" for field, value in chosen), dict(chosen))
        for chosen in itertools.product(*axes)
    ]


def measure(name: str, dataset: Dataset, training: Training, storage: Storage) -> float:
    """Prints the row of a run; returns its accuracy after the last epoch."""
    speed = peak.measure()
    manifest = train(dataset, training, Cluster(), storage, command="benchmarks.time_to_accuracy")
    scores, seconds = manifest.details["scores"], manifest.details["seconds"]["training"]
    task = ray.remote(num_cpus=0, max_calls=1)(training_flops)
    (cost,) = ray.get(task.remote(dataset.task, [training.architecture]))
    images = round(len(labelled(dataset)) * (1 - training.validation)) * training.epochs
    accuracy: float = scores["test" if dataset.test else "validation"]["accuracy"]
    cells = (
        f"{accuracy:.2%}",
        f"{scores['train']['accuracy']:.2%}",
        f"{seconds:.1f}",
        f"{speed:.0f}",
        f"{seconds * speed / REFERENCE:.1f}",
        f"{cost * images / seconds / speed / 1e9:.0%}",
    )
    print(f"{name:<40}{''.join(f'{cell:>10}' for cell in cells)}", flush=True)
    return accuracy


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("recipe", choices=RECIPES)
    parser.add_argument("values", nargs="*", help="setting=value,value of development")
    parser.add_argument("--final", action="store_true", help="all images, and the test images")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--task", help="without it, what the recipe's name begins with")
    parser.add_argument("--storage", default="results/records")
    return parser.parse_args()


if __name__ == "__main__":
    launch(parse, run)
