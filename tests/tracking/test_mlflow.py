"""Telling MLflow never costs more than a line and a limited time, whatever MLflow does."""

import logging
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from mlflow import MlflowClient

from fmnist.storage.open import Storage, open_storage
from fmnist.tracking import mlflow
from fmnist.tracking.mlflow import TRACKING_URI, tell_mlflow
from fmnist.tracking.tell import describe
from tests.support.tracked import publish_run

SLOW_MACHINE = 100.0  # seconds for importing MLflow and asking twice


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return open_storage(str(tmp_path / "results"))


@contextmanager
def silent_server() -> Iterator[str]:
    """Takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def warning(caplog: pytest.LogCaptureFixture) -> str:
    (record,) = [record for record in caplog.records if record.name.startswith("fmnist")]
    assert record.levelno == logging.WARNING
    text = record.getMessage()
    assert "\n" not in text and len(text) < 500
    return text


def test_a_process_of_its_own_tells_a_server(
    mlflow_settings: str,
    mlflow_server: str,
    storage: Storage,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv(TRACKING_URI, mlflow_server)
    tell_mlflow(storage, publish_run(storage))
    # Threads of Ray Data, which other tests have started, write into the same log.
    assert [record for record in caplog.records if record.name.startswith("fmnist")] == []
    client = MlflowClient()
    (run,) = client.search_runs([client.get_experiment_by_name(mlflow_settings).experiment_id])
    assert (run.info.status, run.data.metrics["test_accuracy"]) == ("FINISHED", 0.9)


def test_a_server_that_is_down_is_one_line_without_a_password(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with silent_server() as url:
        down = url.replace("//", "//user:secret@")
    monkeypatch.setenv(TRACKING_URI, down)
    begin = time.monotonic()
    tell_mlflow(storage, publish_run(storage))
    assert time.monotonic() - begin < SLOW_MACHINE
    text = warning(caplog)
    assert text.startswith("MLflow was not told of runs/fashion-cnn-000000000000: MlflowException:")
    assert "secret" not in text


def test_a_server_that_never_answers_is_left_alone_after_a_while(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = publish_run(storage)
    monkeypatch.setattr(mlflow, "TIMEOUT", 3.0)
    with silent_server() as url:
        monkeypatch.setenv(TRACKING_URI, url)
        begin = time.monotonic()
        tell_mlflow(storage, folder)
    assert time.monotonic() - begin < 20
    assert "took longer than 3 s and was killed" in warning(caplog)


@pytest.mark.parametrize("uri", ["nothing://here", "file:///proc/nowhere"])
def test_a_wrong_address_is_one_line(
    uri: str, storage: Storage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(TRACKING_URI, uri)
    tell_mlflow(storage, publish_run(storage))
    assert "MLflow was not told of runs/" in warning(caplog)


def test_a_missing_extra_is_named(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(TRACKING_URI, "http://127.0.0.1:1")
    monkeypatch.setattr(mlflow, "find_spec", lambda name: None)
    tell_mlflow(storage, "runs/none")
    assert "the extra `mlflow` is not installed" in warning(caplog)


def test_nothing_is_started_without_the_variable(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv(TRACKING_URI, raising=False)
    monkeypatch.setattr(mlflow, "run_bounded", lambda *_, **__: pytest.fail("was started"))
    tell_mlflow(storage, "runs/none")
    assert caplog.records == []


def test_an_error_is_described_in_one_line_without_user_and_password() -> None:
    error = ValueError("at https://user:pass@word@host/api\n  failed " + "x" * 1000)
    text = describe(error)
    assert text.startswith("ValueError: at https://host/api failed xxx") and len(text) <= 300
