"""Manifests appear whole or not at all, the first one stays, and fetched files are verified."""

import hashlib
import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from fmnist.errors import StorageError, UserError
from fmnist.storage.manifest import (
    Manifest,
    content_id,
    fetch,
    publish,
    publish_keys,
    read_manifest,
    versions,
)
from fmnist.storage.open import Storage, open_storage

CONTENTS = {"model.keras": b"weights" * 1000, "plots/loss é.svg": b"<svg/>", "empty": b""}
ZERO = "0" * 64


@pytest.fixture
def storage(storage_uri: str) -> Storage:
    return open_storage(storage_uri)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make(tmp_path / "made", CONTENTS)


def make(folder: Path, contents: dict[str, bytes]) -> Path:
    for name, data in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def publish_run(storage: Storage, folder: Path, **details: Any) -> Manifest:
    return publish(storage, "runs/1", folder, kind="run", id="1", details=details)


def test_what_is_published_is_found_and_fetched(
    storage: Storage, folder: Path, tmp_path: Path
) -> None:
    published = publish_run(storage, folder, scores={"accuracy": 0.92}, epochs=[1, 2])
    manifest = read_manifest(storage, "runs/1")
    assert manifest == published
    assert (manifest.kind, manifest.id) == ("run", "1")
    assert manifest.details == {"scores": {"accuracy": 0.92}, "epochs": [1, 2]}
    assert manifest.files.keys() == CONTENTS.keys()
    for name, data in CONTENTS.items():
        assert manifest.files[name].size == len(data)
        assert manifest.files[name].sha256 == hashlib.sha256(data).hexdigest()
        target = tmp_path / "fetched" / name
        assert fetch(storage, "runs/1", manifest, name, target) == target
        assert target.read_bytes() == data


def test_what_is_not_published(storage: Storage) -> None:
    assert read_manifest(storage, "runs/1") is None


def test_the_first_to_publish_an_id_stays(storage: Storage, folder: Path, tmp_path: Path) -> None:
    first = publish_run(storage, folder, number=1)
    keys = storage.keys()
    other = make(tmp_path / "other", {"model.keras": b"other", "more": b""})
    assert publish_run(storage, other, number=2) == first
    assert storage.keys() == keys


def test_many_publish_one_id_at_once(storage: Storage, tmp_path: Path) -> None:
    barrier = threading.Barrier(4)
    upload = type(storage).upload

    def publish_number(number: int) -> Manifest:
        made = make(tmp_path / str(number), {"a": b"a%d" % number, "b": b"b%d" % number})
        return publish_run(storage, made, number=number)

    def upload_together(self: Storage, source: Path, key: str) -> Any:
        if source.name == "a":
            barrier.wait()  # no manifest exists when the last one begins
        return upload(self, source, key)

    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(4) as pool:
        patch.setattr(type(storage), "upload", upload_together)
        published = list(pool.map(publish_number, range(4)))
    number = published[0].details["number"]
    assert all(manifest == published[0] for manifest in published)
    for name in ("a", "b"):
        fetch(storage, "runs/1", published[0], name, tmp_path / "fetched")
        assert (tmp_path / "fetched").read_text() == f"{name}{number}"
    assert len(storage.keys()) == 3  # what the others uploaded is gone


