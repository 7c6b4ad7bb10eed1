"""The torturer's checks find what they are for."""

from pathlib import Path

from fmnist.registry.champion import promote
from fmnist.storage.open import open_storage
from tests.chaos.checks import leftovers, untold
from tests.support.registries import publish_empty

TOLD = "promoted: There was no champion.\n  champion  a (move {})\n  scored    60 images\n"


def test_a_move_that_was_told_and_is_not_there(tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path))
    publish_empty(storage, "a")
    promote(storage, "shapes", "a", expected=None, command="a test")
    assert untold(storage, [TOLD.format(1), "error: the disk is full"]) == []
    (problem,) = untold(storage, [TOLD.format(1), TOLD.format(2)])
    assert problem.endswith("('a', '2') was told, and is not there")
    (problem,) = untold(storage, ["promoted: There was no champion.\n"])
    assert problem.endswith("a promotion was told without the champion's move")


def test_files_that_no_manifest_explains_or_that_are_not_as_it_says(tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path))
    publish_empty(storage, "a")
    assert leftovers(storage) == []
    keys = storage.keys()
    (key,) = [key for key in keys if key.endswith("/file")]
    storage.write(key, b"x")
    storage.write("runs/b/half", b"")
    assert leftovers(storage) == [
        f"{key}: is not what its manifest says",
        "runs/b/half: nothing refers to it",
    ]
    storage.delete(key)
    assert f"{key}: is missing" in leftovers(storage)
