"""How many images a step of validation has."""

from dataclasses import replace

import pytest

from fmnist.models.tensorflow import import_tensorflow
from fmnist.run_settings import Training
from fmnist.tasks import FASHION


@pytest.mark.parametrize(
    ("shape", "batch", "expected"),
    [
        ((28, 28, 1), 256, 1000),
        ((28, 28, 1), 4096, 1000),
        ((224, 224, 3), 16, 16),
        ((224, 224, 3), 1, 6),
        ((1024, 1024, 16), 1, 1),
    ],
)
def test_large_images_take_steps_of_fewer(
    shape: tuple[int, int, int], batch: int, expected: int
) -> None:
    import_tensorflow()
    from fmnist.training.worker.input_data import evaluation_batch

    task = replace(FASHION, shape=shape)
    assert evaluation_batch(task, Training(batch=batch)) == expected