@pytest.mark.parametrize("failing", ["upload", "create"])
def test_a_failure_in_the_middle_leaves_no_manifest(
    storage: Storage, folder: Path, failing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    works = getattr(type(storage), failing)
    calls: list[int] = []

    def fail(*arguments: Any) -> Any:
        calls.append(1)
        if failing == "create" or len(calls) == 2:
            raise UserError("the disk is full")
        return works(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(type(storage), failing, fail)
        with pytest.raises(UserError, match="the disk is full"):
            publish_run(storage, folder)
    assert read_manifest(storage, "runs/1") is None
    if failing == "upload":
        assert storage.keys() == []
    publish_run(storage, folder)
    assert read_manifest(storage, "runs/1") is not None


def test_who_finds_its_files_tidied_away_since_another_was_first_returns_that_one(
    storage: Storage, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    others: list[Manifest] = []

    def be_overtaken(*_: object) -> None:
        monkeypatch.undo()
        others.append(publish_run(storage, folder, by="another"))
        raise StorageError("cannot write: No such file or directory")

    monkeypatch.setattr(type(storage), "_upload_from", be_overtaken)
    assert [publish_run(storage, folder)] == others


def test_the_manifest_is_written_last(
    storage: Storage, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = type(storage).create
    seen: list[int] = []

    def watch(self: Storage, key: str, data: bytes) -> bool:
        assert self.read_version("runs/1/manifest.json") is None
        seen.append(len(self.keys("runs/1")))
        return create(self, key, data)

    monkeypatch.setattr(type(storage), "create", watch)
    publish_run(storage, folder)
    assert seen == [len(CONTENTS)]


def test_details_that_are_no_json_are_found_before_anything_is_uploaded(
    storage: Storage, folder: Path
) -> None:
    with pytest.raises(ValueError, match="JSON"):
        publish_run(storage, folder, loss=float("nan"))
    assert storage.keys() == []


def test_files_in_place_are_published_as_they_are(storage: Storage, tmp_path: Path) -> None:
    for name, data in CONTENTS.items():
        storage.write(f"predictions/1/{name}", data)
    arguments: dict[str, Any] = {"kind": "predictions", "id": "1", "details": {}}
    manifest = publish_keys(storage, "predictions/1", reversed(CONTENTS), **arguments)
    assert manifest == read_manifest(storage, "predictions/1")
    for name, data in CONTENTS.items():
        assert manifest.files[name].path == name
        fetch(storage, "predictions/1", manifest, name, tmp_path / "fetched")
        assert (tmp_path / "fetched").read_bytes() == data
    assert publish_keys(storage, "predictions/1", [], **arguments) == manifest


@pytest.mark.parametrize("found", [b"", b"weights", CONTENTS["model.keras"] + b"!"])
def test_another_content_is_refused(
    storage: Storage, folder: Path, tmp_path: Path, found: bytes
) -> None:
    manifest = publish_run(storage, folder)
    entry = manifest.files["model.keras"]
    storage.write(f"runs/1/{entry.path}", found)
    target = tmp_path / "target" / "model.keras"
    message = f"model.keras: found {len(found)} bytes with SHA-256 "
    message += f"{hashlib.sha256(found).hexdigest()}, expected {entry.sha256}"
    with pytest.raises(UserError, match=message):
        fetch(storage, "runs/1", manifest, "model.keras", target)
    assert list(target.parent.iterdir()) == []


def test_files_that_are_not_there(storage: Storage, folder: Path, tmp_path: Path) -> None:
    manifest = publish_run(storage, folder)
    with pytest.raises(UserError, match=r"no file 'model.h5'; its files: empty, model.keras"):
        fetch(storage, "runs/1", manifest, "model.h5", tmp_path / "target")
    storage.delete(f"runs/1/{manifest.files['model.keras'].path}")
    with pytest.raises(UserError, match=r"found nothing, expected 7000 bytes of model.keras"):
        fetch(storage, "runs/1", manifest, "model.keras", tmp_path / "target")
    assert not (tmp_path / "target").exists()


def changed(**changes: Any) -> bytes:
    fields = {"kind": "run", "id": "1", "files": {}, "details": {}} | changes
    return json.dumps({name: value for name, value in fields.items() if value is not None}).encode()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "found no JSON"),
        (b"\xff\xfe{", "found no JSON"),
        (b"[" * 100_000, "found no JSON"),
        (b"[]", "found list, expected the fields kind, id, files, details"),
        (changed(kind=None), "found id, files, details, expected"),
        (changed(more=1), "found kind, id, files, details, more, expected"),
        (changed(id=1), "id is 1, expected str"),
        (changed(files={"a": []}), "file 'a': found list, expected the fields path, size, sha256"),
        (changed(files={"a": {"path": "a", "size": True, "sha256": ZERO}}), "size is True"),
        (changed(files={"a": {"path": "../a", "size": 1, "sha256": ZERO}}), "key '../a'"),
        (changed(files={"/a": {"path": "a", "size": 1, "sha256": ZERO}}), "key '/a'"),
    ],
)
def test_a_manifest_that_is_none_of_ours(data: bytes, message: str, tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path))
    storage.write("runs/1/manifest.json", data)
    with pytest.raises(UserError, match=message):
        read_manifest(storage, "runs/1")


def test_an_id_follows_from_the_content_alone() -> None:
    found = content_id({"a": 1, "b": [2.5, None]}, "x")
    assert found == content_id({"b": (2.5, None), "a": 1}, "x") == "3be307228c30"
    others: list[Callable[[], str]] = [
        lambda: content_id({"a": 1, "b": [2.5]}, "x"),
        lambda: content_id("x", {"a": 1, "b": [2.5, None]}),
        lambda: content_id(),
    ]
    assert found not in {other() for other in others}


def test_versions_name_what_a_result_depends_on() -> None:
    found = versions()
    assert {"python", "ray", "tensorflow", "keras", "numpy", "pyarrow"} <= found.keys()
    assert all(version[0].isdigit() for version in found.values())
