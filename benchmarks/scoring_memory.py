"""Measures how much memory scoring takes: the same for a million images as for a hundred thousand.

    python -m benchmarks.scoring_memory

Repeats the real test images under new ids into a Parquet data set of 10,000 rows a file, and scores
it with a small model and two actors, each size in a Ray of its own. It prints the peaks of private
memory in MiB (of the driver, of the largest scoring actor, of the largest task that looks at files,
reads or writes) and of the object store. About a minute on two cores; 0.6 GB of temporary disk.
"""

import argparse
import os
import tempfile
import threading
import time
from collections import defaultdict
from pathlib import Path

import ray

from benchmarks.data_sets import in_fresh_process, publish_model, write_test_images
from fmnist.runs.published import open_model
from fmnist.scoring.inputs import find_inputs
from fmnist.scoring.run import score
from fmnist.storage.open import open_storage
from fmnist.tasks import FASHION

ACTORS = 2
OBJECT_STORE = 2 << 30  # bytes
SAMPLE = 0.2  # seconds
COLUMNS = ("images", "seconds", "images/s", "driver", "actor", "pipeline", "task", "object store")


class Peaks(threading.Thread):
    """Samples the memory of this process and all that it started, until `over` is set."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.over = threading.Event()
        self.mebibytes: dict[str, float] = defaultdict(float)

    def run(self) -> None:
        while not self.over.wait(SAMPLE):
            now: dict[str, float] = defaultdict(float)
            for process in family(os.getpid()):
                private, title = memory(process)
                kind = "driver" if process == os.getpid() else kind_of(title)
                now[kind] = max(now[kind], private)
            free = ray.available_resources().get("object_store_memory", OBJECT_STORE)
            now["object store"] = (OBJECT_STORE - free) / (1 << 20)
            for name, value in now.items():
                self.mebibytes[name] = max(self.mebibytes[name], value)


def kind_of(title: str) -> str:
    """The column of one of Ray's worker processes; others have none."""
    if "ScoringActor" in title:
        return "actor"
    if title.startswith("ray::Supervisor"):  # in which Ray Data schedules the pipeline
        return "pipeline"
    tasks = ("ray::summarize_file", "ray::ReadParquet", "ray::Write", "ray::IDLE")
    return "task" if title.startswith(tasks) else "other"


def family(root: int) -> list[int]:
    """A process and everything that it started, directly or not."""
    children = defaultdict(list)
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # it ended meanwhile
            continue
        children[int(fields[1])].append(int(path.parent.name))
    found = [root]
    for process in found:
        found += children[process]
    return found


def memory(process: int) -> tuple[float, str]:
    """MiB that a process alone has, and its title; nothing of one that has ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
        title = Path(f"/proc/{process}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return 0, ""
    values = (line.split()[1] for line in lines if line.startswith("RssAnon:"))
    return int(next(values, "0")) / 1024, title


def publish_small_model(folder: Path) -> None:
    import keras

    layers = [
        keras.Input(FASHION.shape, dtype="uint8"),
        keras.layers.Rescaling(1 / 255),
        keras.layers.Conv2D(8, 3, strides=2, activation="relu"),
        keras.layers.Flatten(),
        keras.layers.Dense(10, activation="softmax"),
    ]
    publish_model(keras.Sequential(layers), folder)


def measure(images: int) -> None:
    """Scores that many images and prints a row of the table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        in_fresh_process(write_test_images, images, folder / "data")
        in_fresh_process(publish_small_model, folder / "results")
        storage = open_storage(str(folder / "results"))
        ray.init(
            address="local",
            num_cpus=ACTORS,
            include_dashboard=False,
            log_to_driver=False,
            object_store_memory=OBJECT_STORE,
        )
        peaks = Peaks()
        peaks.start()
        begin = time.perf_counter()
        inputs = find_inputs(FASHION, str(folder / "data"))
        model = open_model(storage, "runs/r1", FASHION)
        score(model=model, inputs=inputs, storage=storage, actors=ACTORS)
        seconds = time.perf_counter() - begin
        peaks.over.set()
        peaks.join()
        ray.shutdown()
    found = [peaks.mebibytes[name] for name in COLUMNS[3:]]
    print(row(f"{images:,}", *(f"{value:,.0f}" for value in [seconds, images / seconds, *found])))


def row(*cells: str) -> str:
    """One line of the table."""
    return "".join(f"{cell:>16}" for cell in cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, nargs="+", default=[100_000, 1_000_000])
    sizes = parser.parse_args().images
    print(row(*COLUMNS), flush=True)
    for images in sizes:
        in_fresh_process(measure, images)


if __name__ == "__main__":
    main()
