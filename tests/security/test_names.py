"""Names and links do not lead out of a storage, and temporary files are private."""

import json
import os
import stat
import tempfile
from pathlib import Path
from typing import Any

import pytest

from fmnist.data import official
from fmnist.errors import UserError
from fmnist.runs.published import open_model
from fmnist.storage.manifest import read_manifest
from fmnist.storage.open import Storage, check_key, open_storage
from fmnist.tasks import find_task
from jobs.support.runs import locate_run
from tests.support.models import dense, publish_run
from tests.support.paths import ROOT
from tests.support.samples import SHAPES

OUTSIDE = (
    "../x", "..", "a/../../x", "/etc/x", "a//b", "./a", "", "a/", "a\\..\\x", "a\0b", "a\nb",
    "a\u202eb", "a\u2028b", "\udcff", ".fmnist-lock", "a/.fmnist-x/b",
)  # fmt: skip
ODD = ("%2e%2e/x", "..%2fx", "\uff0e\uff0e/x", "\u2024\u2024/x", "...", "..x/a", "~root/x", "C:/x")


@pytest.mark.parametrize("name", OUTSIDE)
def test_names_that_would_lead_elsewhere_are_refused_everywhere(
    storage: Storage, tmp_path: Path, name: str
) -> None:
    with pytest.raises(UserError):
        check_key(name)
    entry = {"path": "a", "size": 1, "sha256": "0" * 64}
    fields: dict[str, Any] = {"kind": "run", "id": "1", "files": {}, "details": {}}
    for change in (
        {"id": name},
        {"files": {name: entry}},
        {"files": {"a": entry | {"path": name}}},
    ):
        storage.write("runs/1/manifest.json", json.dumps(fields | change).encode())
        with pytest.raises(UserError):
            read_manifest(storage, "runs/1")
    with pytest.raises(UserError):  # as --run
        models, folder = locate_run(storage, name)
        open_model(models, folder, SHAPES)
    (tmp_path / "x.toml").write_text(
        f"name = {json.dumps(name)}\nclasses = ['a', 'b']\nheight = 1\nwidth = 1\nchannels = 1",
        errors="replace",
    )
    with pytest.raises(UserError, match=r"name is|x\.toml"):
        find_task(str(tmp_path / "x.toml"))


@pytest.mark.parametrize("name", ODD)
def test_odd_names_are_only_names(storage_uri: str, tmp_path: Path, name: str) -> None:
    storage = open_storage(storage_uri)
    storage.write(name, b"content")
    assert storage.keys() == [name]
    assert storage.read(name) == b"content"
    storage.delete(name)
    assert {path.name for path in tmp_path.iterdir()} <= {"results"}


def test_a_link_does_not_lead_out_of_a_folder(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    (tmp_path / "real").mkdir()
    (tmp_path / "root").symlink_to("real")
    storage = open_storage(str(tmp_path / "root"))  # a link as the root itself is fine
    storage.write("inside/a", b"a")
    (tmp_path / "real" / "link").symlink_to(outside)
    (tmp_path / "real" / "file").symlink_to(outside / "secret")
    (tmp_path / "real" / "within").symlink_to("inside")
    (tmp_path / "real" / "loop").symlink_to("loop")
    assert storage.read("within/a") == b"a"
    uses: list[Any] = [storage.read, storage.delete, storage.arrow, storage.keys]
    uses += [lambda key: storage.write(key, b"x"), lambda key: storage.create(key, b"x")]
    for key in ("link/secret", "link", "file"):
        for use in uses:
            with pytest.raises(UserError, match="by a symbolic link"):
                use(key)
    with pytest.raises(UserError, match="cannot read"):
        storage.read("loop")
    assert (outside / "secret").read_text() == "secret"
    found = storage.keys()
    assert "link/secret" not in found


def test_temporary_files_and_the_cache_are_their_owners_alone(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders: list[Path] = []
    make = tempfile.mkdtemp

    def watched(*arguments: Any, **named: Any) -> str:
        folders.append(Path(make(*arguments, **named)))
        assert stat.S_IMODE(folders[-1].stat().st_mode) == 0o700
        return str(folders[-1])

    monkeypatch.setattr(tempfile, "mkdtemp", watched)
    mask = os.umask(0)
    try:
        prefix = publish_run(storage, tmp_path / "model", dense(SHAPES), SHAPES)
        open_model(storage, prefix, SHAPES)
        cache = tmp_path / "deep" / "cache"
        official.store_in_cache({"file": bytearray(b"data")}, cache)
    finally:
        os.umask(mask)
    assert len(folders) >= 2 and not any(folder.exists() for folder in folders)
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700
    assert (cache / "file").read_bytes() == b"data"


def test_files_are_made_temporary_by_tempfile_alone() -> None:
    """No file has a fixed name in a folder that all users share."""
    for path in [*(ROOT / "fmnist").rglob("*.py"), *(ROOT / "jobs").rglob("*.py")]:
        # atomic.temporary_folder names the folder in which tempfile then makes a private one.
        text = path.read_text().replace('os.environ.get("TMPDIR", "/tmp")', "")
        assert "/tmp" not in text and "gettempdir" not in text and "mktemp(" not in text, path
