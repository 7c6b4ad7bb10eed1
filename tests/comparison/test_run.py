"""Whole comparisons on a real Ray of two nodes, on a small part of the real images."""

import json
import os
import signal
import threading
import time
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
import ray

from fmnist.comparison.grid.cells import expand, with_seeds
from fmnist.comparison.progress import SweepProgress
from fmnist.comparison.run import compare, comparison_folder, run_specs
from fmnist.comparison.sweep import concurrency
from fmnist.data.dataset import Dataset
from fmnist.errors import UserError
from fmnist.run_settings import Cluster, Training
from fmnist.storage.open import open_storage
from tests.support.servers.cluster import processes
from tests.support.waiting import wait

pytestmark = pytest.mark.usefixtures("ray_cluster")

BASE = Training(architecture="dense", batch=50, epochs=2, learning_rate=1e-3)
ONE_CPU = Cluster(cpus_per_worker=1)


@pytest.fixture(scope="module")
def small(fashion):
    """Takes 300 images to train on and to hold out, and 60 to test on."""
    return Dataset(
        task=fashion.task,
        source="a part",
        train=fashion.train.take(np.arange(300)),
        test=fashion.test.take(np.arange(60)),
    )


def jobs_of(dataset, uri, axes, cluster=ONE_CPU, base=BASE):
    runs = with_seeds(expand((axes,), base), 1)
    return run_specs(dataset, runs, cluster, open_storage(str(uri)), command="a test")


def facts(uri, manifest):
    path = manifest.files["comparison.json"].path
    key = f"{comparison_folder(manifest.id)}/{path}"
    return json.loads(open_storage(str(uri)).read(key))


def measured_apart(cells):
    """Returns the cells without measured times, and without the number of emulated GPUs."""
    clocks = {"seconds", "images_per_second"}
    for cell in cells:
        for run in cell["runs"]:
            del run["hardware"]["gpus"]
            run["history"] = [
                {name: value for name, value in row.items() if name not in clocks}
                for row in run["history"]
            ]
    return cells


ACTIVATIONS = {"activation": ("relu", "tanh")}


@pytest.fixture(scope="module")
def together(small, tmp_path_factory):
    """Compares cells whose runs train at the same time; returns storage root and manifest."""
    root = tmp_path_factory.mktemp("together")
    jobs = jobs_of(small, root, ACTIVATIONS)
    assert concurrency(jobs[0]) == 4
    return root, compare(jobs, name="custom")


def test_a_comparison_has_all_its_cells_and_seeds(together):
    root, manifest = together
    cells = facts(root, manifest)["cells"]
    assert [cell["activation"] for cell in cells] == ["relu", "tanh"]
    assert [[run["seed"] for run in cell["runs"]] for cell in cells] == [[0], [0]]
    assert set(manifest.files) == {
        "report.html",
        "results.md",
        "results.parquet",
        "comparison.json",
    }
    path = f"{comparison_folder(manifest.id)}/{manifest.files['results.parquet'].path}"
    assert pq.read_table(root / path).num_rows == 2


def test_resources_are_returned(together):
    wait(lambda: ray.available_resources().get("CPU") == 4)


def test_results_do_not_depend_on_how_many_run_at_once(small, together, tmp_path):
    root, manifest = together
    one_at_a_time = replace(ONE_CPU, gpu=True)  # there is one GPU
    jobs = jobs_of(small, tmp_path, ACTIVATIONS, one_at_a_time)
    assert concurrency(jobs[0]) == 1
    alone = compare(jobs, name="custom")
    assert measured_apart(facts(tmp_path, alone)["cells"]) == measured_apart(
        facts(root, manifest)["cells"]
    )


def test_trials_can_share_a_gpu(small, tmp_path):
    shares = [replace(ONE_CPU, gpu=True, gpus_per_worker=share) for share in (1, 0.5, 0.25)]
    jobs = [jobs_of(small, tmp_path, {}, share)[0] for share in shares]
    assert [concurrency(job) for job in jobs] == [1, 2, 2]  # its node has two CPUs


def test_a_finished_comparison_is_found(small, together):
    """Files of a job that was killed while it published the same comparison are removed."""
    root, manifest = together

    def files():
        return {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()}

    before = files()
    left = f"{comparison_folder(manifest.id)}/0123abcd/report.html"
    open_storage(str(root)).write(left, b"half a page")
    assert compare(jobs_of(small, root, ACTIVATIONS), name="custom") == manifest
    assert files() == before


