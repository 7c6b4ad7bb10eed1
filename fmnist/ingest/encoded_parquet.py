"""Parquet files with encoded images, such as Hugging Face's, or with raw ones that have names.

The column `image` holds the bytes of PNG, JPEG, WebP, BMP or GIF files, or structs of `bytes` and
`path`; `label`, which may be missing, numbers or names of classes. Names of numbers are taken from
Hugging Face's metadata in the schema. A part's files are `train/…`, `train.parquet` or
`train-00000-of-00001.parquet`, as they are published; files that name no part are the test part,
or are ignored where others name one. The column `id`, which may be missing, holds
the images' names, text or whole numbers; without it they are numbered by their rows.

Raw images with whole numbers as ids are left to `fmnist.data.formats.parquet`, which needs no copy
of them. With text as ids they are taken here, since only shards have names beside numbers.
"""

import json
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa
from pyarrow import fs
from pyarrow import parquet as pq

from fmnist.data.formats.parquet import PARTS, SUFFIX, open_parquet, parquet_infos
from fmnist.data.formats.parquet_schema import holds_bytes
from fmnist.data.locations import Location
from fmnist.errors import UserError
from fmnist.ingest.decode import BadImageError, RefusedImageError, read_info
from fmnist.ingest.source import ImagePart, ImageSource, file_stamp, is_printable
from fmnist.storage.errors import read_errors

COLUMNS = ("id", "image", "label")
LOOKED_AT = 32  # images that are examined; if one of them is an image file, all count as encoded


def find_parquet_images(location: Location) -> ImageSource | None:
    """The Parquet files at a place, by parts; None for raw images without names.

    Raises UserError for files of different schemas.
    """
    infos = _files(location)
    if not infos:
        return None
    by_part: dict[str | None, list[Any]] = {part: [] for part in (*PARTS, None)}
    for info in infos:
        by_part[_part(_name(info.path, location))].append(info)
    others = by_part.pop(None)
    if not any(by_part.values()):
        by_part["test"], others = others, []
    first = next(infos for infos in by_part.values() if infos)
    raw = _are_raw(location.filesystem, [info.path for info in first])
    if raw is None:
        return None
    parts, named = {}, {}
    for name, found in by_part.items():
        if name and found:
            paths = [info.path for info in found]
            parts[name], classes = _find_part(location.filesystem, paths, raw)
            if classes:
                named[paths[0]] = classes
    if len(set(named.values())) > 1:
        (first_path, expected), (path, other) = named.items()
        raise UserError(f"{path}: its classes are {other}, expected {expected} as in {first_path}")
    anew = location.listed_anew()  # the source must not keep what was listed
    return ImageSource(
        uri=location.uri,
        parts=parts,
        stamp=_stamp(infos),
        stamp_now=lambda: _stamp(_files(anew)),
        classes=next(iter(named.values()), None),
        ignored=[_name(info.path, location) for info in others],
    )


def _stamp(infos: list[fs.FileInfo]) -> str:
    return file_stamp((info.path, info) for info in infos)


def _files(location: Location) -> list[fs.FileInfo]:
    assert location.filesystem is not None
    if location.is_file():
        with read_errors(location.uri):
            info = location.filesystem.get_file_info(location.path)
        return [info] if info.path.endswith(SUFFIX) else []
    return parquet_infos(location)


def _name(path: str, location: Location) -> str:
    """A file's path below the location; of a location that is a file, the file's name alone."""
    if path == location.path:
        return PurePosixPath(path).name
    return path.removeprefix(location.path.rstrip("/") + "/")


def _part(path: str) -> str | None:
    """The part that a path below the data set's folder names, if any."""
    names = {name.partition("-")[0].removesuffix(SUFFIX) for name in PurePosixPath(path).parts}
    return next((part for part in PARTS if part in names), None)


def _are_raw(filesystem: Any, paths: Sequence[str]) -> bool | None:
    """Returns True for raw images with text as ids, and False for encoded images.

    None for other files, and for a file that can't be read: the reader of raw images says why.
    Looks at the first images, in as many files as have them.
    """
    left = LOOKED_AT
    try:
        for path in paths:
            with filesystem.open_input_file(path) as stream:
                file = open_parquet(stream)
                schema = file.schema_arrow
                if not _may_be_encoded(schema):
                    break
                for image in islice(_first_images(file), left):
                    if image is None or _is_encoded(image):
                        return False
                    left -= 1
            if not left:
                break
        return True if _holds_named(schema) else None
    except Exception:  # a damaged file makes Arrow, and Ray's own Arrow types, raise anything
        return None


