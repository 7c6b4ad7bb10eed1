"""Two retraining jobs run at the same time: both train, one promotes, the other says so."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from fmnist.registry.champion import read_champion
from fmnist.registry.retention_settings import Retention
from fmnist.retraining.gate import Gate
from fmnist.retraining.plan import Plan, make_plan
from fmnist.retraining.result import retrainings_folder
from fmnist.retraining.run import retrain
from fmnist.run_settings import Cluster
from fmnist.runs.ids import run_folder
from fmnist.scoring.inputs import from_examples
from fmnist.storage.manifest import read_manifest
from fmnist.storage.open import Storage, open_storage
from tests.support.challengers import RECIPE, readable

pytestmark = pytest.mark.usefixtures("ray_cluster")


def run(plan: Plan, storage: Storage) -> dict[str, Any]:
    scored = readable(99).test
    assert scored is not None
    manifest = retrain(
        plan,
        from_examples(scored, source="the images to score"),
        Cluster(cpus_per_worker=1),
        storage,
        gate=Gate(confidence=1 - 1e-9),  # so high that no challenger reaches it by chance
        retention=Retention(keep_champions=0, keep_runs=0),
        command="a test",
        actors=1,
    )
    path = manifest.files["summary.json"].path
    return json.loads(storage.read(f"{retrainings_folder(manifest.id)}/{path}"))


def test_two_retrains_overlap(storage_uri: str) -> None:
    storage = open_storage(storage_uri)
    plans = [make_plan(readable(seed), RECIPE, storage) for seed in (1, 2)]
    with ThreadPoolExecutor(2) as pool:
        told = list(pool.map(lambda plan: run(plan, storage), plans))
    loser, winner = sorted(told, key=lambda each: each["outcome"])
    assert (loser["outcome"], winner["outcome"]) == ("overtaken", "promoted")

    champion = read_champion(storage, "shapes")
    assert champion is not None and len(champion.history) == 1
    state = {"run": winner["challenger"], "counter": 1}
    assert (champion.run, champion.counter) == (state["run"], state["counter"])
    assert loser["champion"] == winner["champion"] == {"before": None, "after": state}
    assert loser["decision"] and not loser["decision"]["passed"]
    assert loser["predictions"] == winner["predictions"]
    for plan in plans:  # whole, and too young to be pruned
        assert read_manifest(storage, run_folder(plan.challenger))
    prefixes = ("runs", "predictions", "retrainings")
    keys = [key for name in prefixes for key in storage.keys(name)]
    manifests = {key.rpartition("/")[0] for key in keys if key.endswith("manifest.json")}
    folders = {"/".join(key.split("/")[:2]) for key in keys}
    assert folders <= manifests  # checkpoints have manifests, too
