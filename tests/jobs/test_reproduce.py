"""The config.toml beside each result: its job finds everything finished, from any folder."""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from fmnist.data.export import export_parquet
from fmnist.job_config import CONFIG
from fmnist.storage.manifest import MANIFEST
from tests.support.challengers import readable
from tests.support.paths import ROOT

TASK = 'name = "shapes"\nclasses = ["circle", "square", "star", "dot"]\nheight = 12\nwidth = 20\n'
SMALL = ("--batch", "8", "--epochs", "1", "--validation", "0", "--cpus-per-worker", "1")
TELL = ("--on-finish", 'echo "$FMNIST_OUTCOME $FMNIST_SUMMARY" >> told')
# Runs several commands one after the other, as `fmnist …` does, in one process.
COMMANDS = """
import json, sys
import ray
from jobs.command import main
for arguments in json.loads(sys.argv[1]):
    sys.argv = ["fmnist", *arguments]
    main()
    ray.shutdown()
"""


def run(commands: list[tuple[str, ...]], folder: Path) -> str:
    """Runs the commands in that folder; returns what they print."""
    folder.mkdir(exist_ok=True)
    path = os.pathsep.join([str(ROOT), os.environ["PYTHONPATH"]])
    env = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    env |= {"MLFLOW_TRACKING_URI": (folder.parent / "mlruns").as_uri()}
    line = [sys.executable, "-c", COMMANDS, json.dumps(commands)]
    done = subprocess.run(
        line,
        cwd=folder,
        env=env | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def mlflow_kinds(home: Path) -> Counter[str]:
    """Counts what MLflow was told of, by kind."""
    return Counter(path.read_text() for path in home.parent.glob("mlruns/*/*/tags/fmnist.kind"))


def results(root: Path) -> dict[Path, dict[str, Any]]:
    """The results below a storage root, each with its manifest."""
    return {path.parent: json.loads(path.read_bytes()) for path in root.glob(f"*/*/{MANIFEST}")}


@pytest.mark.timeout(800)  # eight jobs, each with a Ray of its own
def test_every_result_can_be_had_again_by_its_file(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "shapes.toml").write_text(TASK + "channels = 3\n")
    export_parquet(readable(1), str(home / "data"))
    where = ("--task", "shapes.toml", "--data", "data", "--storage", "results")
    recipe = (*where, *SMALL, "--architecture", "dense", "--recipe", "report")
    made = run(
        [
            ("train", *recipe, "--score"),
            ("compare", *where, *SMALL, "--architecture", "dense", "--seeds", "1", *TELL),
            ("retrain", *recipe, "--actors", "1", *TELL),
        ],
        home,
    )
    assert "epoch 1/1" in made
    tracked = mlflow_kinds(home)
    runs = len(list((home / "results" / "runs").iterdir()))
    assert tracked == {"comparison": 1, "retraining": 1, "run": runs}
    told = [line.split() for line in (home / "told").read_text().splitlines()]
    assert [outcome for outcome, _ in told] == ["finished", "promoted"]
    assert {Path(path).name for _, path in told if Path(path).is_file()} == {
        "comparison.json",
        "summary.json",
    }

    before = results(home / "results")
    kinds = {folder.parent.name for folder in before}
    assert kinds == {"comparisons", "predictions", "retrainings", "runs"}
    commands = []
    for folder, manifest in before.items():
        path = folder / manifest["files"][CONFIG]["path"]
        job = re.fullmatch(
            r"# This result again: fmnist (\w+) .*", path.read_text().splitlines()[0]
        )
        assert job, path
        commands.append((job[1], "--config", str(path)))
    again = run(commands, tmp_path / "elsewhere")
    assert "epoch 1/1" not in again
    assert mlflow_kinds(home) - tracked <= Counter(retraining=1)
    assert list((tmp_path / "elsewhere").iterdir()) == []
    after = results(home / "results")
    assert {folder: after[folder] for folder in before} == before
    assert {folder.parent.name for folder in after.keys() - before.keys()} <= {"retrainings"}
    for folder, manifest in before.items():
        assert f"{manifest['id']} " in again or folder.parent.name == "retrainings"
