"""Finds the images at a place, and plans their ingestion: parts, classes, labels and id."""

from dataclasses import dataclass

import numpy as np
import PIL

from fmnist.data.load import find_formats
from fmnist.data.locations import Location
from fmnist.errors import UserError
from fmnist.ingest.classes import find_classes, label_numbers
from fmnist.ingest.decode import RULES
from fmnist.ingest.encoded_parquet import find_parquet_images
from fmnist.ingest.folder import find_image_files
from fmnist.ingest.source import ImagePart, ImageSource
from fmnist.ingest.split import split_test
from fmnist.storage.manifest import content_id
from fmnist.tasks import Task


@dataclass(frozen=True, kw_only=True)
class Ingestion:
    """Settings: `task` or `size` (height, width) give the shape of the images, if anything does.

    `test` is the share of a source without a test part that becomes one, by class. At most
    `max_bad_rows` images that can't be used are left out.
    """

    task: Task | None = None
    size: tuple[int, int] | None = None
    test: float = 0.0
    max_bad_rows: int = 0


def find_images(location: Location) -> ImageSource | None:
    """Images that must become shards first: image files, encoded images, raw ones with names.

    None where there are none of them, as for other files of a raw format.

    A `train.csv` counts as the competition's only if there is no folder `train` with images.
    """
    if location.filesystem is None:
        return None
    if location.is_file():
        return find_parquet_images(location)
    location = location.listed_once()
    formats = find_formats(location)
    if formats == ["parquet"]:
        return find_parquet_images(location)
    if formats in ([], ["csv"]):
        return find_image_files(location, parts_only=bool(formats))
    return None


@dataclass(frozen=True, kw_only=True, eq=False)
class IngestionPlan:
    """Everything about an ingestion that is known before an image is read."""

    source: ImageSource
    settings: Ingestion
    parts: dict[str, ImagePart]
    classes: tuple[str, ...]
    labels: dict[str, np.ndarray | None]  # (n,) int64 of each part
    id: str

    @property
    def folder(self) -> str:
        """Folder in the storage root that holds the decoded images."""
        return f"datasets/{self.id}"


def plan_ingestion(source: ImageSource, settings: Ingestion) -> IngestionPlan:
    """Splits off the test part, and finds the classes; Ray need not be running.

    Raises UserError for a source without images or one that can't be split, and for labels that
    are no class.
    """
    if not any(part.size for part in source.parts.values()):
        raise UserError(f"{source.uri}: its files have no rows, expected images")
    for part in source.parts.values():
        if part.labels is not None and None in part.labels:
            name = part.name(part.labels.index(None))
            raise UserError(f"{name}: its label is null, expected a class")
    parts = split_test(source, settings.test)
    classes = settings.task.classes if settings.task else find_classes(source)
    return IngestionPlan(
        source=source,
        settings=settings,
        parts=parts,
        classes=classes,
        labels={name: label_numbers(part, classes) for name, part in parts.items()},
        id=_identity(source, settings),
    )


def _identity(source: ImageSource, settings: Ingestion) -> str:
    task = settings.task.details if settings.task else None
    purpose = ["to score"] if source.scored else []  # other parts than those to train on
    return content_id(
        RULES, PIL.__version__, source.uri, source.stamp, task, settings.size, settings.test,
        settings.max_bad_rows, *purpose,
    )  # fmt: skip
