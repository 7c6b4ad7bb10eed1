"""The peak beside which a run's speed is set."""

import tensorflow as tf

from fmnist.models.architectures import flops
from fmnist.tasks import FASHION
from fmnist.training.worker import matrix_peak
from tests.support.models import dense


def test_a_peak_is_in_operations_a_second() -> None:
    peak = matrix_peak.matrix_peak(tf.float32, size=256, rounds=3, each=2)
    assert 1e7 < peak < 1e15


def test_images_at_peak_are_those_of_all_workers(monkeypatch) -> None:
    """The device does 10**13 operations a second, for which small matrices are too quick."""
    sizes: list[int] = []

    def fake_peak(dtype, *, size, rounds, each):
        sizes.append(size)
        return 1e13

    monkeypatch.setattr(matrix_peak, "matrix_peak", fake_peak)
    model = dense(FASHION)
    assert matrix_peak.images_at_peak(model, "bfloat16", 3) == 3e13 / flops(model)
    assert sizes == [1024, 2048, 4096]
