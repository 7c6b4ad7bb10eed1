import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fmnist.data import locations
from fmnist.data.locations import locate
from fmnist.errors import UserError
from fmnist.storage.errors import read_errors


class _Refusing(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_error(int(self.path.strip("/")), "see http://user:secret@inside/")

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def refusing_server() -> Iterator[str]:
    """A real HTTP server that answers with the status that the path asks for."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_path_and_its_uri_are_the_same_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a b").mkdir()
    (tmp_path / "a b" / "x.gz").write_bytes(b"\x1f\x8bnot inflated")
    monkeypatch.chdir(tmp_path)
    for spec in ("a b", f"{tmp_path}/a b/", (tmp_path / "a b").as_uri()):
        folder = locate(spec)
        assert not folder.is_file()
        assert folder.names() == {"x.gz"}
        assert folder.child("x.gz").is_file()
        with folder.child("x.gz").open() as stream:
            assert stream.read() == b"\x1f\x8bnot inflated"


def test_the_home_folder_is_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert locate("~/data").path == f"{tmp_path}/data"


def test_s3_is_listed_and_read(bucket: str, s3_client: Any) -> None:
    s3_client.put_object(Bucket=bucket, Key="data/a/x", Body=b"content")
    folder = locate(f"s3://{bucket}/data")
    assert folder.names() == {"a"}
    assert folder.files() == [f"{bucket}/data/a/x"]
    with folder.child("a").child("x").open() as stream:
        assert stream.read() == b"content"
    with pytest.raises(FileNotFoundError):
        folder.child("nothing").open()
    with pytest.raises(UserError, match=r"nothing: no such file or folder"):
        folder.child("nothing").is_file()


@pytest.mark.parametrize(
    ("spec", "mistake"),
    [
        ("ftp://host/x", "ftp://… is not a place to read from: expected a path or file://, s3://"),
        ("s3://key:secret@bucket/x", "expected a URI without user, password, query and fragment"),
        ("https://me:secret@host/x", "expected a URI without user, password, query and fragment"),
        ("s3://bucket/x?token=secret", "expected a URI without user, password, query and fragment"),
        ("http://[::1/secret", "http://… is not a valid URI"),
        ("http://host:secret/", "http://… is not a valid URI"),
        ("s3:///secret", "names no bucket"),
    ],
)
def test_a_uri_that_is_not_understood_is_refused(spec: str, mistake: str) -> None:
    with pytest.raises(UserError) as caught:
        locate(spec)
    assert mistake in str(caught.value)
    assert "secret" not in str(caught.value).replace("s3:///secret", "")


def test_an_http_base_tells_absent_from_refused(refusing_server: str) -> None:
    with pytest.raises(FileNotFoundError):
        locate(refusing_server).child("404").open()
    with pytest.raises(UserError, match=r"/503: HTTP status 503$"), read_errors("http://x/503"):
        locate(refusing_server).child("503").open()
    with pytest.raises(UserError, match=r"http://a\.\.b/x: "):
        locate("http://a..b").child("x").open()


def test_reasons_are_one_line_without_uris() -> None:
    with pytest.raises(UserError, match=r"^x: cannot get a URI now$"), read_errors("x"):
        raise OSError("cannot get http://me:secret@host/x now\nand more")
    with (
        pytest.raises(UserError, match=r"^x: no permission$"),
        read_errors("x"),
    ):
        raise OSError(
            "When getting information for key 'k' in bucket 'b':"
            " AWS Error ACCESS_DENIED during HeadObject operation: No response body."
        )
    with pytest.raises(UserError, match=r"^x: no permission to read it$"), read_errors("x"):
        raise PermissionError(13, "Permission denied")


FILES = ["a.png", "train/b.png", "train/cat/c.png", "train/cat/x/y/d.png", "test/cat/e.png"]


def test_folders_of_any_depth_are_listed_in_parallel(
    tmp_path: Path, bucket: str, s3_client: Any, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    monkeypatch.setattr(locations, "SHOW_INTERVAL", 0.0)
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
        s3_client.put_object(Bucket=bucket, Key=f"deep/{name}", Body=b"x")
    for place in (str(tmp_path), f"s3://{bucket}/deep"):
        location = locate(place)
        found = [path.removeprefix(f"{location.path}/") for path in location.files()]
        assert found == sorted(FILES)
        folders = {info.path for info in location.infos()} - set(location.files())
        assert len(folders) == 6
        assert f"listing {place}: " in caplog.text


def test_a_folder_that_is_listed_once_is_listed_anew_only_where_that_is_asked_for(
    tmp_path: Path,
) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "first").touch()
    once = locate(str(tmp_path)).listed_once()
    assert len(once.infos()) == 2 and once.child("train").names() == {"first"}
    (tmp_path / "train" / "second").touch()
    assert len(once.infos()) == 2 and once.child("train").names() == {"first"}
    assert once.child("train").listed_anew().names() == {"first", "second"}


def test_a_folder_that_can_not_be_listed_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(UserError, match="file"):
        locate(str(tmp_path / "file")).infos()