def test_a_run_that_failed_here_and_that_another_job_trained_is_finished(small, together):
    root, manifest = together
    jobs = jobs_of(small, root, ACTIVATIONS)
    assert compare(jobs, name="custom", failures={jobs[0].id: "its worker died"}) == manifest


def test_a_run_that_has_no_end_is_not_passed_over(small, tmp_path):
    """Runs train one after the other here; the first is deleted while the second trains."""
    jobs = jobs_of(small, tmp_path, ACTIVATIONS, replace(ONE_CPU, gpu=True))

    def delete():
        wait(lambda: len(list(tmp_path.glob("runs/*"))) == 2)
        (tmp_path / "runs" / jobs[0].id / "manifest.json").unlink()

    deleter = threading.Thread(target=delete)
    deleter.start()
    with pytest.raises(UserError, match=f"no end of the runs {jobs[0].id}, expected"):
        compare(jobs, name="custom")
    deleter.join(timeout=10)
    assert not (tmp_path / "comparisons").exists()


def test_a_cell_that_fails_is_reported_and_the_others_go_on(small, together, capsys):
    """It is not trained again, since it would fail again."""
    root, _ = together
    (diverging,) = jobs_of(small, root, {}, base=replace(BASE, optimizer="sgd", learning_rate=1e30))
    progress = SweepProgress({diverging.id: "diverging"}, {diverging.id: 2})
    jobs = [diverging, *jobs_of(small, root, ACTIVATIONS)]
    manifest = compare(jobs, name="custom", progress=progress)
    told = capsys.readouterr().out
    assert told.count("diverging: running") == told.count("diverging: failed") == 1
    failing, *sound = facts(root, manifest)["cells"]
    assert manifest.details["failed"] == 1
    assert "the loss is" in failing["failures"][0]["reason"] and not failing["runs"]
    assert all(cell["runs"] and not cell["failures"] for cell in sound)


def test_a_trial_whose_worker_is_killed_ends_as_if_nothing_had_happened(
    ray_cluster, small, tmp_path, together
):
    """The worker is killed as soon as the first epoch's checkpoint exists."""
    root, undisturbed = together

    def kill():
        while not list(tmp_path.glob("runs/*/checkpoints/00001/manifest.json")):
            time.sleep(0.01)
        for worker in processes(ray_cluster.list_all_nodes(), "RayTrainWorker"):
            killed.append(worker)
            os.kill(worker, signal.SIGKILL)

    killed = []
    killer = threading.Thread(target=kill)
    killer.start()
    manifest = compare(jobs_of(small, tmp_path, {}, base=replace(BASE, epochs=2)), name="one")
    killer.join(timeout=10)
    assert killed
    (cell,) = measured_apart(facts(tmp_path, manifest)["cells"])
    expected = measured_apart(facts(root, undisturbed)["cells"])[0]["runs"][0]
    assert cell["runs"][0] == expected


def test_hopeless_runs_are_stopped_and_others_take_their_place(ray_cluster, small, tmp_path):
    """Runs train one at a time: a good one first, then two that learn nothing and are stopped."""
    base = replace(BASE, epochs=3)
    one_at_a_time = replace(ONE_CPU, gpu=True)  # there is one GPU
    axes = {"learning_rate": (1e-3, 1e-8, 1e-9)}
    jobs = jobs_of(small, tmp_path, axes, one_at_a_time, base)
    manifest = compare(jobs, name="custom", early_stopping=True)
    ends = [
        [run["stopped_at"] for run in cell["runs"]] for cell in facts(tmp_path, manifest)["cells"]
    ]
    assert ends == [[None], [1], [1]]
    assert manifest.details["failed"] == 0
    before = sorted(path.stat().st_mtime_ns for path in tmp_path.rglob("*"))
    assert compare(jobs, name="custom", early_stopping=True) == manifest
    assert sorted(path.stat().st_mtime_ns for path in tmp_path.rglob("*")) == before
    fair = compare(jobs[:2], name="custom")  # without early stopping a stopped one goes on
    runs = [run for cell in facts(tmp_path, fair)["cells"] for run in cell["runs"]]
    assert [run["stopped_at"] for run in runs] == [None, None]
    assert [len(run["history"]) for run in runs] == [3, 3]
    nodes = ray_cluster.list_all_nodes()  # each round of a search has its sweep, in one driver
    wait(lambda: not processes(nodes, "SweepMonitor") and not processes(nodes, "EarlyStopper"))
