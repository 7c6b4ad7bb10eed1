"""Retrains on a real Ray, several nights in a row, with challengers that are worse or better."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client.samples import Sample

from fmnist.data.dataset import Dataset
from fmnist.registry.champion import rollback
from fmnist.registry.retention_settings import Retention
from fmnist.retraining.gate import Gate
from fmnist.retraining.plan import make_plan
from fmnist.retraining.result import retrainings_folder
from fmnist.retraining.run import retrain
from fmnist.run_settings import Cluster, Training
from fmnist.scoring.inputs import from_examples
from fmnist.storage.manifest import Manifest
from fmnist.storage.open import Storage, open_storage
from tests.support.challengers import RECIPE, publish_reader, readable
from tests.support.servers.browser import Browser
from tests.support.servers.prometheus import value, wait_for_samples

SCORED = readable(99).test


def night(storage: Storage, data: Dataset, training: Training = RECIPE, **plan: Any) -> Manifest:
    """Runs one night's retraining; every night scores the same images."""
    assert SCORED is not None
    return retrain(
        make_plan(data, training, storage, **plan),
        from_examples(SCORED, source="the images to score"),
        Cluster(cpus_per_worker=1),
        storage,
        gate=Gate(),
        retention=Retention(),
        command="a test",
        actors=1,
    )


def summary(storage: Storage, manifest: Manifest) -> dict[str, Any]:
    path = manifest.files["summary.json"].path
    return json.loads(storage.read(f"{retrainings_folder(manifest.id)}/{path}"))


def state(storage: Storage) -> dict[str, tuple[bytes, str] | None]:
    return {key: storage.read_version(key) for key in storage.keys("")}


def check_page(browser: Browser, storage: Storage, manifest: Manifest, file: Path) -> None:
    """The published page opens without errors, and says first that the champion was kept."""
    path = manifest.files["report.html"].path
    storage.download(f"{retrainings_folder(manifest.id)}/{path}", file)
    browser.open(file)
    assert browser.errors() == []
    assert browser.value("document.querySelector('h1').innerText").startswith("Kept")


def check_metrics(outcomes: dict[str, int], scored: str) -> None:
    """Prometheus can read what came of the nights, and that this run has scored images.

    Other tests of this cluster may have added to the counters.
    """

    def complete(samples: list[Sample]) -> bool:
        counted = [
            (value(samples, "fmnist_retrainings_total", task="shapes", outcome=outcome), least)
            for outcome, least in outcomes.items()
        ]
        images = value(samples, "fmnist_scored_images_total", run=scored)
        since = value(samples, "fmnist_champion_since_seconds", task="shapes")
        found = [*counted, (images, len(SCORED)), (since, 1)]
        return all(number is not None and number >= least for number, least in found)

    samples, _ = wait_for_samples(complete)
    assert complete(samples), samples


# A function of more than 40 lines, because each night begins with what the nights before left.
@pytest.mark.usefixtures("ray_cluster")
def test_nights_in_a_row(s3_uri: str, browser: Browser, tmp_path: Path) -> None:
    storage = open_storage(s3_uri)
    monday, tuesday, wednesday = map(readable, (1, 2, 3))
    poor = publish_reader(storage, monday, RECIPE, knows=2)
    good = publish_reader(storage, tuesday, RECIPE, knows=4)
    bad = publish_reader(storage, wednesday, RECIPE, knows=3)

    first = summary(storage, night(storage, monday))
    assert (first["outcome"], first["decision"]) == ("promoted", None)
    assert first["champion"] == {"before": None, "after": {"run": poor, "counter": 1}}
    assert first["evaluations"]["challenger"]["examples"] == 60

    same = night(storage, monday)
    assert summary(storage, same)["outcome"] == "unchanged"
    before = state(storage)
    storage.write(f"{retrainings_folder(same.id)}/0123abcd/summary.json", b"of a killed job")
    assert night(storage, monday) == same
    assert state(storage) == before

    better = summary(storage, night(storage, tuesday))
    assert better["outcome"] == "promoted" and better["champion"]["after"]["run"] == good
    decision = better["decision"]
    labels = tuesday.test.labels
    assert (decision["challenger"], decision["lost"]) == (1.0, 0)
    assert decision["gained"] == np.count_nonzero(labels >= 2)
    assert better["evaluations"]["champion"]["accuracy"] == decision["champion"] < 1
    lines = storage.read(better["predictions"]["submission"].removeprefix(f"{s3_uri}/")).decode()
    labels_by_id = dict(zip(SCORED.ids.tolist(), SCORED.labels.tolist(), strict=True))
    assert lines == "Id,Label\n" + "".join(f"{i},{labels_by_id[i]}\n" for i in sorted(labels_by_id))

    worse = night(storage, wednesday)
    told = summary(storage, worse)
    assert told["outcome"] == "kept" and told["challenger"] == bad
    assert told["champion"]["before"] == told["champion"]["after"] == {"run": good, "counter": 2}
    assert night(storage, wednesday) == worse  # the next night reaches the same decision

    rollback(storage, "shapes", command="a test")
    refused = summary(storage, night(storage, tuesday))
    assert refused["outcome"] == "kept" and "rolled back" in refused["reason"]
    assert refused["champion"]["after"] == {"run": poor, "counter": 3}
    forced = make_plan(tuesday, RECIPE, storage, force=True)
    assert (forced.training.seed, forced.no_training) == (1, None)

    check_metrics({"promoted": 2, "kept": 3, "unchanged": 2}, scored=poor)  # which Ray drops soon
    check_page(browser, storage, worse, tmp_path / "report.html")
