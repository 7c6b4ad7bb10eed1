"""Shards of raw images: Parquet files that a data set in the storage root consists of.

A shard holds consecutive images of a part: `id` int64, the row in the part; `name`, where images
have names; `image`, height × width × channels bytes; `label`, where it is known. What was left out
stands in the schema's metadata, so that a shard that an earlier attempt has written tells it too.
"""

import io
import json
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet as pq

from fmnist.data.formats.parquet_schema import NAME, SHARD
from fmnist.errors import UserError
from fmnist.ingest.decode import BadImageError, ImageInfo, check_raw, decode_image, read_info
from fmnist.ingest.source import ImagePart
from fmnist.storage.errors import read_errors
from fmnist.storage.open import Storage

BYTES = 32 << 20  # of pixels in a shard
MOST_ROWS = 5_000


@dataclass(frozen=True, kw_only=True)
class BadImage:
    """An image that was left out, and why."""

    part: str
    row: int
    name: str
    reason: str


@dataclass(frozen=True, kw_only=True, eq=False)
class PlannedShard:
    """Rows `start` to before `stop` of a part, and the key that they are written to."""

    key: str
    part: str
    start: int
    stop: int

    @property
    def size(self) -> int:
        """Number of images, those included that will be left out."""
        return self.stop - self.start


def plan_shards(parts: dict[str, ImagePart], pixels: int, folder: str) -> list[PlannedShard]:
    """All shards of a data set whose images have so many bytes each."""
    rows = max(1, min(MOST_ROWS, BYTES // pixels))
    return [
        PlannedShard(
            key=f"{folder}/{name}/part-{number:05}.parquet",
            part=name,
            start=start,
            stop=min(start + rows, part.size),
        )
        for name, part in parts.items()
        for number, start in enumerate(range(0, part.size, rows))
    ]


def write_shard(
    shard: PlannedShard,
    part: ImagePart,
    labels: np.ndarray | None,
    shape: tuple[int, int, int],
    storage: Storage,
) -> list[BadImage]:
    """Decodes the images of a shard and writes it; returns those that are left out.

    `part` may be no more than the shard's rows; `labels` are those of the shard. Raises what
    `ImageRows.read` raises, and writes nothing then.
    """
    rows, images, bad = [], [], []
    for row, found in enumerate(part.rows(shard.start, shard.stop).read(), start=shard.start):
        try:
            if found is None:
                raise BadImageError("the image is null")
            decode = check_raw if part.raw else decode_image
            images.append(decode(found, shape).tobytes())
            rows.append(row)
        except BadImageError as error:
            bad.append(BadImage(part=shard.part, row=row, name=part.name(row), reason=str(error)))
    if len(rows) + len(bad) != shard.size:
        raise UserError(
            f"{part.name(shard.start)} and after it: found {len(rows) + len(bad)} images, expected "
            f"{shard.size}: the file changed while it was read"
        )
    columns: dict[str, Any] = {"id": pa.array(rows, pa.int64())}
    if part.names is not None:
        columns[NAME] = pa.array([part.names[row - part.first] for row in rows], pa.string())
    columns["image"] = pa.array(images, pa.binary(int(np.prod(shape))))
    if labels is not None:
        columns["label"] = pa.array(labels[np.array(rows, np.int64) - shard.start], pa.int64())
    metadata = {SHARD: json.dumps([[each.row, each.reason] for each in bad], allow_nan=False)}
    sink = io.BytesIO()
    table = pa.table(columns).replace_schema_metadata(metadata)
    pq.write_table(table, sink, compression="zstd", use_dictionary=False)
    storage.create(shard.key, sink.getvalue())  # another job may have published its own
    return bad


def read_left_out(shard: PlannedShard, part: ImagePart, storage: Storage) -> list[BadImage]:
    """The images that a shard, which is written already, has left out."""
    system, path = storage.arrow(shard.key)
    with read_errors(where := f"{storage.uri}/{shard.key}"):
        metadata = pq.read_schema(path, filesystem=system).metadata or {}
    if SHARD not in metadata:
        raise UserError(f"{where}: is no shard of decoded images, expected one")
    return [
        BadImage(part=shard.part, row=row, name=part.name(row), reason=text)
        for row, text in json.loads(metadata[SHARD])
    ]


def read_infos(part: ImagePart) -> dict[ImageInfo, str]:
    """Each size and kind of colours among these images, with the name of the first that has it.

    Images that are none are passed over: they are found again when they are decoded.
    """
    found: dict[ImageInfo, str] = {}
    rows = part.rows(part.first, part.first + part.size)
    for row, data in enumerate(rows.read(), start=part.first):
        if data is not None:
            with suppress(BadImageError):
                info = read_info(data)
                if info not in found:
                    found[info] = part.name(row)
    return found


def too_many_error(bad: list[BadImage], allowed: int) -> UserError:
    """Makes the error for more bad images than are allowed; names the first by part and row."""
    first = min(bad, key=lambda each: (each.part != "train", each.row))
    more = "" if len(bad) == 1 else f" ({len(bad)} such images were found so far)"
    return UserError(
        f"{first.name}: {first.reason}{more}; expected at most {allowed} images that can't be used"
        " (--max-bad-rows)"
    )
