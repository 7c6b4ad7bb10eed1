"""Whatever the bytes, a reader gives a result or a UserError, and its memory is bounded.

Random bytes never get past a magic number, so most examples are valid files with a few changes.
"""

import gzip
import io
import json
import struct
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pyarrow import parquet as pq

from fmnist.checkpoints import PROGRESS, VARIABLES, Checkpoints, Progress
from fmnist.competition_csv import read_csv
from fmnist.errors import UserError
from fmnist.grid import FIELDS
from fmnist.idx import inflated, read_images, read_labels
from fmnist.locations import locate
from fmnist.manifest import Manifest, publish, read_manifest
from fmnist.parquet import read_part, to_table
from fmnist.predictions import Collected
from fmnist.published import open_model, task_of_run
from fmnist.recipes import RECIPES, Cluster, check, settle
from fmnist.storage import LocalStorage, S3Storage, check_key, open_storage
from fmnist.tasks import FASHION, Task, find_task
from jobs.compare import Flags, find_cells
from tests.samples import SHAPES, examples, idx_bytes

ROOT = Path(__file__).parent.parent
TINY = Task(name="tiny", classes=("a", "b"), shape=(1, 2, 2))


def fuzz(count: int) -> settings:
    """The same examples in every run, so that what fails here fails everywhere."""
    return settings(
        max_examples=count,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


@st.composite
def changed(draw: st.DrawFn, *valid: bytes) -> bytes:
    """One of the files, cut, flipped, stretched or with parts twice; at its ends above all."""
    data = bytearray(draw(st.sampled_from(valid)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        if draw(st.booleans()):  # headers and footers matter more than what they are about
            at = draw(st.sampled_from([min(at, 64), max(0, len(data) - at % 600)]))
        length = draw(st.integers(1, 16))
        noise = draw(
            st.one_of(
                st.binary(min_size=1, max_size=8),
                st.sampled_from(
                    [b"\xff" * 4, b"\x7f\xff\xff\xff", b"\0" * 8, b"NaN", b'"', b"[[["]
                ),
            )
        )
        match draw(st.sampled_from(["put", "insert", "delete", "cut", "repeat"])):
            case "put":
                data[at : at + len(noise)] = noise
            case "insert":
                data[at:at] = noise
            case "delete":
                del data[at : at + length]
            case "cut":
                del data[at:]
            case "repeat":
                data[at:at] = data[at : at + 4 * length]
    return bytes(data)


def bytes_like(*valid: bytes) -> st.SearchStrategy[bytes]:
    return st.one_of(changed(*valid), changed(*valid), st.binary(max_size=200))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


def altered(valid: Any) -> st.SearchStrategy[bytes]:
    """JSON in which any value of a valid document, however deep, is another; or damaged JSON."""

    @st.composite
    def alter(draw: st.DrawFn, value: Any) -> Any:
        if not isinstance(value, dict | list) or not value or draw(st.integers(0, 3)) == 0:
            return draw(JSON)
        items = dict(value) if isinstance(value, dict) else dict(enumerate(value))
        where = draw(st.sampled_from(sorted(items)))
        items[where] = draw(alter(items[where]))
        return items if isinstance(value, dict) else list(items.values())

    return alter(valid).map(lambda value: json.dumps(value).encode()) | bytes_like(
        json.dumps(valid).encode(), b"[" * 100_000, b'{"a":' * 100_000
    )


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder in memory where there is one: thousands of small files are written."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        yield Path(name)


@pytest.fixture(scope="module")
def storage(folder: Path) -> LocalStorage:
    return LocalStorage(root=folder / "storage")


def file(folder: Path, name: str, data: bytes) -> str:
    path = folder / name
    path.write_bytes(data)
    return str(path)


# --- data sets

IMAGES = idx_bytes(np.arange(60, dtype=np.uint8).reshape(3, 4, 5))
LABELS = idx_bytes(np.array([3, 0, 2]))


@fuzz(300)
@given(
    bytes_like(IMAGES, LABELS, gzip.compress(IMAGES, mtime=0), gzip.compress(LABELS, mtime=0)),
    st.sampled_from(["x", "x.gz"]),
)
def test_idx(data: bytes, name: str) -> None:
    readers: list[Callable[[Any], np.ndarray]] = [
        lambda stream: read_images(stream, (4, 5, 1), name),
        lambda stream: read_labels(stream, 4, name),
    ]
    for read in readers:
        try:
            found = read(inflated(io.BytesIO(data), name))
        except UserError as error:
            assert name in str(error)
        else:
            assert len(found) >= 1


CSV = b"Id,Label,0,1,2,3\n7,1,0,255,3,4\n9,0,5,6,7,8\n"


@fuzz(300)
@given(
    st.one_of(
        bytes_like(CSV, CSV.replace(b"Label,", b"")),
        st.text(alphabet='019,"\n\r x-.', max_size=40).map(lambda rows: CSV + rows.encode()),
    )
)
@example(CSV.replace(b"\n", "\u2028more\n".encode(), 1))
@example(CSV.replace(b"3\n", b'"3\n', 1))
def test_csv(folder: Path, data: bytes) -> None:
    try:
        found = read_csv(locate(file(folder, "train.csv", data)), TINY)
    except UserError as error:
        assert "train.csv: " in str(error)
    else:
        assert len(found) >= 1 and found.images.shape[1:] == TINY.shape


def parquet(table: pa.Table, **options: Any) -> bytes:
    stream = io.BytesIO()
    pq.write_table(table, stream, **options)
    return stream.getvalue()


PART = examples(SHAPES, 6)
TABLE = to_table(PART)
REPEATED = TABLE.set_column(1, "image", TABLE["image"].cast(pa.binary()))
NESTED = TABLE.append_column("more", pa.array([{"id": [1], "image": b""}] * 6))
PARQUET = (
    parquet(TABLE, compression="zstd", use_dictionary=False),
    parquet(REPEATED, row_group_size=2),
    parquet(REPEATED, data_page_version="2.0", compression="gzip"),
    parquet(NESTED, compression="none"),
)


@fuzz(400)
@given(bytes_like(*PARQUET))
def test_parquet(folder: Path, data: bytes) -> None:
    try:
        found = read_part(file(folder, "x.parquet", data), SHAPES, "test")
    except UserError as error:
        assert "x.parquet" in str(error)
    else:
        assert found is not None and found.images.shape == (len(found), *SHAPES.shape)


COLUMN = st.sampled_from(
    [
        pa.array([1, 2, 3]),
        pa.array([1, 1, 1], pa.uint8()),
        pa.array([1, None, 3]),
        pa.array([2**64 - 1] * 3, pa.uint64()),
        pa.array([0.5, float("nan"), 2]),
        pa.array([None] * 3),
        pa.array(["1", "2", "\u2028"]),
        pa.array([b"\0" * 720] * 3),
        pa.array([b"\0" * 720] * 3, pa.large_binary()),
        pa.array([b"\0" * 720] * 3, pa.binary(720)),
        pa.array([b"\0" * 719] * 3, pa.binary(719)),
        pa.array([b"\0" * 720, None, b""]),
        pa.array([b"\0" * 720] * 3).dictionary_encode(),
        pa.array([1, 2, 3]).dictionary_encode(),
        pa.array([[1], [], None]),
        pa.array([{"id": 1}] * 3),
        pa.array([{"a": [{"b": b"x"}]}] * 3),
        pa.array([1, 2, 3], pa.timestamp("us")),
        pa.array([True, False, None]),
        pa.array([1, 2, 3], pa.decimal128(5)),
    ]
)
NAME = st.sampled_from(["id", "image", "label", "id.image", "", "\0"])


@fuzz(150)
@given(st.lists(st.tuples(NAME, COLUMN), max_size=4), st.integers(0, 3))
def test_parquet_of_any_columns(
    folder: Path, storage: LocalStorage, columns: list[tuple[str, pa.Array]], rows: int
) -> None:
    names, arrays = [name for name, _ in columns], [array for _, array in columns]
    data = parquet(pa.table(arrays, names=names).slice(0, rows))
    with suppress(UserError):
        found = read_part(file(folder, "x.parquet", data), SHAPES, "test")
        assert found is not None and found.images.shape == (rows, *SHAPES.shape)
    take_over(storage, data)


def take_over(storage: LocalStorage, data: bytes) -> Collected:
    storage.write("labels/x.parquet", data)
    collected = Collected(ids=np.sort(PART.ids), classes=4)
    unfit = collected.take_over(storage, "labels", ["x.parquet"])
    assert bool(unfit) == (len(collected.scored()) == 0)
    return collected


PREDICTED = {"id": PART.ids, "label": PART.labels, "model": ["r1"] * 6}


@fuzz(200)
@given(bytes_like(parquet(pa.table(PREDICTED)), parquet(pa.table(PREDICTED), row_group_size=2)))
def test_labels_that_were_predicted(storage: LocalStorage, data: bytes) -> None:
    take_over(storage, data)


def test_sound_labels_are_taken_over(storage: LocalStorage) -> None:
    assert len(take_over(storage, parquet(pa.table(PREDICTED))).scored()) == 6


# --- what describes data sets and results

TOML = b'name = "shapes"\nclasses = ["circle", "star"]\nheight = 16\nwidth = 20\nchannels = 3\n'


@fuzz(300)
@given(
    st.one_of(
        bytes_like(TOML),
        st.tuples(st.sampled_from([b'"shapes"', b'"star"', b"16", b"3"]), JSON).map(
            lambda change: TOML.replace(change[0], json.dumps(change[1]).encode())
        ),
    )
)
@example(b"a = " + b"[" * 100_000)
@example(TOML.replace(b"16", b"9" * 5_000))
@example(TOML.replace(b"16", b"0x" + b"f" * 5_000))
@example(TOML.replace(b"star", b"\\u0000"))
@example(TOML.replace(b"name", b"0x\xff"))
def test_task_file(folder: Path, data: bytes) -> None:
    try:
        task = find_task(file(folder, "x.toml", data))
    except UserError as error:
        assert "x.toml" in str(error)
    else:
        assert task.pixels >= 1 and len(task.classes) >= 2
        assert check_key(task.name) == task.name


ENTRY = {"path": "0a/model.keras", "size": 3, "sha256": "0" * 64}
RUN = {
    "kind": "run",
    "id": "shapes-cnn-1",
    "files": {"model.keras": ENTRY},
    "details": {"task": {"name": "shapes", "classes": ["a", "b"], "shape": [12, 20, 3]}},
}


@fuzz(400)
@given(altered(RUN))
@example(json.dumps(RUN).encode())
def test_manifest(storage: LocalStorage, data: bytes) -> None:
    storage.write("runs/x/manifest.json", data)
    with suppress(UserError):
        manifest = read_manifest(storage, "runs/x")
        assert isinstance(manifest, Manifest)
        for name, entry in manifest.files.items():
            assert check_key(name) and check_key(entry.path)
        assert check_key(manifest.id)
        task = task_of_run(storage, "runs/x")
        assert task.pixels >= 1 and all(name.isprintable() for name in task.classes)
        open_model(storage, "runs/x", SHAPES)


def numpy(**arrays: Any) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


SAVED = {
    "epoch": 2,
    "precision": "float32",
    "history": [{"epoch": epoch, "loss": 0.5, "val_loss": 0.4} for epoch in (1, 2)],
}
ARRAYS = numpy(a=np.ones((2, 3), np.float32), b=np.array(2), c=np.zeros(0, np.uint32))


def checkpoint(storage: LocalStorage, progress: bytes, arrays: bytes) -> Checkpoints:
    """A checkpoint of this content, with its digests."""
    storage.delete("runs/c")
    with tempfile.TemporaryDirectory() as name:
        Path(name, PROGRESS).write_bytes(progress)
        Path(name, VARIABLES).write_bytes(arrays)
        prefix = "runs/c/checkpoints/00002"
        publish(storage, prefix, Path(name), kind="checkpoint", id=prefix, details={})
    return Checkpoints(storage=storage, run="runs/c", keep=2)


@fuzz(150)
@given(altered(SAVED), st.just(ARRAYS))
@example(json.dumps(SAVED | {"epoch": 10**15}).encode(), ARRAYS)
def test_progress_of_a_checkpoint(storage: LocalStorage, progress: bytes, arrays: bytes) -> None:
    found = checkpoint(storage, progress, arrays).newest()
    assert found is None or found[0].best_epoch is None or found[0].best_epoch <= found[0].epoch


@fuzz(150)
@given(bytes_like(ARRAYS))
@example(numpy(a=np.array([{}], object)))
@example(numpy())
@example(b"\x93NUMPY" + ARRAYS)
def test_arrays_of_a_checkpoint(storage: LocalStorage, arrays: bytes) -> None:
    found = checkpoint(storage, json.dumps(SAVED).encode(), arrays).newest()
    assert found is None or all(array.dtype != object for array in found[1])


def test_a_sound_checkpoint_among_stray_keys_is_found(storage: LocalStorage) -> None:
    checkpoints = checkpoint(storage, json.dumps(SAVED).encode(), ARRAYS)
    for stray in ("manifest.json", "latest/manifest.json", "00009/0a/manifest.json"):
        storage.write(f"runs/c/checkpoints/{stray}", b"{}")
    progress, variables = checkpoints.newest() or (Progress(precision=""), [])
    assert progress == Progress(**SAVED) and len(variables) == 3  # type: ignore[arg-type]


# --- what users type

NUMBER = st.integers() | st.floats() | st.sampled_from([2**63, 2**32, 10**5000, -(10**400)])
TEXT = st.text(max_size=12) | st.text(alphabet="./\\:@%~files3hx ", max_size=20)


@fuzz(300)
@given(st.data())
def test_configuration(data: st.DataObject) -> None:
    training, cluster = RECIPES["quick"], Cluster()
    for name in data.draw(st.sets(st.sampled_from(sorted(vars(training))), max_size=4)):
        kind = type(getattr(training, name))
        value = data.draw(TEXT if kind is str else st.integers() if kind is int else st.floats())
        training = replace(training, **{name: value})
    for name in data.draw(st.sets(st.sampled_from(sorted(vars(cluster))), max_size=2)):
        whole = name != "gpus_per_worker"
        cluster = replace(cluster, **{name: data.draw(st.integers() if whole else st.floats())})
    with suppress(UserError):
        check(training, cluster)
        settled = settle(training, FASHION, 60_000)
        assert 0 <= settled.seed < 2**32 and 1 <= settled.workers <= settled.batch <= 60_000


AXES = st.text(alphabet="cn,1e-3 ainf.", max_size=12) | st.sampled_from(
    ["cnn", "nan", "1e-3,nan,inf", "1e400", "dense,cnn", ",".join(map(str, range(1000)))]
)


@fuzz(200)
@given(st.dictionaries(st.sampled_from(FIELDS), AXES), st.none() | TEXT | st.just("report"))
def test_axes(axes: dict[str, str], comparison: str | None) -> None:
    with suppress(UserError):
        flags = Flags(cluster=Cluster(), comparison=comparison, **axes)  # type: ignore[arg-type]
        cells = find_cells(flags)
        assert 1 <= len(cells) <= 10_000
        for cell in cells[:5]:
            check(cell, Cluster())


@fuzz(300)
@given(TEXT)
@example("file:///a%00b")
@example("file:///%0a")
@example("~nobody-of-this-name/x")
@example("\udcff")
@example("s3://bucket/\x7f")
def test_places(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(S3Storage, "check", lambda *_, **__: None)  # there are no such buckets
    for scheme in ("", "file://", "file:///", "ftp://"):
        with suppress(UserError):
            locate(scheme + text).is_file()
        with suppress(UserError):
            root = open_storage(scheme + text, writable=False)
            assert isinstance(root, LocalStorage) and root.root.is_absolute()
        with suppress(UserError):
            find_task(f"{scheme}{text}.toml")
    for uri in (f"s3://{text}", f"s3://bucket/{text}"):
        with suppress(UserError):
            bucket = open_storage(uri)
            assert isinstance(bucket, S3Storage) and bucket.uri == uri.rstrip("/")


@fuzz(300)
@given(TEXT)
@example("a" * 5_000)
@example("\uff0e\uff0e/x")
@example("%2e%2e/x")
def test_keys(storage: LocalStorage, text: str) -> None:
    for key in (text, f"a/{text}", f"a/{text}/../b"):
        with suppress(UserError):
            storage.write(key, b"content")
            assert storage.read(key) == b"content"
            assert (storage.root / key).resolve().is_relative_to(storage.root)
            storage.delete(key)


# --- memory

MOST = 128 << 20  # bytes; each of the files claims or inflates to more
CLAIM, ONE = (struct.pack(">4I", 0x803, count, 28, 28) for count in (2**31, 1))


def claims_more_rows(data: bytes, rows: int, claimed: int) -> bytes:
    """A Parquet file whose footer says that it has more rows (Thrift's zigzag numbers)."""

    def zigzag(number: int) -> bytes:
        number, encoded = 2 * number, []
        while number > 127:
            encoded.append(number & 127 | 128)
            number >>= 7
        return bytes([*encoded, number])

    length = int.from_bytes(data[-8:-4], "little")
    body, footer = data[: -8 - length], data[-8 - length : -8]
    footer = footer.replace(zigzag(rows), zigzag(claimed))
    return body + footer + struct.pack("<I", len(footer)) + b"PAR1"


def repeats(image: bytes, times: int) -> bytes:
    """A file of a few kilobytes in which a large image stands many times."""
    images = pa.DictionaryArray.from_arrays(pa.array(np.zeros(times, np.int32)), pa.array([image]))
    return parquet(pa.table({"id": range(times), "image": images}), compression="zstd")


def claims_a_large_array() -> bytes:
    """A sound archive with an array whose header says that it has 8 GB."""
    header, stream = io.BytesIO(), io.BytesIO()
    fields = {"descr": "<f8", "fortran_order": False, "shape": (10**9,)}
    np.lib.format.write_array_header_1_0(header, fields)
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("a.npy", header.getvalue())
    return stream.getvalue()


READER = """
import resource, sys
from pathlib import Path
from fmnist.checkpoints import Checkpoints
from fmnist.errors import UserError
from fmnist.predictions import Collected
from fmnist.sources import load
from fmnist.storage import open_storage
from fmnist.tasks import FASHION
import numpy as np
folder, bound = Path(sys.argv[1]), int(sys.argv[2])
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
storage, before = open_storage(str(folder)), peak()
for data in sorted(folder.glob("data/*")):
    try:
        load(FASHION, str(data))
    except UserError as error:
        print(data.name, error, (peak() - before) >> 20, "MiB")
    else:
        raise AssertionError(data)
ids = np.arange(10)
for name in ("more", "repeats"):
    unfit = Collected(ids=ids, classes=4).take_over(storage, "labels", [name])
    assert unfit == [name]
assert Checkpoints(storage=storage, run="runs/c", keep=1).newest() is None
assert peak() - before < bound, (peak() - before) >> 20
"""


def test_memory_is_bounded_by_what_a_file_holds(folder: Path) -> None:
    """What a file claims, or inflates to, is refused before it takes memory."""
    root = LocalStorage(root=folder / "bombs")
    labels = "train-labels-idx1-ubyte"
    images = "train-images-idx3-ubyte"
    some = {"id": range(12_345), "image": [b"\0" * 784] * 12_345}
    zeros = b"\0" * (256 << 20)
    idx = {
        "claim": {images: CLAIM + b"\0" * 1000, labels: LABELS},
        "claim.gz": {f"{images}.gz": gzip.compress(CLAIM + b"\0" * 1000), labels: LABELS},
        "bomb.gz": {f"{images}.gz": gzip.compress(ONE + zeros, 1), labels: LABELS},
    }
    for name, files in idx.items():
        for each, data in files.items():
            root.write(f"data/{name}/{each}", data)
    root.write("data/more.parquet", claims_more_rows(parquet(pa.table(some)), 12_345, 2**31))
    root.write("data/some.parquet", claims_more_rows(parquet(pa.table(some)), 12_345, 99_999))
    root.write("data/repeats.parquet", repeats(b"\0" * (1 << 20), 4_000))
    root.write("labels/more", claims_more_rows(parquet(pa.table(some)), 12_345, 2**31))
    root.write("labels/repeats", repeats(b"\0" * (1 << 20), 4_000))
    checkpoint(root, json.dumps(SAVED).encode(), claims_a_large_array())
    command = [sys.executable, "-c", READER, str(root.root), str(MOST)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
