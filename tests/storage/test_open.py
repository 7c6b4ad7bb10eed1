"""Storage URIs: the ways to write one, and those that are refused before anything is written."""

from pathlib import Path
from typing import Any

import pytest

from fmnist.errors import UserError
from fmnist.storage.open import open_storage
from tests.support.servers.s3 import SECRET


def test_the_ways_to_write_a_uri(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = str(tmp_path / "a b")
    for uri in ("a b", "./a b", folder, f"{folder}/", f"file://{folder}", f"file:{folder}"):
        assert open_storage(uri).uri == folder
    assert open_storage(f"file://localhost{tmp_path}/a%20b").uri == folder
    for uri in (f"s3://{bucket}", f"s3://{bucket}/"):
        assert open_storage(uri).uri == f"s3://{bucket}"
    root = open_storage(f"s3://{bucket}")
    open_storage(f"s3://{bucket}/deep/er/").write("key", b"")
    assert root.keys() == ["deep/er/key"]
    assert root.arrow()[1] == bucket


@pytest.mark.parametrize(
    "uri",
    ["", "a\nb", "gs://bucket/a", "http://host:80/a", "s3:/bucket", "s3://", "s3:///a", "s3://B_/a",
     "s3://bucket/../other", "s3://bucket//a", "file://host/a"],
)  # fmt: skip
def test_uris_of_no_known_kind_are_refused(uri: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="expected"):
        open_storage(uri)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "uri",
    [f"s3://key:{SECRET}@bucket/a", f"s3://key:a/{SECRET}@bucket", f"s3://b/a?secret_key={SECRET}",
     f"https://key:{SECRET}@host/a", f"s3://{SECRET}@bucket"],
)  # fmt: skip
def test_uris_with_credentials_are_refused_and_not_repeated(uri: str) -> None:
    with pytest.raises(UserError) as refusal:
        open_storage(uri)
    assert SECRET not in str(refusal.value)
