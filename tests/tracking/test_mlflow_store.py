"""Results in a real MLflow: in a server with SQLite, and in a folder."""

import json
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from fmnist.registry.champion import rollback
from fmnist.storage.open import Storage, open_storage
from fmnist.tracking.mlflow import TRACKING_URI
from fmnist.tracking.mlflow_store import PARENT, MlflowStore
from tests.support.tracked import (
    HISTORY_ROWS,
    publish_comparison,
    publish_retraining,
    publish_run,
)


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return open_storage(str(tmp_path / "results"))


def all_runs(experiment: str) -> list[Any]:
    client = MlflowClient()
    found = client.get_experiment_by_name(experiment)
    return list(client.search_runs([found.experiment_id]))


def test_a_run_is_told_whole_and_once(mlflow_experiment: str, storage: Storage) -> None:
    folder = publish_run(storage)
    told = MlflowStore(storage).tell(folder)
    client = MlflowClient()
    run = client.get_run(told)
    assert run.info.status == "FINISHED" and run.info.run_name == "fashion-cnn-000000000000"
    expected = {"architecture": "cnn", "learning_rate": "0.001", "gpu": "False", "layers": "5"}
    assert expected.items() <= run.data.params.items()
    for name in ("loss", "accuracy", "seconds", "images_per_second", "learning_rate"):
        found = sorted(client.get_metric_history(told, name), key=lambda point: point.step)
        assert [(point.step, point.value) for point in found] == [
            (row["epoch"], row[name]) for row in HISTORY_ROWS
        ]
        times = [point.timestamp - run.info.start_time for point in found]
        assert times == [2000, 5000]
    assert run.data.metrics["test_accuracy"] == 0.9
    (data,) = run.inputs.dataset_inputs
    assert json.loads(data.dataset.source)["uri"] == "folder of images at /images"
    model = Path(run.data.tags["fmnist.file.model.keras"])
    assert model.read_bytes() == b"a model"
    assert client.list_artifacts(told) == []

    assert MlflowStore(storage).tell(folder) == told
    assert len(all_runs(mlflow_experiment)) == 1
    assert len(client.get_metric_history(told, "loss")) == 2


def test_what_was_told_half_is_completed_without_doubles(
    mlflow_settings: str, mlflow_server: str, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TRACKING_URI, mlflow_server)
    folder = publish_run(storage)

    def fail(*_: Any, **__: Any) -> None:
        raise MlflowException("killed")

    with monkeypatch.context() as patch, pytest.raises(MlflowException, match="killed"):
        patch.setattr(MlflowClient, "set_terminated", fail)
        MlflowStore(storage).tell(folder)
    (half,) = all_runs(mlflow_settings)
    assert half.info.status == "RUNNING"
    MlflowStore(storage).tell(folder)
    (whole,) = all_runs(mlflow_settings)
    assert (whole.info.run_id, whole.info.status) == (half.info.run_id, "FINISHED")
    assert len(MlflowClient().get_metric_history(whole.info.run_id, "loss")) == 2


def test_the_same_run_in_another_storage_is_another_one(
    mlflow_experiment: str, storage: Storage, tmp_path: Path
) -> None:
    copy = open_storage(str(tmp_path / "copy"))
    assert publish_run(storage) == publish_run(copy)
    folder = publish_run(storage)
    assert MlflowStore(storage).tell(folder) != MlflowStore(copy).tell(folder)


