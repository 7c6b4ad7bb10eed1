"""Reads the metrics of a Ray cluster as Prometheus does, with the parser of its client."""

import time
import urllib.request
from collections.abc import Callable

import ray
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

PATIENCE = 120.0  # seconds; Ray takes values every 10 seconds
PREFIX = "ray_fmnist_"


def scrape() -> tuple[list[Sample], dict[str, str]]:
    """Reads our samples of all nodes that are alive, and descriptions by the name of a metric."""
    samples: list[Sample] = []
    descriptions: dict[str, str] = {}
    for node in ray.nodes():
        if not node["Alive"]:
            continue
        url = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
        with urllib.request.urlopen(url, timeout=30) as answer:
            families = list(text_string_to_metric_families(answer.read().decode()))
        for family in families:
            for sample in family.samples:
                if sample.name.startswith(PREFIX):
                    samples.append(sample)
                    descriptions[sample.name.removeprefix("ray_")] = family.documentation
    return samples, descriptions


def value(samples: list[Sample], name: str, **labels: str) -> float | None:
    """Returns the sum of a metric's samples with these labels, or None without any."""
    found = [
        sample.value
        for sample in samples
        if sample.name == f"ray_{name}" and labels.items() <= sample.labels.items()
    ]
    return sum(found) if found else None


def wait_for_samples(fits: Callable[[list[Sample]], bool]) -> tuple[list[Sample], dict[str, str]]:
    """Reads until the samples fit; returns the last value of each that was seen.

    Like Prometheus, it remembers the gauges that Ray drops.
    """
    end = time.monotonic() + PATIENCE
    seen: dict[tuple[str, frozenset[tuple[str, str]]], Sample] = {}
    descriptions: dict[str, str] = {}
    while True:
        found, described = scrape()
        seen |= {(sample.name, frozenset(sample.labels.items())): sample for sample in found}
        descriptions |= described
        samples = list(seen.values())
        if fits(samples) or time.monotonic() > end:
            return samples, descriptions
        time.sleep(1)
