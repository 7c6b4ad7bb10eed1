"""A retraining is killed just before and after each write around the promotion, and restarted."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fmnist.data.export import export_parquet
from fmnist.registry.candidates import register_candidate
from fmnist.registry.champion import promote, read_champion, rollback
from fmnist.retraining.plan import make_plan
from fmnist.storage.open import Storage, open_storage
from tests.support.challengers import RECIPE, publish_reader, readable
from tests.support.paths import ROOT
from tests.support.registries import publish_empty

TOML = (
    'name = "shapes"\nclasses = ["circle", "square", "star", "dot"]\n'
    "height = 12\nwidth = 20\nchannels = 3\n"
)
TRAINING = replace(RECIPE, validation=0.0)  # as the flags give it
DEATHS = (
    {"DIE_BEFORE": "/champion.json"},  # the pending promotion has been written
    {"DIE_AFTER": "/champion.json"},
    {"DIE_AFTER": "predictions/"},
    {"DIE_BEFORE": "retrainings/"},  # old runs have been marked
    {"DIE_AFTER": "retrainings/"},
)


@pytest.fixture
def start(ray_cluster: Any, tmp_path: Path, storage_uri: str):
    """Starts the job of the second night, and returns its exit code and what it said."""
    export_parquet(readable(2), str(tmp_path / "data"))
    (tmp_path / "shapes.toml").write_text(TOML)
    line = [
        sys.executable,
        "-m",
        "tests.recovery.support.dying",
        "--task",
        str(tmp_path / "shapes.toml"),
    ]
    line += ["--data", str(tmp_path / "data"), "--storage", storage_uri, "--recipe", "report"]
    line += ["--architecture", "dense", "--batch", "8", "--epochs", "1", "--validation", "0"]
    line += ["--cpus-per-worker", "1", "--actors", "1", "--keep-runs", "0"]

    def run(*flags: str, **death: str) -> tuple[int, str]:
        env = os.environ | {"RAY_ADDRESS": ray_cluster.address} | death
        done = subprocess.run([*line, *flags], cwd=ROOT, env=env, capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr

    return run


@pytest.fixture
def storage(storage_uri: str) -> Storage:
    """A storage with the first night's champion, a better challenger, and a candidate to prune."""
    storage = open_storage(storage_uri)
    poor = publish_reader(storage, readable(1), TRAINING, knows=2)
    publish_reader(storage, readable(2), TRAINING, knows=4)
    register_candidate(storage, "shapes", "old")
    publish_empty(storage, "old")
    assert promote(storage, "shapes", poor, expected=None, command="a test")
    return storage


def contents(storage: Storage) -> dict[str, bytes]:
    return {key: storage.read(key) for key in storage.keys("")}


def put_back(storage: Storage, saved: dict[str, bytes]) -> None:
    for folder in {key.partition("/")[0] for key in storage.keys("")}:
        storage.delete(folder)
    for key, data in saved.items():
        storage.write(key, data)


def outcome(storage: Storage) -> dict[str, Any]:
    """Returns the parts of the result that depend neither on the clock nor on chance."""
    champion = read_champion(storage, "shapes")
    assert champion is not None
    (key,) = [key for key in storage.keys("retrainings") if key.endswith("manifest.json")]
    manifest = json.loads(storage.read(key))
    return {
        "id": manifest["id"],
        "details": manifest["details"],
        "files": {
            name: storage.read(f"{key.rpartition('/')[0]}/{entry['path']}")
            for name, entry in manifest["files"].items()
        },
        "moves": [(move.counter, move.run, move.reason) for move in champion.history],
        "runs": sorted({key.split("/")[1] for key in storage.keys("runs")}),
        "registry": storage.keys("registry"),
        "predictions": {
            key for key in storage.keys("predictions") if key.endswith(("submission.csv", ".json"))
        },
    }


def test_a_retraining_killed_at_any_point_says_the_same_in_the_end(start, storage: Storage) -> None:
    before = contents(storage)
    code, said = start()
    assert code == 0 and "promoted: The challenger is" in said, said
    undisturbed = outcome(storage)
    summary = json.loads(undisturbed["files"]["summary.json"])
    assert summary["outcome"] == "promoted" and summary["decision"]["passed"]
    assert summary["evaluations"].keys() == {"champion", "challenger"}
    assert summary["pruned"] == ["old"] and "old" not in undisturbed["runs"]
    assert undisturbed["registry"] == ["registry/shapes/champion.json"]

    put_back(storage, before)
    for death in DEATHS:
        code, said = start(**death)
        assert code == -signal.SIGKILL, f"{death}: {said}"
    code, said = start()
    assert code == 0 and "promoted: The challenger is" in said, said
    assert outcome(storage) == undisturbed


@pytest.mark.parametrize("storage_uri", ["s3"], indirect=True)
def test_a_promotion_that_was_rolled_back_before_its_summary_is_told(
    start, storage: Storage
) -> None:
    """The promotion's result is published, and the operator's champion scores the images."""
    code, said = start(DIE_AFTER="/champion.json")
    assert code == -signal.SIGKILL, said
    forced = make_plan(readable(2), TRAINING, storage, force=True)
    assert forced.pending and forced.training == TRAINING  # as if --force had been killed
    assert make_plan(readable(3), TRAINING, storage).pending is None
    code, said = start("--dry-run")
    assert code == 0 and f"to finish   the promotion of {forced.challenger} (move 2)" in said, said
    now = rollback(storage, "shapes", command="an operator")
    code, said = start()
    assert code == 0 and "the pointer has moved on since" in said, said
    found = outcome(storage)
    summary = json.loads(found["files"]["summary.json"])
    poor = {"run": now.run, "counter": 1}
    assert summary["champion"] == {"before": poor, "after": poor | {"counter": 3}}
    assert summary["outcome"] == "promoted" and summary["decision"]["passed"]
    assert summary["model"].endswith(f"/runs/{now.run}")
    assert read_champion(storage, "shapes") == now
    assert not storage.keys("registry/shapes/verdicts")