def test_runs_of_a_comparison_are_its_children_unless_they_have_a_parent(
    mlflow_experiment: str, storage: Storage
) -> None:
    folders = [publish_run(storage, seed) for seed in range(3)]
    store = MlflowStore(storage)
    alone, adopted = store.tell(folders[0]), store.tell(folders[1])
    client = MlflowClient()
    client.set_tag(adopted, PARENT, "another")
    parent = store.tell(publish_comparison(storage, folders))
    runs = {run.info.run_id: run.data for run in all_runs(mlflow_experiment)}
    assert len(runs) == 4
    assert runs[alone].tags[PARENT] == parent and runs[adopted].tags[PARENT] == "another"
    (third,) = runs.keys() - {parent, alone, adopted}
    assert runs[third].tags[PARENT] == parent
    assert runs[parent].metrics == {"runs": 3.0, "failed": 1.0}
    assert runs[parent].tags["fmnist.best_cell"] and PARENT not in runs[parent].tags


def test_runs_that_were_stopped_early_are_children_without_files(
    mlflow_experiment: str, storage: Storage
) -> None:
    folders = [publish_run(storage), "runs/fashion-cnn-1"]
    store = MlflowStore(storage)
    comparison = publish_comparison(storage, folders, stopped=folders[1:])
    parent = store.tell(comparison)
    children = [
        run.data for run in all_runs(mlflow_experiment) if run.data.tags.get(PARENT) == parent
    ]
    assert len(children) == 2
    (stopped,) = [run for run in children if run.tags["fmnist.id"] == "fashion-cnn-1"]
    assert stopped.tags["fmnist.stopped_at"] == "1"
    assert stopped.tags["fmnist.place"] == f"{storage.uri}/{comparison}"
    assert not any(name.startswith("fmnist.file.") for name in stopped.tags)
    assert stopped.params["seed"] == "1" and stopped.params["architecture"]
    assert {"loss", "validation_accuracy"} <= stopped.metrics.keys()
    assert store.tell(comparison) == parent
    assert len(all_runs(mlflow_experiment)) == 3
    another = publish_comparison(storage, folders[1:], stopped=folders[1:], id="another")
    assert store.tell(another) != parent
    assert len(all_runs(mlflow_experiment)) == 5


def test_the_champion_is_an_alias_that_follows_every_move(
    mlflow_experiment: str, storage: Storage
) -> None:
    client, name = MlflowClient(), f"{mlflow_experiment}-fashion"
    monday, tuesday = publish_run(storage, 1), publish_run(storage, 2)

    def champion() -> Any:
        return client.get_model_version_by_alias(name, "champion")

    first = MlflowStore(storage).tell(publish_retraining(storage, monday))
    run = client.get_run(first)
    assert run.data.tags["fmnist.outcome"] == "promoted" and run.data.metrics["p"] < 0.05
    assert champion().tags["fmnist.place"] == f"{storage.uri}/{monday}"
    assert client.get_run(champion().run_id).data.tags[PARENT] == first

    publish_retraining(storage, tuesday)
    MlflowStore(storage).tell_champion("fashion")
    assert Path(champion().tags["fmnist.model"]).read_bytes() == b"a model"
    assert champion().tags["fmnist.place"] == f"{storage.uri}/{tuesday}"
    rollback(storage, "fashion", command="a test")
    MlflowStore(storage).tell_champion("fashion")
    assert champion().tags["fmnist.place"] == f"{storage.uri}/{monday}"
    assert len(client.search_model_versions(f"name = '{name}'")) == 2

    client.set_registered_model_tag(name, "fmnist.champion_move", "4")  # by a later job
    client.delete_registered_model_alias(name, "champion")
    MlflowStore(storage).tell_champion("fashion")
    with pytest.raises(MlflowException):
        champion()


def test_a_model_in_s3_is_the_source_of_its_version(
    mlflow_settings: str, mlflow_server: str, s3_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TRACKING_URI, mlflow_server)
    storage = open_storage(s3_uri)
    MlflowStore(storage).tell(publish_retraining(storage, publish_run(storage)))
    version = MlflowClient().get_model_version_by_alias(f"{mlflow_settings}-fashion", "champion")
    assert f"{version.source}/model.keras" == version.tags["fmnist.model"]
    assert version.source.startswith(f"{s3_uri}/runs/fashion-cnn-000000000000/")
