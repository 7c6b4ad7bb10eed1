"""A search trains its rounds one after another, and goes on from what is published."""

from functools import partial
from types import SimpleNamespace

import pytest

from fmnist.comparison import rounds
from fmnist.comparison.grid.cells import Grid
from fmnist.comparison.grid.optuna_search import OptunaSearch
from fmnist.comparison.grid.search import read_space
from fmnist.comparison.rounds import train_in_rounds
from fmnist.comparison.run import run_specs
from fmnist.run_settings import Cluster, Training
from fmnist.storage.open import open_storage
from tests.support import samples

BASE = Training(architecture="dense", batch=40, epochs=1)
RANGE = "learning_rate=1e-4..1:log"


@pytest.fixture
def shown() -> list[tuple[int, int]]:
    """The cells so far and the runs of the round, of each round that was shown."""
    return []


@pytest.fixture
def search(ray_cluster, shown):
    """Returns a function that searches in rounds of two cells."""

    def searched(uri, *, trials, seeds=1):
        space, _ = read_space(BASE, axes=["activation=relu,tanh"], ranges=[RANGE], trials=9, seed=3)
        one_cpu = Cluster(cpus_per_worker=1)
        dataset, storage = samples.dataset(train=100, test=20), open_storage(str(uri))

        def progress(grid: Grid, specs) -> None:
            shown.append((len(grid.cells), len(specs)))

        return train_in_rounds(
            OptunaSearch(space=space, trials=trials, round_size=2),
            partial(run_specs, dataset, cluster=one_cpu, storage=storage, command="a test"),
            seeds=seeds,
            early_stopping=False,
            make_progress=progress,
        )

    return searched


def test_a_search_goes_on_from_what_is_published(search, shown, tmp_path):
    first, failures = search(tmp_path, trials=2)
    assert (failures, shown) == ({}, [(2, 2)])
    published = {path: path.stat().st_mtime_ns for path in tmp_path.glob("runs/*/manifest.json")}
    assert len(published) == 2
    specs, failures = search(tmp_path, trials=4)
    assert (failures, shown) == ({}, [(2, 2), (2, 2), (4, 2)])
    assert {path: path.stat().st_mtime_ns for path in published} == published
    assert len(list(tmp_path.glob("runs/*/manifest.json"))) == 4
    assert [spec.id for spec in first] == [spec.id for spec in specs[:2]]


def test_a_cell_has_the_mean_of_its_seeds_and_none_if_all_fail(search, tmp_path, monkeypatch):
    """Of the first round, the first cell's second run fails, and both runs of the second cell."""
    told = []
    suggest = OptunaSearch.suggest
    accuracies = iter([0.6, *[0.7] * 20])

    def ended_runs(specs, early_stopping):
        return {
            spec.id: SimpleNamespace(scores={"validation": {"accuracy": next(accuracies)}})
            for spec in specs
            if spec.id not in failing
        }

    def sweep(specs, **options):
        return {run: "no memory" for run in failing & {spec.id for spec in specs}}

    def spied(self, ended):
        told.append(list(ended.values()))
        return suggest(self, ended)

    failing: set[str] = set()
    monkeypatch.setattr(rounds, "sweep", sweep)
    monkeypatch.setattr(rounds, "ended_runs", ended_runs)
    monkeypatch.setattr(OptunaSearch, "suggest", spied)
    specs, failures = search(tmp_path, trials=2, seeds=2)
    assert failures == {} and len({spec.id for spec in specs}) == 4
    assert told[-1] == [pytest.approx(0.65), pytest.approx(0.7)]
    failing |= {specs[2].id, specs[1].id, specs[3].id}
    _, failures = search(tmp_path, trials=4, seeds=2)
    assert set(failures) == failing
    assert told[-2] == [pytest.approx(0.7), None]
    assert len(told[-1]) == 4
