"""Finds the memory that a process may use, inside and outside of a container."""

from pathlib import Path

import pytest

from fmnist import machine
from fmnist.data import dataset
from fmnist.errors import UserError
from fmnist.training.splits import put_splits
from tests.support import samples

NO_LIMIT_V1 = 9223372036854771712
V2 = {"pods/memory.max": "max\n", "pods/one/memory.max": "max\n", "memory.max": "4096\n"}


@pytest.mark.parametrize(
    ("groups", "limits", "expected"),
    [
        ("0::/pods/one", V2, 4096),
        ("0::/pods/one", V2 | {"pods/memory.max": "2048\n"}, 2048),
        ("0::/pods/one", V2 | {"pods/one/memory.max": "1024\n"}, 1024),
        ("0::/", V2, 4096),
        ("4:memory:/one\n3:cpuset:/\n0::/", {"memory/one/memory.limit_in_bytes": "512\n"}, 512),
        ("4:memory:/elsewhere", {"memory/memory.limit_in_bytes": "256"}, 256),
        ("4:cpu,memory:/", {"memory/memory.limit_in_bytes": "128"}, 128),
        ("4:memory:/", {"memory/memory.limit_in_bytes": f"{NO_LIMIT_V1}"}, None),
        ("0::/", {}, None),
    ],
)
def test_memory_is_the_least_of_the_machines_and_of_all_groups(
    groups: str,
    limits: dict[str, str],
    expected: int | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own, root = tmp_path / "own", tmp_path / "cgroup"
    monkeypatch.setattr(machine, "OWN_CGROUPS", own)
    monkeypatch.setattr(machine, "CGROUPS", root)
    unlimited = machine.memory()
    own.write_text(groups + "\n")
    for path, text in limits.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    assert machine.memory() == expected if expected else machine.memory() == unlimited


def test_a_data_set_that_fits_only_once_is_not_trained_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """The data are in memory up to three times: loaded, split, and in the object store."""
    data = samples.dataset(train=40, test=15)
    assert data.train and data.test
    once = data.train.images.nbytes + data.test.images.nbytes
    monkeypatch.setattr(dataset, "memory", lambda: 2 * once)
    with pytest.raises(
        UserError, match=r"samples: .* would take 105,120 bytes, more than the 79,200"
    ):
        put_splits(data, 0.1)
