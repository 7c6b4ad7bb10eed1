"""What is kept, and what a damaged checkpoint leads to."""

import logging

import numpy as np
import pytest

from fmnist.checkpoints import Checkpoints, Progress
from fmnist.storage import open_storage


def save(checkpoints, losses):
    """Saves an epoch for each validation loss."""
    history = []
    for epoch, loss in enumerate(losses, start=1):
        history = [*history, {"epoch": epoch, "val_loss": loss}]
        progress = Progress(epoch=epoch, precision="float32", history=history)
        checkpoints.save(progress, [np.full((2, 3), epoch, np.float32), np.array(epoch)])


@pytest.fixture
def checkpoints(storage_uri):
    return Checkpoints(storage=open_storage(storage_uri), run="runs/one", keep=2)


def kept(checkpoints):
    parts = [key.split("/") for key in checkpoints.storage.keys("runs/one/checkpoints")]
    return sorted({part[3] for part in parts})


def damage(checkpoints, epoch):
    """Cuts the epoch's variables short."""
    (key,) = [
        key
        for key in checkpoints.storage.keys(f"runs/one/checkpoints/{epoch:05d}")
        if key.endswith(".npz")
    ]
    checkpoints.storage.write(key, checkpoints.storage.read(key)[:-10])


def test_the_newest_and_the_best_are_kept(checkpoints):
    save(checkpoints, [0.5, 0.1, 0.3, 0.2, 0.4])
    assert kept(checkpoints) == ["00002", "00004", "00005"]


def test_the_newest_is_loaded_with_every_bit(checkpoints):
    save(checkpoints, [0.5, 0.4])
    progress, variables = checkpoints.newest()
    assert progress.epoch == 2 and progress.history[1] == {"epoch": 2, "val_loss": 0.4}
    assert np.array_equal(variables[0], np.full((2, 3), 2, np.float32))
    assert variables[0].dtype == np.float32 and variables[1] == 2


def test_of_a_damaged_checkpoint_is_told_and_the_one_before_is_used(checkpoints, caplog):
    save(checkpoints, [0.5, 0.4])
    damage(checkpoints, 2)
    with caplog.at_level(logging.WARNING):
        progress, _ = checkpoints.newest()
    assert progress.epoch == 1
    assert "checkpoint 00002 is damaged" in caplog.text


def test_a_state_within_an_epoch_is_the_newest_until_the_epoch_ends(checkpoints):
    save(checkpoints, [0.5])
    within = Progress(epoch=1, step=3, precision="float32", history=[{"epoch": 1, "val_loss": 0.5}])
    checkpoints.save(within, [np.zeros(2)])
    assert checkpoints.newest()[0] == within
    save(checkpoints, [0.5, 0.4, 0.3])
    assert kept(checkpoints) == ["00002", "00003"]


def test_without_a_sound_checkpoint_there_is_none(checkpoints):
    assert checkpoints.newest() is None
    save(checkpoints, [0.5])
    damage(checkpoints, 1)
    assert checkpoints.newest() is None


def test_an_epoch_saved_again_replaces_what_was_there(checkpoints):
    save(checkpoints, [0.5, 0.4])
    save(checkpoints, [0.3, 0.2])
    assert checkpoints.newest()[0].history[1]["val_loss"] == 0.2


def test_the_best_epoch_is_the_first_of_equals_and_none_without_validation():
    rows = [{"epoch": e, "val_loss": loss} for e, loss in [(1, 0.3), (2, 0.2), (3, 0.2)]]
    assert Progress(epoch=3, precision="float32", history=rows).best_epoch == 2
    assert Progress(epoch=1, precision="float32", history=[{"epoch": 1}]).best_epoch is None