def _holds_named(schema: pa.Schema) -> bool:
    if not {"id", "image"} <= set(schema.names):
        return False
    return _is_text(schema.field("id").type) and holds_bytes(schema.field("image").type)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _first_images(file: pq.ParquetFile) -> Iterator[bytes | None]:
    """The images of a file that are not null; None for each where the column says the format."""
    if pa.types.is_struct(file.schema_arrow.field("image").type):
        yield None
        return
    for batch in file.iter_batches(LOOKED_AT, columns=["image"]):
        yield from batch.column(0).drop_null().to_pylist()


def _may_be_encoded(schema: pa.Schema) -> bool:
    if "image" not in schema.names:
        return False
    kind = schema.field("image").type
    if pa.types.is_struct(kind):
        return bool(kind.get_field_index("bytes") >= 0)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _is_encoded(image: bytes) -> bool:
    try:
        read_info(image)
    except RefusedImageError:
        return True
    except BadImageError:
        return False
    return True


def _find_part(
    filesystem: Any, paths: Sequence[str], raw: bool
) -> tuple[ImagePart, tuple[str, ...] | None]:
    labels: list[str | int | None] = []
    names: list[str] = []
    rows: list[int] = []
    schema: pa.Schema | None = None
    for path in paths:
        with read_errors(path), filesystem.open_input_file(path) as stream:
            file = open_parquet(stream)
            kinds = [(f.name, f.type) for f in file.schema_arrow if f.name in COLUMNS]
            for column in COLUMNS:
                if (count := file.schema_arrow.names.count(column)) > 1:
                    raise UserError(f"{path}: {count} columns {column!r}, expected one")
            if schema is None:
                schema, expected = file.schema_arrow, kinds
            elif kinds != expected:
                raise UserError(f"{path}: its columns are {kinds}, expected {expected}")
            rows.append(file.metadata.num_rows)
            if "label" in file.schema_arrow.names:
                labels += _read_values(file, path, "label")
            if "id" in file.schema_arrow.names:
                names += map(str, _read_values(file, path, "id"))
    assert schema is not None
    part = ImagePart(
        size=sum(rows),
        names=names if "id" in schema.names else None,
        labels=labels if "label" in schema.names else None,
        paths=paths,
        filesystem=filesystem,
        column="image",
        file_rows=rows,
        raw=raw,
    )
    _check_names(part)
    return part, _class_names(schema)


def _read_values(file: pq.ParquetFile, path: str, name: str) -> list[str | int | None]:
    column = file.read(columns=[name])[name]
    kind = column.type
    if not (pa.types.is_integer(kind) or _is_text(kind)):
        raise UserError(f"{path}: column {name!r} is {kind}, expected integers or strings")
    if column.null_count and name != "label":  # images to score need none
        row = column.to_pylist().index(None)
        raise UserError(f"{path}: column {name!r} is null in row {row}, expected a value")
    values: list[str | int | None] = column.to_pylist()
    return values


def _check_names(part: ImagePart) -> None:
    """Raises UserError naming the first id that a part has twice, or that spoils a line of CSV."""
    known: set[str] = set()
    for row, name in enumerate(part.names or ()):
        if name in known or not is_printable(name):
            problem = "for the second time" if name in known else "which can't be printed"
            raise UserError(
                f"{part.name(row)}: found the id {name!r} {problem}, expected unique ids that can "
                "be printed"
            )
        known.add(name)


def _class_names(schema: pa.Schema) -> tuple[str, ...] | None:
    """The names that Hugging Face's metadata give to the numbers in `label`."""
    try:
        known = json.loads((schema.metadata or {})[b"huggingface"])
        names = known["info"]["features"]["label"]["names"]
    except (KeyError, ValueError, TypeError, RecursionError):
        return None
    are_names = isinstance(names, list) and all(isinstance(name, str) for name in names)
    return tuple(names) if are_names else None
