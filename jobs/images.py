"""Image files for jobs: decoded into the storage once, and described to the user."""

from dataclasses import dataclass, replace

from fmnist.data.dataset import Dataset
from fmnist.data.load import load
from fmnist.data.locations import locate
from fmnist.errors import UserError
from fmnist.ingest.run import Ingestion, find_images, ingest, plan_ingestion
from fmnist.storage.manifest import Manifest
from fmnist.storage.open import Storage
from fmnist.tasks import Task, find_task, to_task
from jobs.connect import ensure_ray
from jobs.flags import DEFAULT_TASK, SIZE, ImageFlags, check_images


@dataclass(frozen=True, kw_only=True)
class Data:
    """Raw images that can be loaded from `place`, a path or URI; `source` is for people."""

    task: Task
    place: str
    source: str | None = None  # of images that were decoded

    def load(self) -> Dataset:
        """All of them, in memory."""
        dataset = load(self.task, self.place)
        return replace(dataset, source=self.source) if self.source else dataset


def find_data(
    place: str, task: Task | None, flags: ImageFlags, storage: Storage, *, scored: bool = False
) -> Data:
    """Image files at `place` are decoded, unless they were before; raw formats stay as they are.

    Without a task, classes, size and channels are those of the images. If they are to be `scored`,
    all are of the test part, whatever their labels. Raises UserError for what `ingest` raises it.
    """
    check_images(flags)
    location = None if place == "auto" else locate(place)
    source = find_images(location) if location else None
    if location is None or source is None:
        if flags != ImageFlags():
            raise UserError(
                f"{place}: found no image files, for which --size, --test and --max-bad-rows are"
            )
        return Data(task=task or find_task(DEFAULT_TASK), place=place)
    if scored:
        source = source.to_score()
    settings = Ingestion(
        task=task, size=_parse_size(flags.size), test=flags.test, max_bad_rows=flags.max_bad_rows
    )
    plan = plan_ingestion(source, settings)
    ensure_ray()
    manifest = ingest(location, plan, storage)
    found = task or _task_of(manifest, f"{storage.uri}/datasets/{manifest.id}")
    print(_described(manifest, found))
    left_out = manifest.details["left_out"]
    return Data(
        task=found,
        place=f"{storage.uri}/datasets/{manifest.id}",
        source=f"images at {place}" + (f", {left_out} left out" if left_out else ""),
    )


def _parse_size(text: str | None) -> tuple[int, int] | None:
    found = SIZE.fullmatch(text) if text else None
    return (int(found[1]), int(found[2])) if found else None


def _task_of(manifest: Manifest, where: str) -> Task:
    fields = manifest.details["task"]
    height, width, channels = fields["shape"]
    sides = {"height": height, "width": width, "channels": channels}
    return to_task({"name": fields["name"], "classes": fields["classes"], **sides}, where)


def _described(manifest: Manifest, task: Task) -> str:
    height, width, channels = task.shape
    parts = " and ".join(
        f"{count:,} to {'train on' if part == 'train' else 'test'}"
        for part, count in manifest.details["images"].items()
    )
    classes = ", ".join(task.classes[:10]) + (", …" if len(task.classes) > 10 else "")
    text = (
        f"images at {manifest.details['source']}: {parts}; {height} × {width} pixels, "
        f"{'grey' if channels == 1 else 'colour'}; {len(task.classes)} classes: {classes}"
    )
    left_out = manifest.details["left_out"]
    return text + (f"; {left_out} left out (quarantine.parquet)" if left_out else "")
