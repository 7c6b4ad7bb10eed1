"""Several ranks together compute the same as one process alone.

They train with plain SGD, whose steps are as large as the gradients: with Adam, a gradient that is
off by a factor would go unnoticed, and rounding in gradients near zero would be blown up.
"""

import json
import socket
import subprocess
import sys

import numpy as np
import pytest

from tests.support.models import separable

# At twice these rates, rounding grows a thousandfold.
PLAIN = {"optimizer": "sgd", "learning_rate": 0.01}
# Batch normalization, and what else changes a step.
NORMALIZED = {
    "architecture": "convnet-small",
    "optimizer": "sgd",
    "learning_rate": 0.001,
    "weight_decay": 0.1,
    "label_smoothing": 0.2,
    "average_weights": 0.9,
}
# A network of the user's own, which may have any layers, with another kind of optimizer.
OWN = NORMALIZED | {"architecture": separable().name, "optimizer": "muon"}
TRAININGS = {"plain": PLAIN, "normalized": NORMALIZED, "own": OWN}
STEPS, BATCH, TEST = 50, 64, 131  # 64 and 131 divide neither by 3 nor, 131, by 2
WORLDS = (1, 2, 3)


def free_addresses(count):
    """Returns addresses of ports that are free now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    addresses = [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    for each in sockets:
        each.close()
    return addresses


def run(world, data):
    """Trains with `world` ranks; returns what each saw, for each of TRAININGS."""
    job = {
        "data": data,
        "addresses": free_addresses(world),
        "trainings": list(TRAININGS.values()),
        "steps": STEPS,
        "batch": BATCH,
    }
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.support.rank", json.dumps({**job, "rank": rank})],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(world)
    ]
    outputs = [process.communicate() for process in processes]
    for process, (_, errors) in zip(processes, outputs, strict=True):
        assert process.returncode == 0, errors[-3000:]
    ranks = [json.loads(out.splitlines()[-1]) for out, _ in outputs]
    return dict(zip(TRAININGS, zip(*ranks, strict=True), strict=True))


@pytest.fixture(scope="module")
def outputs(fashion, tmp_path_factory):
    """Trains with the same few real images and each number of ranks."""
    file = str(tmp_path_factory.mktemp("ranks") / "images.npz")
    parts = {"train": fashion.train, "test": fashion.test}
    counts = {"train": STEPS * BATCH, "test": TEST}
    taken = {name: part.take(np.arange(counts[name])) for name, part in parts.items()}
    np.savez(
        file,
        **{f"{name}_images": part.images for name, part in taken.items()},
        **{f"{name}_labels": part.labels for name, part in taken.items()},
    )
    return {world: run(world, file) for world in WORLDS}


@pytest.fixture(params=TRAININGS)
def seen(request, outputs):
    """What all ranks saw, by their number."""
    return {world: outputs[world][request.param] for world in WORLDS}


@pytest.mark.parametrize("world", WORLDS[1:])
def test_losses_are_those_of_one_process(seen, world):
    assert len(seen[1][0]["losses"]) == STEPS
    assert seen[world][0]["losses"] == pytest.approx(seen[1][0]["losses"], rel=1e-4)


def test_the_loss_goes_down(seen):
    losses = seen[1][0]["losses"]
    assert sum(losses[-5:]) < 0.98 * sum(losses[:5])


def test_batches_are_made_before_they_are_needed(seen):
    assert seen[1][0]["made_ahead"] >= 2


@pytest.mark.parametrize("world", WORLDS[1:])
def test_all_ranks_see_the_same_loss_and_end_with_the_same_weights(seen, world):
    for rank in seen[world][1:]:
        assert rank["losses"] == seen[world][0]["losses"]
        assert rank["weights"] == seen[world][0]["weights"]


@pytest.mark.parametrize("world", WORLDS[1:])
def test_an_evaluation_that_does_not_divide_equals_that_of_one_process(seen, world):
    for rank in seen[world]:
        assert rank["evaluation"] == pytest.approx(seen[1][0]["evaluation"], abs=1e-6)


@pytest.mark.parametrize("world", WORLDS[1:])
def test_trained_weights_and_their_averages_are_those_of_one_process(seen, world):
    """An evaluation normalizes by the moving statistics, which only training moves."""
    for part in ("trained", "averaged"):
        for rank in seen[world]:
            assert rank[part]["loss"] == pytest.approx(seen[1][0][part]["loss"], rel=1e-3)


def test_one_process_counts_every_example_once(seen):
    """With 131 examples, only a count of all gives a multiple of 1/131."""
    correct = seen[1][0]["evaluation"]["accuracy"] * TEST
    assert correct == pytest.approx(round(correct), abs=1e-4)


@pytest.mark.parametrize("world", WORLDS)
def test_gather_brings_the_rows_of_all_ranks_in_order(seen, world):
    expected = [float(rank) for rank in range(world) for _ in range(3 + rank)]
    assert all(rank["gathered"] == expected for rank in seen[world])
