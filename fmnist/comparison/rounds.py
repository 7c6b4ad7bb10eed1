"""Trains the cells of a search that suggests them in rounds, each from the results so far."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import mean

from fmnist.comparison.ended_runs import ended_runs
from fmnist.comparison.grid.cells import Grid, with_seeds
from fmnist.comparison.grid.optuna_search import OptunaSearch
from fmnist.comparison.progress import SweepProgress
from fmnist.comparison.sweep import sweep
from fmnist.run_settings import Training
from fmnist.training.spec import RunSpec

SpecMaker = Callable[[Sequence[Training]], list[RunSpec]]
# Makes what shows the runs of a round, from all cells so far and the specs of the round.
ProgressMaker = Callable[[Grid, Sequence[RunSpec]], SweepProgress | None]


def train_in_rounds(
    search: OptunaSearch,
    make_specs: SpecMaker,
    *,
    seeds: int,
    early_stopping: bool,
    make_progress: ProgressMaker,
) -> tuple[list[RunSpec], dict[str, str]]:
    """Returns the specs of all runs, which have ended, and the reasons of failures by run id.

    The accuracy of a cell is the mean over its seeds on validation images. Runs that were published
    before are not trained again, so that a search that is started again suggests the same cells.
    """
    accuracies: dict[Training, float | None] = {}
    specs: list[RunSpec] = []
    failures: dict[str, str] = {}
    while new := search.suggest(accuracies):
        round_specs = make_specs(with_seeds(new, seeds))
        specs += round_specs
        progress = make_progress(Grid(cells=[*accuracies, *new]), round_specs)
        # Early stopping compares a run with those of former rounds as well.
        swept = [spec for spec in specs if spec.id not in failures]
        failures |= sweep(
            swept if early_stopping else round_specs,
            early_stopping=early_stopping,
            progress=progress,
        )
        ended = ended_runs(round_specs, early_stopping)
        for cell in new:
            found = [
                ended[spec.id].scores["validation"]["accuracy"]
                for spec in round_specs
                if spec.id in ended and replace(spec.training, seed=cell.seed) == cell
            ]
            accuracies[cell] = mean(found) if found else None
    return specs, failures
