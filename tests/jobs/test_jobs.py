"""The commands: what they print, how they end, and that they work as submitted Ray jobs."""

import json
import os
import re
import sys

import pytest

from fmnist.data.formats.parquet import write_part
from fmnist.runs.ids import run_folder
from fmnist.scoring.predictions import SUBMISSION, predictions_folder
from fmnist.storage.manifest import read_manifest
from fmnist.storage.open import open_storage
from jobs import export, score, train
from jobs.support.config import IN_RAY_JOB
from jobs.support.launch import launch
from tests.support.models import dense, publish_run
from tests.support.samples import SHAPES, examples
from tests.support.servers.head import environment, printed_id, run

NETWORK = b"def net(layers, images, activation):\n    return layers.Flatten()(images)\n"
SMALL = ("--batch", "32", "--epochs", "1", "--cpus-per-worker", "1")


def test_submitted_jobs_train_and_score_on_s3(head, real_images, s3_uri):
    """The network is the user's own, and in S3, too."""
    data = ("--data", real_images, "--storage", s3_uri)
    open_storage(s3_uri).write("nets.py", NETWORK)
    network = ("--architecture", f"{s3_uri}/nets.py:net")
    trained = head.submit("jobs.train", *data, *SMALL, *network, "--workers", "2")
    assert trained.returncode == 0, trained.stdout + trained.stderr
    header, _, _ = trained.stdout.partition("\nepoch 1/1  ")
    assert header.endswith("images/s  time left")
    run_id = printed_id(trained.stdout, "run")
    scored = head.submit("jobs.score", *data, "--run", run_id)
    assert scored.returncode == 0, scored.stdout + scored.stderr

    storage = open_storage(s3_uri)
    manifest = read_manifest(storage, run_folder(run_id))
    assert manifest.details["hardware"]["workers"] == 2
    assert re.fullmatch(r"\w+-net\.\w{12}-\w+", run_id)
    folder = predictions_folder(printed_id(scored.stdout, "predictions"))
    lines = storage.read(f"{folder}/{SUBMISSION}").decode().splitlines()
    assert lines[0] == "Id,Label" and len(lines) == 42
    for text in (trained.stdout, trained.stderr, json.dumps(manifest.details)):
        assert os.environ["AWS_SECRET_ACCESS_KEY"] not in text


