"""Infers a task from images: their size, their channels, and which of them are for testing."""

import json
from dataclasses import asdict
from typing import Any

import numpy as np
import ray

from fmnist.cluster.progress_bar import show_count
from fmnist.errors import UserError
from fmnist.ingest.classes import name_for
from fmnist.ingest.decode import ImageInfo
from fmnist.ingest.parallel import in_parallel
from fmnist.ingest.shards import read_infos
from fmnist.ingest.source import ImagePart, ImageSource
from fmnist.tasks import Task, to_task

SPLIT_SEED = 42  # as for the validation part
INFO_ROWS = 1000  # images whose headers one task reads


def split_test(source: ImageSource, share: float) -> dict[str, ImagePart]:
    if not share:
        return source.parts
    train = source.parts.get("train")
    if "test" in source.parts or train is None or train.names is None:
        raise UserError(
            f"{source.uri}: found {' and '.join(source.parts)}, expected one folder of classes to "
            f"split {share:g} of it off as test images"
        )
    from sklearn.model_selection import train_test_split

    try:
        rows, held_out = train_test_split(
            np.arange(train.size), test_size=share, random_state=SPLIT_SEED, stratify=train.labels
        )
    except ValueError as error:
        raise UserError(f"{source.uri}: can't be split by --test {share:g}: {error}") from error
    return {"train": train.take(np.sort(rows)), "test": train.take(np.sort(held_out))}


def infer_task(
    source: ImageSource,
    parts: dict[str, ImagePart],
    classes: tuple[str, ...],
    size: tuple[int, int] | None,
) -> Task:
    infos = _read_all_infos(parts, source.uri)
    if not infos:
        raise UserError(f"{source.uri}: found no image that can be read, expected some")
    sizes = sorted({(info.height, info.width) for info in infos})
    if size is None and len(sizes) > 1:
        examples = {(info.height, info.width): name for info, name in infos.items()}
        some = ", ".join(f"{h}x{w} ({examples[h, w]})" for h, w in sizes[:5])
        raise UserError(
            f"{source.uri}: found images of {len(sizes)} sizes: {some}"
            f"{', …' if len(sizes) > 5 else ''}; expected one size, or --size HEIGHTxWIDTH"
        )
    height, width = size or sizes[0]
    fields = {
        "name": name_for(source.uri),
        "classes": list(classes),
        "height": height,
        "width": width,
        "channels": max(info.channels for info in infos),
    }
    return to_task(fields, source.uri)


def _read_all_infos(parts: dict[str, ImagePart], uri: str) -> dict[ImageInfo, str]:
    pieces = [
        (part, start, min(start + INFO_ROWS, part.size))
        for part in parts.values()
        for start in range(0, part.size, INFO_ROWS)
    ]
    work = [ray.put((part.cut(start, stop), start, stop)) for part, start, stop in pieces]

    def look(row: dict[str, Any]) -> dict[str, Any]:
        part, start, stop = ray.get(work[row["id"]])
        infos = read_infos(part.rows(start, stop), part, start)
        found = {
            "images": stop - start,
            "infos": [(asdict(info), name) for info, name in infos.items()],
        }
        return {"found": json.dumps(found, allow_nan=False)}

    infos: dict[ImageInfo, str] = {}
    looked_at = 0
    total = sum(part.size for part in parts.values())
    with show_count("looking", "images", total, lambda: looked_at):
        for found in in_parallel(len(pieces), look, f"looking at the images of {uri}"):
            looked_at += found["images"]
            for info, name in found["infos"]:
                infos.setdefault(ImageInfo(**info), name)
    return infos
