"""Infers a task from images: their size and their channels."""

from fmnist.cluster.progress_bar import show_count
from fmnist.errors import UserError
from fmnist.ingest.classes import name_for
from fmnist.ingest.decode import ImageInfo
from fmnist.ingest.parallel import in_parallel
from fmnist.ingest.shards import read_infos
from fmnist.ingest.source import ImagePart, ImageSource
from fmnist.tasks import MOST_SIDE, Task, to_task

INFO_ROWS = 1000  # images whose headers one task reads


def infer_task(
    source: ImageSource,
    parts: dict[str, ImagePart],
    classes: tuple[str, ...],
    size: tuple[int, int] | None,
) -> Task:
    """Returns the task of these images, whose size is `size` (height, width) if that is given.

    Reads the header of each image. Raises UserError for images of several sizes without `size`.
    """
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
    if max(height, width) > MOST_SIDE:
        raise UserError(
            f"{source.uri}: found images of {height}x{width}, expected at most {MOST_SIDE} on a "
            "side, or --size HEIGHTxWIDTH"
        )
    fields = {
        "name": name_for(source.uri),
        "classes": list(classes),
        "height": height,
        "width": width,
        "channels": max(info.channels for info in infos),
    }
    return to_task(fields, source.uri)


def _read_all_infos(parts: dict[str, ImagePart], uri: str) -> dict[ImageInfo, str]:
    pieces = (
        (part.cut(start, min(start + INFO_ROWS, part.size)),)
        for part in parts.values()
        for start in range(0, part.size, INFO_ROWS)
    )
    infos: dict[ImageInfo, str] = {}
    looked_at = 0
    total = sum(part.size for part in parts.values())
    with show_count("looking at sizes and colours of", "images", total, lambda: looked_at):
        for images, found in in_parallel(_look, pieces, f"looking at the images of {uri}"):
            looked_at += images
            infos = found | infos
    return infos


def _look(part: ImagePart) -> tuple[int, dict[ImageInfo, str]]:
    return part.size, read_infos(part)
