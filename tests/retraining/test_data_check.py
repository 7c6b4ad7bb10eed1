"""Nights whose data differ from the champion's, on real images: told, and refused on request."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fmnist.data.dataset import Dataset, Examples
from fmnist.data.export import export_parquet
from fmnist.drift.limits import DriftLimits
from fmnist.registry.retention_settings import Retention
from fmnist.retraining.data_check import check_plan
from fmnist.retraining.gate import Gate
from fmnist.retraining.pending import write_pending
from fmnist.retraining.plan import make_plan
from fmnist.retraining.result import ChampionVersion, RetrainingResult, retrainings_folder
from fmnist.retraining.run import retrain
from fmnist.run_settings import Cluster, Training
from fmnist.scoring.inputs import find_inputs
from fmnist.storage.manifest import Manifest
from fmnist.storage.open import Storage, open_storage
from tests.support.challengers import RECIPE, publish_reader, readable
from tests.support.samples import SHAPES

TRAINING = Training(architecture="dense", epochs=1, batch=50, learning_rate=1e-3)
STRICT = DriftLimits(max_drift=0.2, refuse_unknown=True)


def night(
    data: Dataset,
    place: Path,
    storage: Storage,
    limits: DriftLimits,
    training: Training = TRAINING,
) -> Manifest:
    return retrain(
        make_plan(data, training, storage),
        find_inputs(data.task, str(place)),
        Cluster(cpus_per_worker=1),
        storage,
        gate=Gate(),
        retention=Retention(),
        limits=limits,
        command="a test",
        actors=1,
    )


def summary(storage: Storage, manifest: Manifest) -> dict[str, Any]:
    path = manifest.files["summary.json"].path
    found: dict[str, Any] = json.loads(storage.read(f"{retrainings_folder(manifest.id)}/{path}"))
    return found


@pytest.fixture
def day(fashion: Dataset, tmp_path: Path) -> Callable[..., tuple[Dataset, Path]]:
    """Returns a function that makes the data of a day, and writes its images to score.

    Those are in several files and have no labels.
    """
    assert fashion.train is not None and fashion.test is not None

    def make(number: int, change: Callable[[np.ndarray], np.ndarray] = lambda images: images):
        train = fashion.train.take(np.arange(number * 1000, number * 1000 + 1000))
        test = fashion.test.take(np.arange(number * 700, number * 700 + 700))
        bare = Examples(ids=test.ids, images=change(test.images), labels=None)
        place = tmp_path / f"day {number}"
        export_parquet(Dataset(task=fashion.task, source="", train=None, test=bare), str(place))
        return Dataset(task=fashion.task, source="a day", train=train, test=test), place

    return make


@pytest.mark.usefixtures("ray_cluster")
def test_a_night_with_other_images_is_refused_and_an_ordinary_one_is_not(
    day, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    storage = open_storage(str(tmp_path / "results"))
    first = summary(storage, night(*day(0), storage, STRICT))
    assert (first["outcome"], first["data_check"]) == ("promoted", None)

    before = set(storage.keys(""))
    inverted = day(1, lambda images: 255 - images)
    capsys.readouterr()
    refused = night(*inverted, storage, STRICT)
    told = summary(storage, refused)
    assert (told["outcome"], told["predictions"], told["challenger"]) == ("drifted", None, None)
    assert told["champion"]["after"] == first["champion"]["after"]
    assert "of the images to score" in told["reason"] and "0.2 that are allowed" in told["reason"]
    assert "data check against" in capsys.readouterr().out
    added = set(storage.keys("")) - before
    assert {key.partition("/")[0] for key in added} == {"retrainings"}
    assert night(*inverted, storage, STRICT) == refused

    ordinary = summary(storage, night(*day(2), storage, STRICT))
    assert ordinary["outcome"] in ("promoted", "kept")
    differences = ordinary["data_check"]["differences"]
    assert len(differences) == 13 and max(each["size"] for each in differences) < 0.15
    assert ordinary["data_check"]["unknown"] == []


@pytest.mark.usefixtures("ray_cluster")
def test_nothing_is_compared_with_a_champion_that_was_pruned_since(
    day: Callable[..., tuple[Dataset, Path]], tmp_path: Path
) -> None:
    """The promotion after it is still to be published."""
    storage = open_storage(str(tmp_path / "results"))
    data, place = day(0)
    result = RetrainingResult(
        outcome="promoted",
        reason="It is better.",
        before=ChampionVersion(run="gone", counter=1),
        after=ChampionVersion(run="here", counter=2),
        gate=Gate(),
    )
    plan = make_plan(data, TRAINING, storage)
    plan = replace(plan, pending=write_pending(storage, data.task.name, result, seed=0))
    assert check_plan(plan, find_inputs(data.task, str(place)), storage) is None


@pytest.mark.usefixtures("ray_cluster")
def test_a_champion_without_statistics_is_told_and_refused_only_on_request(
    tmp_path: Path,
) -> None:
    """Its run is older than the check, and colour images are scored."""
    storage = open_storage(str(tmp_path / "results"))
    publish_reader(storage, readable(1), RECIPE, knows=4)
    place = tmp_path / "data"
    export_parquet(readable(2), str(place))
    run = publish_reader(storage, readable(2), RECIPE, knows=4)
    lax = DriftLimits(max_drift=0.2)
    assert summary(storage, night(readable(1), place, storage, lax, RECIPE))["data_check"] is None
    refused = summary(storage, night(readable(2), place, storage, STRICT, RECIPE))
    assert refused["outcome"] == "drifted"
    assert f"The run {refused['champion']['after']['run']} has no statistics" in refused["reason"]
    told = summary(storage, night(readable(2), place, storage, lax, RECIPE))
    assert told["outcome"] == "kept" and told["challenger"] == run
    names = [(each["part"], each["what"]) for each in told["data_check"]["differences"]]
    assert names == [("images to score", "predicted labels")]
    assert SHAPES.shape[2] == 3