def test_a_submitted_job_that_fails_ends_as_a_failure(head, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    failed = head.submit("jobs.train", "--data", str(empty), "--storage", str(tmp_path / "results"))
    assert failed.returncode != 0
    assert f"error: {empty}: found no data" in failed.stdout
    assert list(tmp_path.iterdir()) == [empty]


def test_without_a_cluster_one_command_trains_and_scores_and_finds_itself(real_images, tmp_path):
    command = (
        sys.executable, "-m", "jobs.train", "--data", real_images, "--storage", str(tmp_path),
        "--score", *SMALL,
    )  # fmt: skip
    first = run(*command)
    assert first.returncode == 0, first.stderr
    again = run(*command, env=environment(RAY_ADDRESS="127.0.0.1:1"))  # where no Ray is
    assert again.returncode == 0, again.stderr
    assert "epoch 1/1" in first.stdout and "epoch 1/1" not in again.stdout
    assert printed_id(first.stdout, "run") == printed_id(again.stdout, "run")
    submission = next(tmp_path.rglob(SUBMISSION)).read_text().splitlines()
    assert [int(line.split(",")[0]) for line in submission[1:]] == list(range(41))


def test_wrong_settings_are_all_in_one_message(fails):
    names = ("--architecture", "vgg", "--optimizer", "lion", "--task", "birds")
    message = fails(train, *names, "--epochs", "0")
    for part in ("vgg", "cnn", "lion", "adam", "birds", "competition", "epochs is 0"):
        assert part in message


def test_the_help_shows_what_a_setting_can_be(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["train", "--help"])
    with pytest.raises(SystemExit, match="0"):
        train.parse()
    shown = capsys.readouterr().out
    assert "{relu | tanh | sigmoid}" in shown and "{last | best}" in shown


def test_an_unknown_recipe_and_an_unknown_task_name_the_known_ones(fails):
    assert "report, quick" in fails(train, "--recipe", "slow")
    assert "fashion, competition" in fails(train, "--task", "birds")


@pytest.mark.parametrize(
    ("uri", "part"),
    [("ftp://host/x", "ftp"), ("s3://no-such-bucket-here/x", "there is no such bucket")],
)
def test_a_storage_that_cannot_be_used_is_named(fails, s3_server, uri, part):
    assert part in fails(train, "--storage", uri)


def test_no_data_at_a_path_is_told(fails, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "empty: found no data" in fails(train, "--data", "empty")


def test_a_relative_storage_in_a_submitted_job_is_refused(fails, monkeypatch):
    monkeypatch.setenv(IN_RAY_JOB, "{}")
    assert "expected an absolute path" in fails(train, "--storage", "results")


def test_a_run_that_is_not_there_is_told(fails, tmp_path):
    (tmp_path / "results").mkdir()
    assert "expected the folder of a finished run" in fails(score, "--run", "fashion-cnn-0")
    assert "elsewhere" in fails(score, "--run", "elsewhere/fashion-cnn-0")


def test_predictions_that_a_run_cannot_have_are_refused_at_once(fails, tmp_path):
    message = fails(score, "--run", "r1", "--tta", "spin", "--precision", "half")
    assert "unknown tta 'spin'" in message and "unknown precision 'half'" in message
    storage = open_storage(str(tmp_path / "results"))
    publish_run(storage, tmp_path / "model", dense(SHAPES), SHAPES)
    message = fails(score, "--run", "r1", "--tta", "flip", "--precision", "bfloat16")
    assert "task shapes does not say that a mirror image" in message
    assert "run r1 has no network of this package" in message


def test_an_export_over_something_is_refused(fails, tmp_path, real_images):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("mine")
    assert "full" in fails(export, "--data", real_images, "--to", "full")


def test_an_export_can_be_read_again(monkeypatch, capsys, tmp_path, real_images):
    first, second = str(tmp_path / "first"), str(tmp_path / "second")
    for source, target in ((real_images, first), (first, second)):
        monkeypatch.setattr(sys, "argv", ["export", "--data", source, "--to", target])
        launch(export.parse, export.run)
    printed = [line for line in capsys.readouterr().out.splitlines() if "fingerprint" in line]
    assert len(printed) == 2 and printed[0] == printed[1]


def test_a_scoring_job_prints_its_own_lines_and_no_others(tmp_path):
    storage = open_storage(str(tmp_path / "results"))
    publish_run(storage, tmp_path / "model", dense(SHAPES), SHAPES)
    write_part(examples(SHAPES, 300), *open_storage(str(tmp_path / "data")).arrow("test"))
    where = ("--data", str(tmp_path / "data"), "--storage", storage.uri)
    done = run(sys.executable, "-m", "jobs.score", "--run", "r1", *where)
    number = printed_id(done.stdout, "predictions")
    assert (done.returncode, done.stderr) == (0, "")
    slow = (" …", " left")  # stages and speed, which are shown after some seconds
    first, header, *rest = [line for line in done.stdout.splitlines() if not line.endswith(slow)]
    assert first == f"predictions {number} for 300 images are finished"
    assert header.split() == ["class", "images", "share"]
    classes = len(SHAPES.classes)
    assert [line.split()[0] for line in rest[:classes]] == list(SHAPES.classes)
    assert rest[classes:] == [
        "  model   r1",
        f"  labels  {storage.uri}/predictions/{number}/labels/",
        f"open {storage.uri}/predictions/{number}/submission.csv",
    ]
