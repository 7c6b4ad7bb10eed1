"""Old checkpoints are removed, and damaged ones are passed over."""

import logging

import numpy as np
import pytest

from fmnist.storage.open import open_storage
from fmnist.training.checkpoints import Checkpoints, TrainingState


def save(checkpoints, losses):
    """Saves an epoch for each validation loss."""
    history = []
    for epoch, loss in enumerate(losses, start=1):
        history = [*history, {"epoch": epoch, "val_loss": loss}]
        state = TrainingState(epoch=epoch, precision="float32", history=history)
        checkpoints.save(state, [np.full((2, 3), epoch, np.float32), np.array(epoch)])


@pytest.fixture
def checkpoints(storage_uri):
    return Checkpoints(storage=open_storage(storage_uri), run="runs/one", keep=2)


def kept(checkpoints):
    parts = [key.split("/") for key in checkpoints.storage.keys("runs/one/checkpoints")]
    return sorted({part[3] for part in parts})


def damage(checkpoints, epoch):
    """Truncates the file of the epoch's variables."""
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
    state, variables = checkpoints.newest()
    assert state.epoch == 2 and state.history[1] == {"epoch": 2, "val_loss": 0.4}
    assert np.array_equal(variables[0], np.full((2, 3), 2, np.float32))
    assert variables[0].dtype == np.float32 and variables[1] == 2


def test_of_a_damaged_checkpoint_is_told_and_the_one_before_is_used(checkpoints, caplog):
    save(checkpoints, [0.5, 0.4])
    damage(checkpoints, 2)
    before = checkpoints.storage.keys()
    with caplog.at_level(logging.WARNING):
        state, _ = checkpoints.newest()
    assert state.epoch == 1
    assert "checkpoint 00002 is damaged" in caplog.text
    assert checkpoints.storage.keys() == before  # reading deletes nothing


def test_a_number_that_is_not_finite_is_not_written(checkpoints):
    save(checkpoints, [0.5])
    with pytest.raises(ValueError, match="JSON"):
        save(checkpoints, [float("nan")])
    assert checkpoints.newest()[0].history[0]["val_loss"] == 0.5


def test_damaged_ones_are_not_among_the_newest_that_are_kept(checkpoints):
    save(checkpoints, [0.5, 0.4])
    within = TrainingState(
        epoch=2,
        step=3,
        precision="float32",
        history=[{"epoch": 1, "val_loss": 0.1}, {"epoch": 2, "val_loss": 0.5}],
    )
    checkpoints.save(within, [np.zeros(2)])
    checkpoints.storage.write("runs/one/checkpoints/00002.000003/manifest.json", b"")
    assert checkpoints.newest()[0].epoch == 2
    history = [{"epoch": epoch, "val_loss": 0.1 * epoch} for epoch in (1, 2, 3)]
    state = TrainingState(epoch=3, precision="float32", history=history)
    checkpoints.save(state, [np.zeros(2)])
    assert kept(checkpoints) == ["00001", "00002", "00003"]


def test_where_the_best_is_damaged_it_is_made_again(storage_uri, caplog):
    checkpoints = Checkpoints(storage=open_storage(storage_uri), run="runs/one", keep=4)
    save(checkpoints, [0.5, 0.4, 0.1, 0.3, 0.2])
    assert checkpoints.newest(best=True)[0].epoch == 5
    damage(checkpoints, 3)
    assert checkpoints.newest()[0].epoch == 5
    with caplog.at_level(logging.WARNING):
        assert checkpoints.newest(best=True)[0].epoch == 2
    assert "checkpoint 00003 is damaged" in caplog.text
    assert "checkpoint 00005 is not used: the best epoch before it is lost" in caplog.text


def test_whoever_is_killed_while_it_saves_again_leaves_the_old_one(checkpoints, monkeypatch):
    """The writer is killed just before it writes the new manifest; one checkpoint is kept."""
    one = Checkpoints(storage=checkpoints.storage, run="runs/one", keep=1)
    save(one, [0.5, 0.4])

    def die(self, key, data, *, version):
        raise KeyboardInterrupt

    monkeypatch.setattr(type(one.storage), "replace", die)
    with pytest.raises(KeyboardInterrupt):
        state = TrainingState(epoch=2, precision="float32", history=[{"epoch": 1}, {"epoch": 2}])
        one.save(state, [np.zeros(2)])
    assert one.newest()[0].history[1]["val_loss"] == 0.4


def test_two_that_save_the_same_at_once_never_leave_less_than_one(checkpoints):
    """One writer begins, the other saves and prunes, then the first one ends."""
    storage, real = checkpoints.storage, type(checkpoints.storage).replace
    one = Checkpoints(storage=storage, run="runs/one", keep=1)
    save(one, [0.5])
    done = []

    def replace(self, key, data, *, version):
        if key.endswith("00002/manifest.json") and not done:
            done.append(key)
            save(one, [0.5, 0.3])
            assert one.newest()[0].history[1]["val_loss"] == 0.3
        return real(self, key, data, version=version)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(storage), "replace", replace)
        save(one, [0.5, 0.4])
    assert done and one.newest()[0].history[1]["val_loss"] == 0.4
    assert len(storage.keys()) == 3  # nothing is left of the other one


def test_what_attempts_left_is_removed_when_the_run_is_over(checkpoints):
    save(checkpoints, [0.5, 0.4])
    before = checkpoints.storage.keys()
    checkpoints.storage.write("runs/one/checkpoints/00002/0123abcd/variables.npz", b"half")
    checkpoints.storage.write("runs/one/checkpoints/00002.000007/4567cdef/variables.npz", b"half")
    checkpoints.remove_leftovers()
    assert checkpoints.storage.keys() == before
    assert checkpoints.newest()[0].epoch == 2


def test_a_state_within_an_epoch_is_the_newest_until_the_epoch_ends(checkpoints):
    save(checkpoints, [0.5])
    within = TrainingState(
        epoch=1, step=3, precision="float32", history=[{"epoch": 1, "val_loss": 0.5}]
    )
    checkpoints.save(within, [np.zeros(2)])
    assert checkpoints.newest()[0] == within
    save(checkpoints, [0.5, 0.4, 0.3])
    assert kept(checkpoints) == ["00002", "00003"]


def test_states_are_in_order_whatever_their_numbers_of_digits(checkpoints):
    for step in (999_999, 1_000_000):
        history = [{"epoch": 1, "val_loss": 0.5}]
        state = TrainingState(epoch=1, step=step, precision="float32", history=history)
        checkpoints.save(state, [np.zeros(2)])
    assert checkpoints.newest()[0].step == 1_000_000
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
    assert TrainingState(epoch=3, precision="float32", history=rows).best_epoch == 2
    assert TrainingState(epoch=1, precision="float32", history=[{"epoch": 1}]).best_epoch is None
