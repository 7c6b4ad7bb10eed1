"""Metrics: read back from the endpoints of a real cluster, and all of them on the dashboard."""

import json
import re
import subprocess
import sys
from typing import Any

import pytest
import ray
from prometheus_client.samples import Sample

from fmnist.cluster import metrics
from fmnist.cluster.metrics import Counter, Gauge
from fmnist.runs.history import EpochRow
from fmnist.scoring.supervisor import start_supervisor
from fmnist.training.monitor import start_run_monitor
from tests.support.paths import ROOT
from tests.support.servers.prometheus import value, wait_for_samples

METRICS = [each for each in vars(metrics).values() if isinstance(each, Gauge | Counter)]
DASHBOARD = ROOT / "docs" / "grafana.json"
ROW: EpochRow = {
    "epoch": 1, "loss": 0.5, "accuracy": 0.75, "val_loss": 0.625, "val_accuracy": 0.875,
    "learning_rate": 1e-3, "seconds": 2.0, "images_per_second": 45.0,
}  # fmt: skip
# A job that ends at once after its last metrics.
JOB = """
import sys, ray
from fmnist.cluster import metrics
ray.init(address=sys.argv[1], log_to_driver=False)
metrics.RETRAININGS.add(1, task="of a job", outcome="kept")
metrics.CHAMPION_SINCE.set(1e9, task="of a job")
metrics.IMAGES_LEFT_OUT.add(3, task="of a job")
metrics.IMAGES_LEFT_OUT.add(0, task="without any")
"""


def test_each_metric_comes_out_of_the_cluster_with_value_and_description(ray_cluster: Any) -> None:
    monitor = start_run_monitor("a run")
    ray.get(monitor.training_started.remote(0, 0, {}))
    ray.get(monitor.training_started.remote(0, 5, {"importing": 0.5}))
    ray.get(monitor.set_peak.remote(90.0))
    ray.get(monitor.epoch_done.remote(ROW, 0.25))
    supervisor = start_supervisor("scoring", "a run")
    for images in (30, 12):
        ray.get(supervisor.finish.remote("an actor", images))
    job = [sys.executable, "-c", JOB, ray_cluster.address]
    subprocess.run(job, cwd=ROOT, check=True)
    ray.get(monitor.step_done.remote(0.25))  # sets the gauges once more: Ray has dropped them

    names = {f"ray_{metric.name}" for metric in METRICS}

    def all_there(samples: list[Sample]) -> bool:
        """Other tests on this cluster have samples of the same metrics, with other labels."""
        ours = {"a run", "of a job"}
        return names <= {each.name for each in samples if ours & set(each.labels.values())}

    samples, descriptions = wait_for_samples(all_there)
    assert descriptions == {metric.name: metric.description for metric in METRICS}
    expected = {
        "fmnist_training_loss": 0.5,
        "fmnist_training_accuracy": 0.75,
        "fmnist_validation_loss": 0.625,
        "fmnist_validation_accuracy": 0.875,
        "fmnist_training_images_per_second": 45.0,
        "fmnist_training_share_of_peak": 0.5,
        "fmnist_training_progress": 0.25,
        "fmnist_scored_images_total": 42.0,
    }
    assert {name: value(samples, name, run="a run") for name in expected} == expected
    lost = value(samples, "fmnist_training_lost_seconds_total", run="a run")
    assert lost is not None and 0 < lost < 100
    assert value(samples, "fmnist_retrainings_total", task="of a job", outcome="kept") == 1
    assert value(samples, "fmnist_champion_since_seconds", task="of a job") == 1e9
    assert value(samples, "fmnist_bad_images_total", task="of a job") == 3
    assert value(samples, "fmnist_bad_images_total", task="without any") is None
    ray.kill(monitor)


def test_the_name_of_a_metric_says_its_kind() -> None:
    assert len(METRICS) == len({metric.name for metric in METRICS})
    for metric in METRICS:
        assert metric.name.endswith("_total") == isinstance(metric, Counter)
        assert metric.name.startswith("fmnist_") and metric.description.endswith(".")


def test_the_dashboard_shows_every_metric_and_no_other() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    shown = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    named = {name for expression in shown for name in re.findall(r"\bray_(\w+)", expression)}
    assert named == {metric.name for metric in METRICS}
    labels = {label for metric in METRICS for label in metric.labels}
    legends = re.findall(r"{{(\w+)}}", DASHBOARD.read_text())
    assert set(legends) == labels
    places = [tuple(panel["gridPos"].values()) for panel in dashboard["panels"]]
    assert len(set(places)) == len({panel["id"] for panel in dashboard["panels"]}) == len(places)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_the_documentation_lists_the_metric(metric: Gauge | Counter) -> None:
    text = (ROOT / "docs" / "telling-other-tools.md").read_text()
    assert f"| `{metric.name}` | {metric.description.rstrip('.')} |" in text
