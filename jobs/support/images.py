"""Image files for jobs: decoded into the storage once, and described to the user."""

import logging
from dataclasses import dataclass, replace

from fmnist.data.dataset import Dataset
from fmnist.data.load import load
from fmnist.data.locations import OFFICIAL, Location, locate
from fmnist.errors import UserError
from fmnist.ingest.classes import class_numbers, name_for
from fmnist.ingest.plan import Ingestion, IngestionPlan, find_images, plan_ingestion
from fmnist.ingest.run import QUARANTINE, ingest
from fmnist.ingest.source import ImageSource
from fmnist.stages import stage
from fmnist.storage.manifest import Manifest, read_manifest
from fmnist.storage.open import Storage
from fmnist.tasks import Task, find_task, task_from_details
from jobs.support.connect import ensure_ray
from jobs.support.flags import DEFAULT_TASK, SIZE, ImageFlags

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Data:
    """Raw images at a place, which is OFFICIAL or a location; `source` is for people."""

    task: Task
    place: str | Location
    source: str | None = None  # of images that were decoded

    def __str__(self) -> str:
        return self.place.uri if isinstance(self.place, Location) else self.place

    def load(self) -> Dataset:
        """All of them, in memory."""
        with stage("reading the data"):
            dataset = load(self.task, self.place)
        return replace(dataset, source=self.source) if self.source else dataset


def find_data(
    place: str,
    task: Task | None,
    flags: ImageFlags,
    storage: Storage,
    *,
    scored: bool = False,
    default_task: str = DEFAULT_TASK,
    dry_run: bool = False,
    unchecked: bool = False,
) -> Data:
    """Image files at `place` are decoded, unless they were before; raw formats stay as they are.

    Without a task it is that of the images, or for raw formats the `default_task`. If they are to
    be `scored`, all are of the test part. Raises UserError for what `ingest` raises it, and in a
    `dry_run`, which writes nothing, for images that were not decoded before. With `unchecked`, the
    storage was not checked yet, and is before images are decoded into it.
    """
    location = None if place == OFFICIAL else locate(place)
    with stage("looking for image files"):
        source = find_images(location) if location else None
    if location is None or source is None:
        if scored:  # the limit may be meant for the images that were trained on
            flags = replace(flags, max_bad_rows=0)
        if flags != ImageFlags():
            raise UserError(
                f"{place}: found no image files, for which --size, --test and --max-bad-rows are"
            )
        return Data(task=task or find_task(default_task), place=location or OFFICIAL)
    warn_of_ignored(place, source)
    if scored and task:
        warn_of_other_classes(place, source, task)
    if source.raw:
        if flags.size:
            raise UserError(f"{place}: its images are raw, found --size, which is for image files")
        task = task or find_task(default_task)
    plan = plan_ingestion(source.to_score() if scored else source, _settings(task, flags))
    if dry_run:
        _check_decoded(place, plan, storage)
    if unchecked and not read_manifest(storage, plan.folder):
        storage.check(writable=True)
    ensure_ray()
    manifest = ingest(plan, storage)
    decoded = locate(f"{storage.uri}/{plan.folder}")
    found = task or task_from_details(manifest.details["task"], decoded.uri)
    print(_described(manifest, found))
    left_out = manifest.details["left_out"]
    return Data(
        task=found,
        place=decoded,
        source=f"images at {place}" + (f", {left_out} left out" if left_out else ""),
    )


def warn_of_ignored(place: str, source: ImageSource) -> None:
    """Warns of images beside those of train and test, which no job uses."""
    if source.ignored:
        some = ", ".join(source.ignored[:5]) + (", …" if len(source.ignored) > 5 else "")
        log.warning("%s: ignores %s, which is neither train nor test", place, some)


def warn_of_other_classes(place: str, source: ImageSource, task: Task) -> None:
    """Warns of images whose folders or labels are classes, but none of the model's."""
    part = source.parts.get("test") or source.parts["train"]
    found = set(part.labels or ()) - {None}
    if found and not found & class_numbers(task.classes).keys():
        log.warning(
            "%s: its classes (%s) are none of the model's (%s), which it gives to the images",
            place,
            ", ".join(sorted(map(str, found))[:5]),
            ", ".join(task.classes[:5]),
        )


def _check_decoded(place: str, plan: IngestionPlan, storage: Storage) -> None:
    if not read_manifest(storage, plan.folder):
        raise UserError(
            f"{place}: its images are not decoded yet, and --dry-run writes nothing; expected "
            "images that `jobs.export` or another job has decoded into the storage"
        )


def find_task_name(place: str) -> str:
    """Name of the task of a run that was trained on this data without `--task`."""
    source = None if place == OFFICIAL else find_images(locate(place))
    return name_for(place) if source and not source.raw else DEFAULT_TASK


def _settings(task: Task | None, flags: ImageFlags) -> Ingestion:
    found = SIZE.fullmatch(flags.size) if flags.size else None
    return Ingestion(
        task=task,
        size=(int(found[1]), int(found[2])) if found else None,
        test=flags.test,
        max_bad_rows=flags.max_bad_rows,
    )


def _described(manifest: Manifest, task: Task) -> str:
    height, width, channels = task.shape
    counts = manifest.details["images"]
    parts = " and ".join(
        f"{counts[part]:,} to {purpose}"
        for part, purpose in (("train", "train on"), ("test", "test"))
        if part in counts
    )
    classes = ", ".join(task.classes[:10]) + (", …" if len(task.classes) > 10 else "")
    text = (
        f"images at {manifest.details['source']}: {parts}\n  {height} × {width} pixels, "
        f"{'grey' if channels == 1 else 'colour'}; {len(task.classes)} classes: {classes}"
    )
    left_out = manifest.details["left_out"]
    return text + (f"; {left_out} of them left out ({QUARANTINE})" if left_out else "")
