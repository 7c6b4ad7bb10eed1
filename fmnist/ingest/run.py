"""Decodes the images of a source once, into shards of raw pixels in the storage root.

Tasks of the cluster decode in parallel. A data set is published whole or not at all, by an id that
follows from the names, sizes and times of the source's files and from the settings: the same source
is found again, and what was killed goes on with the shards that are missing.
"""

import io
import logging
from contextlib import suppress
from dataclasses import asdict

import numpy as np
import pyarrow as pa
from pyarrow import parquet as pq

from fmnist.cluster.metrics import IMAGES_LEFT_OUT
from fmnist.cluster.progress_bar import show_count
from fmnist.cluster.shared_folder import mark_storage
from fmnist.errors import UserError
from fmnist.ingest.infer import infer_task
from fmnist.ingest.parallel import in_parallel
from fmnist.ingest.plan import IngestionPlan
from fmnist.ingest.shards import (
    BadImage,
    PlannedShard,
    plan_shards,
    read_left_out,
    too_many_error,
    write_shard,
)
from fmnist.ingest.source import ImagePart
from fmnist.storage.lease import LEASE, Lease, LeaseLost, hold_lease
from fmnist.storage.manifest import Manifest, publish_keys, read_manifest
from fmnist.storage.open import Storage
from fmnist.tasks import Task

log = logging.getLogger(__name__)

QUARANTINE = "quarantine.parquet"


def ingest(plan: IngestionPlan, storage: Storage) -> Manifest:
    """The published data set of these images, made now unless it is there. Ray must be running.

    Its details say the task. Raises UserError for images of several sizes where none is asked for,
    for more bad images than allowed, and for files that change meanwhile.
    """
    source, settings, parts = plan.source, plan.settings, plan.parts
    folder = plan.folder
    if published := read_manifest(storage, folder):
        return published
    task = settings.task or infer_task(source, parts, plan.classes, settings.size)
    while True:
        lease_key = f"{folder}/{LEASE}"
        with suppress(LeaseLost), hold_lease(storage, lease_key, notify=log.warning) as lease:
            return read_manifest(storage, folder) or _ingest(plan, task, storage, lease)


def _ingest(plan: IngestionPlan, task: Task, storage: Storage, lease: Lease) -> Manifest:
    source, parts, folder = plan.source, plan.parts, plan.folder
    shards = plan_shards(parts, task.pixels, folder)
    try:
        bad = _write(shards, plan, task, storage)
    except UserError:
        _delete_if_changed(plan, shards, storage, lease)
        raise
    if _delete_if_changed(plan, shards, storage, lease):
        raise UserError(
            f"{source.uri}: changed while it was read, expected files that stay as they are"
        )
    names = [shard.key.removeprefix(f"{folder}/") for shard in shards]
    if bad:
        storage.write(f"{folder}/{QUARANTINE}", _to_parquet(bad))
        names.append(QUARANTINE)
    details = {
        "source": source.uri,
        "task": task.details,
        "images": {name: part.size for name, part in parts.items()},
        "left_out": len(bad),
    }
    found = publish_keys(storage, folder, names, kind="dataset", id=plan.id, details=details)
    IMAGES_LEFT_OUT.add(len(bad), task=task.name)
    return found


def _delete_if_changed(
    plan: IngestionPlan, shards: list[PlannedShard], storage: Storage, lease: Lease
) -> bool:
    """Deletes the shards and returns True if the source's files have changed.

    The shards must not be found once the files are again as they were. But what another job has
    published stays. Raises LeaseLost if another job has taken over.
    """
    try:
        changed = plan.source.stamp_now() != plan.source.stamp
    except UserError:  # it is not there any more
        changed = True
    lease.check()
    if changed and not read_manifest(storage, plan.folder):
        for shard in shards:
            storage.delete(shard.key)
    return changed


def _write(
    shards: list[PlannedShard], plan: IngestionPlan, task: Task, storage: Storage
) -> list[BadImage]:
    """Writes the shards that are missing; returns all images that are left out, in order."""
    parts, labels, folder = plan.parts, plan.labels, plan.folder
    allowed = plan.settings.max_bad_rows
    there = {key for part in parts for key in storage.keys(f"{folder}/{part}")}
    bad: list[BadImage] = []
    for shard in shards:
        if shard.key in there:
            bad += read_left_out(shard, parts[shard.part], storage)
    missing = [shard for shard in shards if shard.key not in there]
    shape = task.shape

    def write(
        shard: PlannedShard, part: ImagePart, labels: np.ndarray | None
    ) -> tuple[int, list[BadImage]]:
        if mark:
            mark.check()
        return shard.size, write_shard(shard, part, labels, shape, storage)

    pieces = (_cut(shard, parts[shard.part], labels[shard.part]) for shard in missing)
    total = sum(shard.size for shard in shards)
    decoded = total - sum(shard.size for shard in missing)
    with (
        mark_storage(storage) as mark,
        show_count("decoding", "images", total, lambda: decoded),
    ):
        for images, left_out in in_parallel(
            write, pieces, f"ingesting into {storage.uri}/{folder}"
        ):
            decoded += images
            bad += left_out
            if len(bad) > allowed:
                break
    if len(bad) > allowed:
        raise too_many_error(bad, allowed)
    return sorted(bad, key=lambda each: (each.part, each.row))


def _cut(
    shard: PlannedShard, part: ImagePart, labels: np.ndarray | None
) -> tuple[PlannedShard, ImagePart, np.ndarray | None]:
    """Only what the task needs: a part may have millions of names."""
    rows = slice(shard.start, shard.stop)
    return shard, part.cut(shard.start, shard.stop), None if labels is None else labels[rows]


def _to_parquet(bad: list[BadImage]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([asdict(each) for each in bad]), sink)
    return sink.getvalue()
