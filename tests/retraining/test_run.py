"""The scheduled job on a real Ray: nights in a row, with challengers that are worse or better."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from fmnist.data.dataset import Dataset
from fmnist.data.export import export_parquet
from fmnist.errors import UserError
from fmnist.registry.champion import promote, read_champion, rollback
from fmnist.registry.prune import Retention
from fmnist.retraining.gate import Gate
from fmnist.retraining.held_out import hold_out
from fmnist.retraining.pending import read_pending
from fmnist.retraining.plan import make_plan
from fmnist.retraining.promotion import promote_if_better
from fmnist.retraining.result import ChampionVersion
from fmnist.retraining.run import retrain, retrainings_folder
from fmnist.scoring.inputs import from_examples
from fmnist.settings import Cluster, Training
from fmnist.storage.manifest import Manifest
from fmnist.storage.open import Storage, open_storage
from jobs import retrain as job
from jobs.launch import launch
from tests.support.challengers import RECIPE, publish_reader, readable
from tests.support.paths import ROOT
from tests.support.samples import SHAPES
from tests.support.servers.browser import Browser
from tests.support.servers.faulty import faulty

TOML = 'name = "shapes"\nclasses = ["circle", "square", "star", "dot"]\nheight = 12\nwidth = 20\n'
FLAGS = ("--architecture", "dense", "--batch", "8", "--epochs", "1", "--cpus-per-worker", "1")
SCORED = readable(99).test


def night(storage: Storage, data: Dataset, training: Training = RECIPE, **plan: Any) -> Manifest:
    """The same images are scored every night."""
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

    page = tmp_path / "report.html"
    path = worse.files["report.html"].path
    storage.download(f"{retrainings_folder(worse.id)}/{path}", page)
    browser.open(page)
    assert browser.errors() == []
    assert browser.value("document.querySelector('h1').innerText").startswith("Kept")


@pytest.fixture
def rivals(tmp_path: Path) -> tuple[Storage, Dataset, str, str, str]:
    """Three runs that know 2, 3 and 4 of 4 classes, with the data on which they are judged."""
    storage, data = open_storage(str(tmp_path)), readable(1)
    runs = [
        publish_reader(storage, data, replace(RECIPE, seed=knows), knows=knows)
        for knows in (2, 3, 4)
    ]
    return storage, data, runs[0], runs[1], runs[2]


def contest(storage: Storage, data: Dataset, run: str, before: Any):
    """Returns the result; a pending promotion stays only if the run was promoted."""
    result, pending = promote_if_better(
        storage,
        SHAPES,
        run,
        seed=0,
        before=before,
        held_out=hold_out(data, RECIPE),
        gate=Gate(),
        command="a test",
    )
    assert read_pending(storage, "shapes") == ([pending] if pending else [])
    assert bool(pending) == (result.outcome == "promoted")
    if pending:
        assert pending.happened(read_champion(storage, "shapes")) and pending.result == result
    return result


@pytest.mark.usefixtures("ray_cluster")
def test_whoever_is_overtaken_is_judged_against_the_new_champion(
    rivals: tuple[Storage, Dataset, str, str, str],
) -> None:
    storage, data, poor, middle, good = rivals
    other = promote(storage, "shapes", middle, expected=None, command="another night")
    late = contest(storage, data, poor, before=None)
    assert (late.outcome, late.after) == ("overtaken", ChampionVersion.of(other))
    assert late.decision is not None and not late.decision.passed
    same = contest(storage, data, middle, before=None)
    assert (same.outcome, same.after, same.decision) == (
        "overtaken",
        ChampionVersion.of(other),
        None,
    )
    won = contest(storage, data, good, before=None)
    assert (won.outcome, won.after.run, won.after.counter) == ("promoted", good, 2)
    assert [move.run for move in read_champion(storage, "shapes").history] == [middle, good]


@pytest.mark.usefixtures("ray_cluster")
def test_what_an_operator_rolled_back_is_not_promoted_by_who_had_planned_before(
    rivals: tuple[Storage, Dataset, str, str, str],
) -> None:
    """One job has planned when a second one promotes the same run, and somebody rolls it back."""
    storage, data, poor, _, good = rivals
    planned = promote(storage, "shapes", poor, expected=None, command="a test")
    assert promote(storage, "shapes", good, expected=planned, command="another job")
    now = rollback(storage, "shapes", command="an operator")
    late = contest(storage, data, good, before=planned)
    assert (late.outcome, late.after, late.decision) == ("kept", ChampionVersion.of(now), None)
    assert f"{good} was champion until it was rolled back" in late.reason
    assert read_champion(storage, "shapes") == now


@pytest.mark.usefixtures("ray_cluster")
def test_a_champion_that_is_damaged_is_not_judged(
    rivals: tuple[Storage, Dataset, str, str, str],
) -> None:
    storage, data, poor, _, good = rivals
    champion = promote(storage, "shapes", poor, expected=None, command="a test")
    (key,) = [key for key in storage.keys(f"runs/{poor}") if key.endswith("model.keras")]
    storage.write(key, b"something else")
    with pytest.raises(UserError, match=f"{poor}.*: found 14 bytes with SHA-256"):
        contest(storage, data, good, champion)
    assert read_champion(storage, "shapes") == champion


def test_what_nobody_learned_from_is_what_both_are_judged_on() -> None:
    data = readable(1)
    assert hold_out(data, RECIPE).part == "test"
    bare = replace(data, test=replace(data.test, labels=None))
    held_out = hold_out(bare, replace(RECIPE, validation=0.25))
    assert (held_out.part, len(held_out.examples)) == ("validation", 10)
    assert "its epoch was not chosen" in held_out.note
    with pytest.raises(UserError, match="no labelled test part and a validation share of 0"):
        hold_out(bare, RECIPE)


def test_no_epoch_is_chosen_on_the_images_that_judge_it() -> None:
    """Refused when the plan is made, so before anything is trained."""
    data = readable(1)
    bare = replace(data, test=replace(data.test, labels=None))
    best = replace(RECIPE, validation=0.25, select="best")
    assert hold_out(data, best).part == "test"
    with pytest.raises(UserError, match="data 1: found no labelled test part and select best"):
        hold_out(bare, best)


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

    task = ("--task", str(tmp_path / "shapes.toml"))
    line = [sys.executable, "-m", "jobs.retrain", *task, *where, "--actors", "1"]
    env = os.environ | {"RAY_ADDRESS": ray_cluster.address}
    done = subprocess.run(line, cwd=ROOT, env=env, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    assert "epoch 1/1" in done.stdout and "promoted: There was no champion" in done.stdout
    champion = read_champion(storage, "shapes")
    assert champion.run in plan and f"champion {champion.run} (move 1)" in done.stdout
    assert storage.keys("registry/shapes/candidates") == [
        f"registry/shapes/candidates/{champion.run}.json"
    ]
    (labels,) = tmp_path.rglob("labels/*.parquet")
    assert set(pq.read_table(labels)["model"].to_pylist()) == {champion.run}
    for name in ("summary.json", "report.html"):
        (path,) = [line.split()[-1] for line in done.stdout.splitlines() if name in line]
        assert Path(path).is_file()

    code, plan = command("--dry-run", *where)
    assert code == 0 and "nothing to train: The champion has been trained on this data" in plan
    code, plan = command("--dry-run", "--force", *where)
    assert code == 0 and champion.run not in plan.partition("challenger")[2]
    assert command("--rollback", *where)[0] == 2


def test_a_dry_run_asks_a_store_for_nothing_but_reading(
    command, tmp_path: Path, s3_server: str, s3_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether a store keeps to conditional writes is found out by writing, at other times."""
    export_parquet(readable(1), str(tmp_path / "data"))
    with faulty(s3_server) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        where = ("--data", str(tmp_path / "data"), "--storage", s3_uri, *FLAGS)
        code, plan = command("--dry-run", *where)
        assert code == 0 and "to be trained" in plan
        code, told = command("--dry-run", "--rollback", *where)
        assert code == 2 and "there is no champion" in told
    assert {line.partition(" ")[0] for line in proxy.requests} <= {"GET", "HEAD"}


def test_a_rollback_says_where_to(command, tmp_path: Path) -> None:
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
    assert read_champion(storage, "shapes").run == second
    code, told = command(*where)
    assert (code, read_champion(storage, "shapes").run) == (0, first)
    assert f"{first} is champion (move 3)" in told
    code, told = command(*where)
    assert code == 2 and "no predecessor" in told


def test_wrong_settings_are_all_in_one_message_and_nothing_is_written(
    command, tmp_path: Path
) -> None:
    before = sorted(tmp_path.rglob("*"))
    code, told = command(
        "--margin", "-1", "--confidence", "1", "--keep-runs", "-1", "--epochs", "0",
        "--rollback", "--force",
    )  # fmt: skip
    assert code == 2 and told.count("error: ") == 1
    for part in ("margin is -1", "confidence is 1", "keep runs is -1", "epochs is 0", "--rollback"):
        assert part in told
    (tmp_path / "empty").mkdir()
    code, told = command("--data", "empty", *FLAGS)
    assert code == 2 and "empty: found no data" in told
    (tmp_path / "empty").rmdir()
    assert sorted(tmp_path.rglob("*")) == before
