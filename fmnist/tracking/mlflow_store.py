"""Tells MLflow of published results. Files stay where they are: MLflow gets their places.

A result is one run of MLflow, found again by a tag with our id. It is FINISHED once all of it was
told; one that is not, since this process was killed, is told again.
"""

import json
import os
import re
import time
from contextlib import suppress
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, Metric, Param, RunTag
from mlflow.exceptions import MlflowException

from fmnist.registry.champion import read_champion
from fmnist.runs.ids import run_folder
from fmnist.runs.published import MODEL
from fmnist.storage.open import Storage
from fmnist.tracking.results import TrackedResult, is_published, read_result

EXPERIMENT = "fmnist"  # unless MLFLOW_EXPERIMENT_NAME says otherwise
CHAMPION = "champion"  # the alias in the registry
PARENT = "mlflow.parentRunId"  # MLflow's own tag
BATCH = 100  # parameters or tags in a request; MLflow takes no more
METRICS_BATCH = 1000
LONGEST = 5000  # characters of a parameter or tag
LONGEST_DIGEST = 36


class MlflowStore:
    """The experiment of MLflow that results of one storage are told to."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._client = MlflowClient()
        self._experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
        self._experiment_id = self._find_experiment()

    def tell(self, folder: str, *, parent: str | None = None) -> str:
        """Tells the result in that folder of the storage unless it is told; returns MLflow's id.

        The runs that belong to it become its children. A run that has another parent keeps it.
        """
        return self._tell(read_result(self._storage, folder), parent)

    def _tell(self, result: TrackedResult, parent: str | None) -> str:
        run = self._find(result) or self._begin(result)
        told: str = run.info.run_id
        if parent and PARENT not in run.data.tags:
            self._client.set_tag(told, PARENT, parent)
        if run.info.status != "FINISHED":
            self._log(told, result, start=run.info.start_time)
            for child in result.runs:
                if is_published(self._storage, child):
                    self.tell(run_folder(child), parent=told)
            for stopped in result.stopped:
                self._tell(stopped, told)
            self._client.set_terminated(told, status="FINISHED")
        if result.kind == "retraining":
            self.tell_champion(result.task)
        return told

    def tell_champion(self, task: str) -> None:
        """Gives the alias `champion` to the version of the task's champion, as it is now.

        It does not go back behind a later move of the champion that another job has told.
        """
        champion = read_champion(self._storage, task)
        if champion is None:
            return
        # MLflow refuses these characters in the name of a model, but not of an experiment.
        name = f"{re.sub('[/:]', '-', self._experiment)}-{task}"
        with suppress(MlflowException):  # it is there
            self._client.create_registered_model(name)
        where, move = "fmnist.storage", "fmnist.champion_move"
        tags = self._client.get_registered_model(name).tags
        if tags.get(where) == self._storage.uri and int(tags.get(move, 0)) >= champion.counter:
            return
        version = self._version(name, champion.run)
        self._client.set_registered_model_alias(name, CHAMPION, version)
        self._client.set_registered_model_tag(name, where, self._storage.uri)
        self._client.set_registered_model_tag(name, move, str(champion.counter))

    def _find_experiment(self) -> str:
        found = self._client.get_experiment_by_name(self._experiment)
        if found is None:
            try:
                return str(self._client.create_experiment(self._experiment))
            except MlflowException:
                found = self._client.get_experiment_by_name(self._experiment)
                if found is None:  # else another job has made it meanwhile
                    raise
        return str(found.experiment_id)

    def _find(self, result: TrackedResult) -> Any | None:
        """Returns MLflow's run of this result: a finished one before one that was not told whole.

        The same result in another storage is another one.
        """
        found = self._client.search_runs(
            [self._experiment_id],
            f"tags.`fmnist.id` = '{result.id}'",
            order_by=["attributes.start_time ASC"],
        )
        same = [run for run in found if run.data.tags.get("fmnist.place") == result.place]
        return min(same, key=lambda run: run.info.status != "FINISHED", default=None)

    def _begin(self, result: TrackedResult) -> Any:
        names = {"fmnist.id": result.id, "fmnist.place": result.place, "fmnist.kind": result.kind}
        start = int(1000 * (time.time() - result.seconds))
        return self._client.create_run(
            self._experiment_id, start_time=start, tags=names, run_name=result.id
        )

    def _log(self, told: str, result: TrackedResult, *, start: int) -> None:
        """Logs everything; what is logged again is the same, with the same times."""
        params = [Param(name, str(value)[:LONGEST]) for name, value in result.params.items()]
        tags = [RunTag(name, value[:LONGEST]) for name, value in _tags(result).items()]
        for first in range(0, max(len(params), len(tags)), BATCH):
            batch = slice(first, first + BATCH)
            self._client.log_batch(told, params=params[batch], tags=tags[batch])
        metrics = _metrics(result, start)
        for first in range(0, len(metrics), METRICS_BATCH):
            self._client.log_batch(told, metrics=metrics[first : first + METRICS_BATCH])
        if result.dataset:
            self._client.log_inputs(told, datasets=[DatasetInput(_dataset(result))])

    def _version(self, name: str, run: str) -> str:
        """Returns the version of a registered model that is this run; makes it if necessary."""
        result = read_result(self._storage, run_folder(run))
        for version in self._client.search_model_versions(f"name = '{name}'"):
            if version.tags.get("fmnist.place") == result.place:
                return str(version.version)
        told = self.tell(run_folder(run))
        model = result.files[MODEL]
        # A server takes no path on a disk but those of its own artefacts.
        source = model.rpartition("/")[0] if "://" in model else f"runs:/{told}/model"
        made = self._client.create_model_version(
            name,
            source,
            run_id=told,
            tags={"fmnist.place": result.place, "fmnist.model": model},
            await_creation_for=0,
        )
        return str(made.version)


def _tags(result: TrackedResult) -> dict[str, str]:
    facts = {"task": result.task, "command": result.command, **result.facts}
    return {
        **{f"fmnist.{name}": value for name, value in facts.items()},
        **{f"fmnist.file.{name}": place for name, place in result.files.items()},
    }


def _metrics(result: TrackedResult, start: int) -> list[Metric]:
    """Returns each epoch's numbers, at the time when it ended, and the final scores."""
    metrics, seconds, last = [], 0.0, 0
    for row in result.history:
        seconds, last = seconds + row["seconds"], row["epoch"]
        at = start + int(1000 * seconds)
        values: dict[str, Any] = {name: value for name, value in row.items() if name != "epoch"}
        metrics += [Metric(name, float(value), at, last) for name, value in values.items()]
    end = start + int(1000 * seconds)
    return metrics + [Metric(name, value, end, last) for name, value in result.scores.items()]


def _dataset(result: TrackedResult) -> Dataset:
    source, fingerprint = str(result.dataset["source"]), str(result.dataset["fingerprint"])
    return Dataset(
        name=result.task,
        digest=fingerprint[:LONGEST_DIGEST],
        source_type="fmnist",
        source=json.dumps({"uri": source, "fingerprint": fingerprint}, allow_nan=False),
    )
