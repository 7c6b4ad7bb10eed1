"""Runs are stopped early at the right epoch, by hand-made losses."""

from types import SimpleNamespace
from typing import Any

import pytest

from fmnist.errors import UserError
from fmnist.storage.open import open_storage
from fmnist.training.controller import _fit_with_lease
from fmnist.training.early_stopping import EarlyStopper
from fmnist.training.spec import RunResult
from fmnist.training.stopped_runs import read_stopped, write_stopped


def losses(*values):
    return [{"epoch": epoch, "val_loss": loss} for epoch, loss in enumerate(values, start=1)]


def judged(early_stopper, run, *values):
    """Returns the epoch after which the run is stopped, or None."""
    for row in losses(*values):
        if early_stopper.should_stop(run, row):
            return row["epoch"]
    return None


def test_the_first_run_goes_to_its_end_and_a_worse_one_is_stopped_at_the_first_rung():
    early_stopper = EarlyStopper(8, {})
    assert judged(early_stopper, "good", *[0.5] * 8) is None
    assert judged(early_stopper, "bad", *[0.9] * 8) == 1
    assert judged(early_stopper, "better", *[0.4] * 8) is None


def test_the_rungs_are_at_a_sixteenth_and_a_quarter_of_the_epochs():
    early_stopper = EarlyStopper(32, {})
    judged(early_stopper, "good", *[0.5] * 32)
    assert judged(early_stopper, "bad", *[0.9] * 32) == 2
    assert judged(early_stopper, "turned bad", 0.4, *[0.9] * 31) == 2
    assert judged(early_stopper, "late", *[0.4] * 4, *[0.9] * 28) == 8


def test_what_ended_before_is_known():
    early_stopper = EarlyStopper(8, {"good": losses(*[0.5] * 8)})
    assert judged(early_stopper, "bad", *[0.9] * 8) == 1


def test_the_last_epoch_is_never_too_bad():
    early_stopper = EarlyStopper(1, {"good": losses(0.1)})
    assert judged(early_stopper, "bad", 0.9) is None


@pytest.mark.parametrize("history", [[], [1], [{"epoch": 1}], [dict.fromkeys("abc", 1)]])
def test_what_is_noted_of_a_stopped_run_is_checked(tmp_path, history):
    storage = open_storage(str(tmp_path))
    row = dict.fromkeys(("epoch", "loss", "accuracy", "val_loss", "val_accuracy", "seconds"), 1)
    sound = {"history": [row], "parameters": 7, "layers": 2}
    write_stopped(storage, "runs/one", sound)
    assert read_stopped(storage, ["runs/one", "runs/two"]) == {"runs/one": sound}
    write_stopped(storage, "runs/one", sound | {"history": history})
    with pytest.raises(UserError, match=r"stopped\.json: its history .* numbers: accuracy, epoch"):
        read_stopped(storage, ["runs/one"])


def test_a_run_that_another_job_has_stopped_is_not_trained_on(tmp_path):
    """Its stopper may know no other runs, and would let it go to its end."""
    storage = open_storage(str(tmp_path))
    row = dict.fromkeys(("epoch", "loss", "accuracy", "val_loss", "val_accuracy", "seconds"), 1)
    write_stopped(storage, "runs/r", {"history": [row], "parameters": 1, "layers": 1})
    spec: Any = SimpleNamespace(storage=storage, folder="runs/r")
    context: Any = SimpleNamespace(early_stopper=EarlyStopper(8, {}))
    lease: Any = SimpleNamespace(check=lambda: None)
    assert _fit_with_lease(spec, context, lease) == RunResult()
