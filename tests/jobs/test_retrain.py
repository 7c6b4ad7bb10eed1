"""The command that retrains: its plan, a whole night, a rollback, and wrong settings."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from fmnist.data.export import export_parquet
from fmnist.registry.champion import promote, read_champion
from fmnist.storage.open import open_storage
from fmnist.tracking.mlflow import TRACKING_URI
from jobs import retrain as job
from jobs.support.launch import launch
from tests.support.challengers import RECIPE, publish_reader, readable
from tests.support.paths import ROOT
from tests.support.servers.faulty import faulty

TOML = 'name = "shapes"\nclasses = ["circle", "square", "star", "dot"]\nheight = 12\nwidth = 20\n'
FLAGS = ("--architecture", "dense", "--batch", "8", "--epochs", "1", "--cpus-per-worker", "1")


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path):
    """Runs the job in this process; returns its exit code and what it said."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shapes.toml").write_text(TOML + "channels = 3\n")

    def run(*flags: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["retrain", "--task", "shapes.toml", *flags])
        code = 0
        try:
            launch(job.parse, job.run)
        except SystemExit as end:
            code = int(end.code or 0)
        printed = capsys.readouterr()
        return code, printed.out + printed.err

    return run


def test_the_first_night_trains_and_the_command_says_where_everything_is(
    ray_cluster: Any, command, tmp_path: Path
) -> None:
    export_parquet(readable(1), str(tmp_path / "data"))
    storage = open_storage(str(tmp_path / "results"))
    where = ("--data", str(tmp_path / "data"), "--storage", storage.uri, *FLAGS)

    before = sorted(tmp_path.rglob("*"))
    code, plan = command("--dry-run", *where)
    assert code == 0 and "champion    none" in plan and "to be trained" in plan
    assert readable(1).fingerprint in plan
    assert sorted(tmp_path.rglob("*")) == before

    code, told = command(*where, "--actors", "99")
    assert code == 2 and "found 99 scoring actors" in told, "before anything is trained"
    assert not storage.keys("runs") and not storage.keys("registry")

    task = ("--task", str(tmp_path / "shapes.toml"))
    line = [sys.executable, "-m", "jobs.retrain", *task, *where, "--actors", "1"]
    env = os.environ | {"RAY_ADDRESS": ray_cluster.address}
    done = subprocess.run(line, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "epoch 1/1" in done.stdout and "promoted: There was no champion" in done.stdout
    champion = read_champion(storage, "shapes")
    assert champion.run in plan and f"  champion  {champion.run} (move 1)\n" in done.stdout
    assert storage.keys("registry/shapes/candidates") == [
        f"registry/shapes/candidates/{champion.run}.json"
    ]
    (labels,) = tmp_path.rglob("labels/*.parquet")
    assert set(pq.read_table(labels)["model"].to_pylist()) == {champion.run}
    page = Path(done.stdout.splitlines()[-1].removeprefix("open "))
    assert page.name == "report.html" and page.is_file()
    assert (
        f"  files in {page.parent}:\n" in done.stdout and (page.parent / "summary.json").is_file()
    )

    code, plan = command("--dry-run", *where)
    assert code == 0 and "nothing to train: The champion has been trained on this data" in plan
    code, plan = command("--dry-run", "--force", *where)
    assert code == 0 and champion.run not in plan.partition("challenger")[2]
    assert command("--rollback", *where)[0] == 2


def test_a_dry_run_asks_a_store_for_nothing_but_reading(
    command, tmp_path: Path, s3_server: str, s3_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other jobs test by a write that the store supports conditional writes; a dry run does not."""
    export_parquet(readable(1), str(tmp_path / "data"))
    with faulty(s3_server) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        where = ("--data", str(tmp_path / "data"), "--storage", s3_uri, *FLAGS)
        code, plan = command("--dry-run", *where)
        assert code == 0 and "to be trained" in plan
        code, told = command("--dry-run", "--rollback", *where)
        assert code == 2 and "there is no champion" in told
    assert {line.partition(" ")[0] for line in proxy.requests} <= {"GET", "HEAD"}


def test_a_rollback_says_where_to(command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TRACKING_URI, (tmp_path / "mlruns").as_uri())
    model = tmp_path / "mlruns" / "models" / "fmnist-shapes"
    storage = open_storage(str(tmp_path / "results"))
    where = ("--storage", "results", "--rollback")
    assert "there is no champion" in command(*where)[1]
    for seed in (1, 2):
        run = publish_reader(storage, readable(seed), RECIPE, knows=4)
        before = read_champion(storage, "shapes")
        assert promote(storage, "shapes", run, expected=before, command="a test")
    first, second = (move.run for move in read_champion(storage, "shapes").history)
    assert command(*where, "--dry-run") == (
        0,
        f"champion {second} would be rolled back to {first}\n",
    )
    assert read_champion(storage, "shapes").run == second and not model.exists()
    code, told = command(*where)
    assert (code, read_champion(storage, "shapes").run) == (0, first)
    assert f"{first} is champion (move 3)" in told
    assert (model / "aliases" / "champion").read_text() == "1"
    assert (model / "tags" / "fmnist.champion_move").read_text() == "3"
    assert first in (model / "version-1" / "tags" / "fmnist.place").read_text()
    code, told = command(*where)
    assert code == 2 and "no predecessor" in told


def test_wrong_settings_are_all_in_one_message_and_nothing_is_written(
    command, tmp_path: Path
) -> None:
    before = sorted(tmp_path.rglob("*"))
    code, told = command(
        "--margin", "-1", "--confidence", "1", "--keep-runs", "-1", "--epochs", "0",
        "--rollback", "--force", "--max-drift", "2",
    )  # fmt: skip
    assert code == 2 and told.count("error: ") == 1
    for part in (
        "margin is -1",
        "confidence is 1",
        "keep runs is -1",
        "epochs is 0",
        "--rollback",
        "max drift is 2",
    ):
        assert part in told
    (tmp_path / "empty").mkdir()
    code, told = command("--data", "empty", *FLAGS)
    assert code == 2 and "empty: found no data" in told
    (tmp_path / "empty").rmdir()
    assert sorted(tmp_path.rglob("*")) == before
