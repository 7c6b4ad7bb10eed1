"""The driver of a comparison dies or gets a signal, and is started again."""

import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ray.cluster_utils import Cluster

from fmnist.comparison.sweep import TRIAL_MEMORY
from tests.support.servers.cluster import STORE
from tests.support.servers.head import ROOT, environment
from tests.support.waiting import wait

OURS = (  # all that a comparison prints
    r"(looking for image files|reading the data|starting Ray) …",
    r"\d+ cells, \d+ runs; data: .*",
    r".* seed \d+: (running|done)",
    r".* seed \d+: going on after epoch \d+, step \d+",
    r".* seed \d+: checkpoint [\d.]+ is damaged and not used: .*",
    r".* seed \d+: epoch \d+/\d+  loss .*",
    r"stopping as soon as the runs have saved their state",
    r"comparison \S+ is finished: \d of \d runs",
    r"  cell +runs +validation +test",
    r"  \S+ +\d+ +[\d.]+% +[\d.]+%",
    r"  files in /.*:",
    r"    ((config.toml|report.html|results.md|comparison.json|results.parquet)( +|$))+",
    r"open /.*",
)


class Comparison:
    """A process that compares three small runs, by default with its own Ray."""

    def __init__(self, data: str, root: Path, address: str = "local") -> None:
        self.data, self._log, self._results = data, root / "log", root / "results"
        self._command = [
            sys.executable, "-m", "jobs.compare", "--task", "fashion", "--data", data,
            "--storage", str(self._results), "--architecture", "dense",
            "--activation", "relu,tanh,sigmoid",
        ]  # fmt: skip
        self._environment = environment(RAY_ADDRESS=address)
        self.driver: subprocess.Popen[bytes]

    def start(self, *options: str) -> None:
        with self._log.open("w") as output:
            self.driver = subprocess.Popen(
                [*self._command, *options],
                cwd=ROOT,
                env=self._environment,
                stdout=output,
                stderr=output,
            )

    def until(self, condition: Callable[[], Any]) -> Any:
        """Waits until the condition is true while the job runs, and returns its value."""

        def found() -> Any:
            assert self.driver.poll() is None, self.log
            return condition()

        return wait(found, seconds=250)

    def end(self, *options: str, runs: int = 3) -> None:
        """Waits for the job's end, and checks that it succeeded."""
        self.start(*options)
        assert self.driver.wait() == 0, self.log
        assert f"{runs} of {runs} runs" in self.log

    def files(self, pattern: str) -> list[Path]:
        return list(self._results.glob(pattern))

    @property
    def log(self) -> str:
        """Returns everything that the last job printed."""
        return self._log.read_text()


@pytest.fixture
def comparison(real_images: str, tmp_path: Path) -> Iterator[Comparison]:
    comparison = Comparison(real_images, tmp_path)
    yield comparison
    comparison.driver.kill()
    comparison.driver.wait()


def test_a_sweep_whose_driver_is_killed_goes_on(comparison):
    """The driver is killed when one run is published. This run is not trained again."""
    options = ("--epochs", "2", "--batch", "50")
    comparison.start(*options)
    published = comparison.until(lambda: comparison.files("runs/*/manifest.json"))
    comparison.driver.kill()
    comparison.driver.wait()
    before = {path: path.stat().st_mtime_ns for path in published}
    comparison.end(*options)
    assert {path: path.stat().st_mtime_ns for path in published} == before


def test_a_search_that_is_killed_suggests_what_an_undisturbed_one_does(comparison, tmp_path):
    """The driver is killed in the second round of two, when this has published a run."""
    options = ("--epochs", "2", "--batch", "50", "--search", "optuna", "--trials", "4")
    options += ("--round-size", "2", "--range", "learning_rate=1e-4..1e-1:log")
    comparison.start(*options)
    comparison.until(lambda: len(comparison.files("runs/*/manifest.json")) >= 3)
    comparison.driver.kill()
    comparison.driver.wait()
    assert not comparison.files("comparisons/*")
    assert "cells 3 to 4 of 4" in comparison.log
    comparison.end(*options, runs=4)
    (tmp_path / "undisturbed").mkdir()
    undisturbed = Comparison(comparison.data, tmp_path / "undisturbed")
    undisturbed.end(*options, runs=4)
    for pattern in ("runs/*", "comparisons/*"):
        names = {path.name for path in undisturbed.files(pattern)}
        assert {path.name for path in comparison.files(pattern)} == names


def test_a_sweep_that_is_told_to_end_saves_its_runs_and_goes_on(comparison):
    """Ctrl-C and then SIGTERM end the comparison, of which two runs train and one waits.

    Then a checkpoint is damaged, and the comparison completes. Ray prints nothing.
    """
    options = ("--epochs", "40", "--batch", "4")
    moments = (
        (signal.SIGINT, 130, lambda: comparison.files("runs/*/tensorboard/*")),
        (signal.SIGTERM, 143, lambda: "going on after epoch" in comparison.log),
    )
    for ending, code, moment in moments:
        comparison.start(*options)
        comparison.until(moment)
        comparison.driver.send_signal(ending)
        assert comparison.driver.wait(timeout=60) == code, comparison.log
        *before, last = comparison.log.splitlines()
        assert last == "stopped; the same command goes on from here"
        assert not [line for line in before if not ours(line)]
        assert not comparison.files("comparisons/*")
        assert not comparison.files("runs/*/manifest.json")
        saved = comparison.files("runs/*/checkpoints/*.*/manifest.json")
        assert saved, comparison.log
    (variables,) = saved[0].parent.rglob("*.npz")
    variables.write_bytes(variables.read_bytes()[:-100] + bytes(100))
    comparison.end(*options)
    assert "is damaged and not used" in comparison.log
    assert not [line for line in comparison.log.splitlines() if not ours(line)]


def test_no_more_runs_at_once_than_the_heads_memory_holds(real_images, tmp_path):
    """The node has CPUs for two runs, but memory for one."""
    head = {"num_cpus": 2, "memory": TRIAL_MEMORY * 3 // 2, "object_store_memory": STORE}
    cluster = Cluster(initialize_head=True, head_node_args=head | {"include_dashboard": False})
    try:
        comparison = Comparison(real_images, tmp_path, cluster.address)
        options = ("--epochs", "1", "--batch", "50")
        comparison.start(*options, "--dry-run")
        assert comparison.driver.wait() == 0, comparison.log
        assert "at once: 1, workers of each: 1, CPUs of a worker: 1" in comparison.log
        comparison.end(*options)
        assert "room for 1 runs at once" in comparison.log
        assert "room for the workers of 2" in comparison.log
        states = re.findall(r": (running|done)$", comparison.log, re.M)
        assert states == ["running", "done"] * 3
    finally:
        cluster.shutdown()


def ours(line: str) -> bool:
    """Returns True if a comparison prints such lines."""
    return any(re.fullmatch(each, line) for each in OURS)
