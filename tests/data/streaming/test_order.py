"""The order of a streamed epoch: every example once, and what it follows from."""

import numpy as np
import pytest

from fmnist.data.streaming.order import WINDOW, epoch_batches, window_examples

BATCH = 16
SIZES = {
    "one shard": [50],
    "one window": [30, 31, 7, 0, 12],
    "many windows": [9] * (3 * WINDOW) + [4],
    "sizes that differ": [1, 100, 3, 0, 40, 2, 2, 90] * 5,
}


def order(sizes: list[int], **changes: int) -> list[np.ndarray]:
    settings = {"batch": BATCH, "seed": 3, "epoch": 1} | changes
    return list(epoch_batches(np.array(sizes), **settings))


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_an_epoch_is_a_permutation_in_whole_batches(sizes: list[int]) -> None:
    found = order(sizes)
    assert sorted(np.concatenate(found)) == list(range(sum(sizes)))
    assert [len(each) for each in found[:-1]] == [BATCH] * (len(found) - 1)


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_it_goes_on_at_any_step_as_if_it_had_never_stopped(sizes: list[int]) -> None:
    whole = order(sizes)
    for step in range(len(whole) + 1):
        rest = order(sizes, first_step=step)
        assert len(rest) == len(whole) - step
        assert all((a == b).all() for a, b in zip(rest, whole[step:], strict=True))


def test_seed_and_epoch_decide() -> None:
    sizes = SIZES["many windows"]
    one = np.concatenate(order(sizes))
    assert (one == np.concatenate(order(sizes))).all()
    assert (one != np.concatenate(order(sizes, epoch=2))).any()
    assert (one != np.concatenate(order(sizes, seed=4))).any()


def test_a_window_is_mixed_and_no_more_than_it_is_read_at_once() -> None:
    sizes = SIZES["many windows"]
    shards = [set(positions // 9) for positions in order(sizes)]
    in_use = [shards[step] | shards[step + 1] for step in range(len(shards) - 1)]
    assert max(map(len, in_use)) <= 2 * WINDOW
    assert np.mean([len(each) for each in shards]) > BATCH / 2  # not one shard after the other
    first = set().union(*shards[: window_examples(np.array(sizes)) // BATCH])
    assert len(first) <= 2 * WINDOW


def test_each_rank_needs_its_part_of_the_shards() -> None:
    """Two ranks that halve each batch share the shards of a window, but for those at the border."""
    sizes = [64] * WINDOW
    halves: list[set[int]] = [set(), set()]
    for positions in order(sizes, batch=128):
        for rank, half in enumerate(np.split(positions, 2)):
            halves[rank] |= set(half // 64)
    assert len(halves[0] & halves[1]) <= 2
    assert len(halves[0] | halves[1]) == WINDOW
