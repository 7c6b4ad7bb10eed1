"""Plans of retrainings that are refused."""

from dataclasses import replace

import pytest

from fmnist.errors import UserError
from fmnist.registry.champion import promote
from fmnist.retraining.plan import make_plan
from fmnist.storage.open import open_storage
from tests.support.challengers import RECIPE, readable
from tests.support.samples import SHAPES
from tests.support.scored_runs import publish_scored


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"classes": ("cat", "dog", "cow", "hen")}, r"classes is \['circle', .*'cat', 'dog'"),
        ({"shape": (20, 12, 3)}, r"shape is \[12, 20, 3\], expected \[20, 12, 3\]"),
    ],
)
def test_another_task_of_the_same_name_is_refused(
    storage_uri: str, other: dict[str, tuple[object, ...]], message: str
) -> None:
    storage = open_storage(storage_uri)
    run = publish_scored(storage, RECIPE, accuracy=0.5)
    promote(storage, SHAPES.name, run, expected=None, command="a test")
    data = readable(1)
    assert make_plan(data, RECIPE, storage).no_training is None
    data = replace(data, task=replace(SHAPES, **other))
    with pytest.raises(
        UserError, match=f"'shapes' can't be compared: .*{run}: the model's {message}"
    ):
        make_plan(data, RECIPE, storage)
