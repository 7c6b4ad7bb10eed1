"""`--config`: a file lies below the flags, and all of its mistakes are told at once."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import boto3
import pytest

from fmnist.errors import UserError
from fmnist.job_config import DATA_FLAGS, JobConfig
from fmnist.recipes import RECIPES
from fmnist.run_settings import Cluster, Training
from jobs import compare, export, retrain, score, train
from jobs.support.config import IN_RAY_JOB, NOT_SAVED, flag_types, job_config, read_config


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Reads the flags of a job together with a file of this content."""
    monkeypatch.chdir(tmp_path)

    def parse(job: ModuleType, content: str, *flags: str) -> Any:
        Path("run.toml").write_text(content)
        monkeypatch.setattr(sys, "argv", [job.__name__, "--config", "run.toml", *flags])
        return job.parse()

    return parse


def test_flags_win_over_the_file_and_the_file_over_the_recipe(parsed: Any) -> None:
    content = 'recipe = "report"\nepochs = 3\nlearning_rate = 1\ngpu = true\nsize = "8x8"\n'
    flags = parsed(train, content, "--epochs", "4")
    assert (flags.training.epochs, flags.training.learning_rate) == (4, 1.0)
    assert type(flags.training.learning_rate) is float
    assert flags.training.batch == RECIPES["report"].batch
    assert (flags.cluster.gpu, flags.images.size) == (True, "8x8")
    assert parsed(train, content, "--recipe", "quick").training.batch == RECIPES["quick"].batch


def test_none_takes_a_value_of_the_file_away(parsed: Any) -> None:
    content = 'size = "8x8"\ncpus_per_worker = 2\n'
    flags = parsed(train, content, "--size", "none", "--cpus-per-worker", "None")
    assert (flags.images.size, flags.cluster.cpus_per_worker) == (None, None)


def test_a_file_can_give_what_a_flag_must_give(parsed: Any) -> None:
    assert parsed(score, 'run = "fashion-cnn-0"').run == "fashion-cnn-0"
    assert parsed(export, 'to = "there"\nformat = "csv"').format == "csv"


def test_a_job_keeps_its_own_defaults(parsed: Any) -> None:
    flags = parsed(compare, 'learning_rate = "1e-3,1e-4"')
    assert (flags.cluster.keep_checkpoints, flags.learning_rate) == (1, "1e-3,1e-4")
    assert parsed(retrain, "margin = 0.01").gate.margin == 0.01
    assert parsed(train, 'workers = "1:4"').training.workers == "1:4"


def test_the_file_of_another_job_is_called_that(fails: Any) -> None:
    place = Path("../run.toml").absolute()
    config = JobConfig(job="train", values={"seed": 1, "epochs": 2, "select": "best"})
    place.write_text(config.to_toml())
    message = fails(compare, "--config", str(place))
    assert f"config {place}: was written by fmnist train, and has keys" in message
    assert message.rstrip().endswith("that this job has not: seed, select")


def test_all_mistakes_are_in_one_message_with_the_nearest_names(fails: Any) -> None:
    place = Path("../run.toml").absolute()
    place.write_text(
        'learning-rate = 1\nepoch = 2\nbatch = "big"\ngpu = 1\nseed = true\ndata = 5\n'
        'validation = nan\nworkers = 1.5\noptimizer = "lion"\n[training]\nepochs = 1\n'
    )
    message = fails(train, "--config", str(place))
    assert "10 mistakes" in message
    for part in (
        "unknown key 'learning-rate', expected 'learning_rate'",
        "unknown key 'epoch', expected 'epochs'",
        "unknown key 'training', expected ",
        "batch is 'big', expected a whole number",
        "gpu is 1, expected true or false",
        "seed is true, expected a whole number",
        "data is 5, expected text in quotes",
        "validation is nan, expected a number",
        "workers is 1.5, expected a whole number or text in quotes",
        "optimizer is 'lion', expected adam or rmsprop or sgd",
    ):
        assert f"config {place}: {part}" in message


@pytest.mark.parametrize(
    ("content", "problem"),
    [(None, "No such file"), ("epochs = ", "Invalid value"), (b"\xff", "can't decode")],
)
def test_a_file_that_cannot_be_read_is_named(fails: Any, content: Any, problem: str) -> None:
    place = Path("../broken.toml").absolute()
    if content is not None:
        place.write_bytes(content if isinstance(content, bytes) else content.encode())
    message = fails(train, "--config", str(place))
    assert "broken.toml" in message and problem in message


def test_values_are_checked_as_those_of_flags(fails: Any) -> None:
    place = Path("../wrong.toml").absolute()
    place.write_text("batch = 0\nsize = 'big'\n")
    message = fails(train, "--config", str(place))
    assert "batch is 0" in message and "size is 'big'" in message
    place.write_text('recipe = "slow"\n')
    assert "unknown recipe 'slow'" in fails(train, "--config", str(place))


def test_a_file_in_the_storage_is_read(s3_uri: str, bucket: str) -> None:
    place = f"{s3_uri}/runs/r/config.toml"
    with pytest.raises(UserError, match="there is no such file"):
        read_config(place, train.Flags)
    boto3.client("s3").put_object(Bucket=bucket, Key="results/runs/r/config.toml", Body=b"seed = 5")
    assert read_config(place, train.Flags) == {"seed": 5}


def test_a_result_can_be_had_again_from_any_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    flags = train.Flags(task="own.toml", data="images", storage="s3://bucket/root", resume="r1")
    config = job_config("train", flags)
    assert config.values["task"] == str(tmp_path / "own.toml")
    assert config.values["data"] == str(tmp_path / "images")
    assert config.values["storage"] == "s3://bucket/root"
    assert config.values.keys() == flag_types(train.Flags).keys() - set(NOT_SAVED)
    named = job_config("train", train.Flags(task="fashion")).values
    assert (named["task"], named["data"]) == ("fashion", "auto")
    assert job_config("score", score.Flags(run="fashion-cnn-0")).values["run"] == "fashion-cnn-0"
    monkeypatch.setenv(IN_RAY_JOB, "{}")
    assert job_config("train", flags).values["task"] == "own.toml"


def test_the_config_of_a_run_forgets_no_flag() -> None:
    """A new flag of training belongs to the settings of a run, or to DATA_FLAGS."""
    settings = {**Training.__dataclass_fields__, **Cluster.__dataclass_fields__}
    known = {*settings, *DATA_FLAGS, *NOT_SAVED, "storage", "score"}
    assert flag_types(train.Flags).keys() <= known
