"""A URI has the same meaning for `--storage` and for `--data`."""

from pathlib import Path

import pytest

from fmnist.data.locations import locate
from fmnist.errors import UserError
from fmnist.storage.open import S3Storage, open_storage
from fmnist.storage.uri import FolderUri, HttpUri, S3Uri, parse_uri
from tests.support.servers.s3 import SECRET


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("a b", "{here}/a b"),
        ("./a/", "{here}/a"),
        ("/x/a", "/x/a"),
        ("~", "{home}"),
        ("~/a", "{home}/a"),
        ("a?b#c@d%20e", "{here}/a?b#c@d%20e"),
        ("file:a", "{here}/file:a"),
        ("a/s3:/b", "{here}/a/s3:/b"),
        ("//x/a", "/x/a"),
        ("file:/x/a", "/x/a"),
        ("file:///x/a/", "/x/a"),
        ("FILE:///x/a", "/x/a"),
        ("file://localhost/x/a", "/x/a"),
        ("file:///x/a%20b", "/x/a b"),
        ("file:///x/~", "/x/~"),
        ("file:///", "/"),
    ],
)
def test_a_folder(text: str, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, home = tmp_path / "here", tmp_path / "home"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", str(home))
    expected = path.format(here=here, home=home)
    assert open_storage(text).uri == locate(text).path == expected
    assert parse_uri(text) == parse_uri(text, http=True) == FolderUri(path=Path(expected))


@pytest.mark.parametrize(
    ("text", "bucket", "prefix"),
    [
        ("s3://bucket", "bucket", ""),
        ("s3://bucket/", "bucket", ""),
        ("s3://bucket/a/b/", "bucket", "a/b"),
        ("S3://bucket/A b", "bucket", "A b"),
        ("s3://bucket/a%20b", "bucket", "a%20b"),
        ("s3://bucket/a:b@c", "bucket", "a:b@c"),
    ],
)
def test_a_prefix_of_a_bucket(
    text: str, bucket: str, prefix: str, s3_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(S3Storage, "check", lambda *_, **__: None)  # there is no such bucket
    storage = open_storage(text)
    assert storage == S3Storage(bucket=bucket, prefix=prefix)
    assert storage.arrow()[1] == locate(text).path
    assert parse_uri(text) == parse_uri(text, http=True) == S3Uri(bucket=bucket, prefix=prefix)


@pytest.mark.parametrize("text", ["http://host:80/a", "https://host/a/", "HTTP://host/a"])
def test_an_http_server_is_only_read_from(text: str) -> None:
    assert locate(text).path == text
    assert parse_uri(text, http=True) == HttpUri(url=text)
    with pytest.raises(UserError, match=r"//… is not a place to keep results in: expected a path"):
        open_storage(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a\nb",
        "\udcff",
        "~nobody-of-this-name/x",
        "ftp://host/x",
        "gs:/bucket",
        "file://host/a",
        "file:////a",
        "file://",
        "file:///a%00b",
        "s3:/bucket",
        "s3://",
        "s3:///a",
        "s3://B_/a",
        "s3://bucket//a",
        "s3://bucket/../other",
        "http:/host",
        "http://[::1/a",
        "http://host:port/",
        *(
            f"{scheme}{rest}{SECRET}{end}"
            for scheme in ("file://", "s3://", "S3://", "https://")
            for rest, end in (
                ("key:", "@host/a"),
                ("key:a/", "@host") if scheme.lower() == "s3://" else ("", "@host"),
                ("bucket/a?key=", ""),
                ("bucket/a#", ""),
            )
        ),
    ],
)
def test_both_refuse_the_same_and_repeat_no_secret(text: str) -> None:
    for use in (locate, open_storage):
        with pytest.raises(UserError) as refusal:
            use(text)
        assert SECRET not in str(refusal.value)
        assert refusal.value.__cause__ is None or SECRET not in str(refusal.value.__cause__)
