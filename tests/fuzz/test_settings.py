"""Any flag and any task file is either accepted or raises a UserError."""

import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fmnist.comparison.grid.settings import ALWAYS_SHOWN
from fmnist.data.locations import locate
from fmnist.errors import UserError
from fmnist.recipes import RECIPES
from fmnist.run_settings import Cluster, check, resolve_auto
from fmnist.storage.open import LocalStorage, S3Storage, check_key, open_storage
from fmnist.tasks import FASHION, find_task
from jobs.support.grid import GridFlags, find_grid
from tests.support.fuzzing import JSON, bytes_like, file, fuzz

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
def test_task_file(memory_folder: Path, data: bytes) -> None:
    try:
        task = find_task(file(memory_folder, "x.toml", data))
    except UserError as error:
        assert "x.toml" in str(error)
    else:
        assert task.pixels >= 1 and len(task.classes) >= 2
        assert check_key(task.name) == task.name


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
        values = {"gpus_per_worker": st.floats(), "cache_size": TEXT}.get(name, st.integers())
        cluster = replace(cluster, **{name: data.draw(values)})
    with suppress(UserError):
        check(training, cluster)
        settled = resolve_auto(training, FASHION, 60_000)
        assert 0 <= settled.seed < 2**32 and 1 <= settled.workers <= settled.batch <= 60_000


AXES = st.text(alphabet="cn,1e-3 ainf.", max_size=12) | st.sampled_from(
    ["cnn", "nan", "1e-3,nan,inf", "1e400", "dense,cnn", ",".join(map(str, range(1000)))]
)


NAMED_AXES = st.text(alphabet="batch=,s1 ", max_size=12) | st.builds(
    "{}={}".format, st.sampled_from(sorted(vars(RECIPES["quick"]))), AXES
)
RANGES = st.text(alphabet="batch=,s1.:log", max_size=12) | st.builds(
    "{}={}..{}{}".format,
    st.sampled_from(sorted(vars(RECIPES["quick"]))),
    AXES,
    AXES | st.just("64"),
    st.sampled_from(["", ":log"]),
)
SEARCH = st.fixed_dictionaries(
    {
        "search": st.sampled_from(["random", "optuna"]),
        "trials": st.integers(-1, 5) | st.just(10**9),
        "range": st.lists(RANGES, max_size=2).map(tuple),
        "search_seed": st.integers(),
    }
)
ABLATED = st.lists(st.sampled_from(["augmentation", "schedule", "batch", "x", ""])).map(",".join)


@fuzz(200)
@given(
    st.dictionaries(st.sampled_from(ALWAYS_SHOWN), AXES),
    st.lists(NAMED_AXES, max_size=3).map(tuple),
    ABLATED,
    st.none() | TEXT | st.just("report"),
    st.sampled_from(["report", "quick"]),
    st.just({}) | SEARCH,
)
def test_axes(
    own: dict[str, str],
    axis: tuple[str, ...],
    ablate: str,
    comparison: str | None,
    recipe: str,
    search: dict[str, Any],
) -> None:
    flags = GridFlags(comparison=comparison, axis=axis, ablate=ablate, recipe=recipe, **search)
    with suppress(UserError):
        grid = find_grid(replace(flags, **own), Cluster())  # type: ignore[arg-type]
        assert 1 <= len(grid.cells) <= 10_000
        assert len(set(grid.names)) == len(grid.cells)
        for cell in grid.cells[:5]:
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
def test_keys(memory_storage: LocalStorage, text: str) -> None:
    for key in (text, f"a/{text}", f"a/{text}/../b"):
        with suppress(UserError):
            memory_storage.write(key, b"content")
            assert memory_storage.read(key) == b"content"
            assert (memory_storage.root / key).resolve().is_relative_to(memory_storage.root)
            memory_storage.delete(key)
