"""The real Fashion-MNIST in the forms in which others publish it: each is the same data set."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fmnist.data.dataset import Dataset
from fmnist.data.load import load
from fmnist.data.locations import locate
from fmnist.ingest.plan import Ingestion, find_images, plan_ingestion
from fmnist.ingest.run import ingest
from fmnist.storage.open import open_storage
from fmnist.tasks import FASHION
from tests.ingest.pictures import encoded, write_flat

pytestmark = pytest.mark.usefixtures("ray_cluster")


def parts(dataset: Dataset):
    return (("train", dataset.train), ("test", dataset.test))


def write_files(folder: Path, dataset: Dataset) -> None:
    """70,000 PNG files whose names keep the order, with their labels as CSV."""
    for name, part in parts(dataset):
        write_flat(folder / name, part)


def write_hugging_face(folder: Path, dataset: Dataset) -> None:
    """Two Parquet files as in Hugging Face's `zalando-datasets/fashion_mnist`."""
    features = {
        "image": {"_type": "Image"},
        "label": {"names": list(FASHION.classes), "_type": "ClassLabel"},
    }
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    schema = pa.schema([("image", kind), ("label", pa.int64())])
    schema = schema.with_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    folder.mkdir()
    for name, part in parts(dataset):
        images = [{"bytes": encoded(image[:, :, 0]), "path": None} for image in part.images]
        table = pa.table({"image": images, "label": part.labels}, schema=schema)
        pq.write_table(table, folder / f"{name}-00000-of-00001.parquet", row_group_size=1000)


@pytest.mark.parametrize("write", [write_files, write_hugging_face])
def test_the_same_images_are_the_same_data_set(write, fashion: Dataset, tmp_path: Path) -> None:
    """One fingerprint means one run id: a run that was trained on one of them serves all."""
    write(tmp_path / "images", fashion)
    location, storage = locate(str(tmp_path / "images")), open_storage(str(tmp_path / "results"))
    source = find_images(location)
    manifest = ingest(plan_ingestion(source, Ingestion(task=FASHION)), storage)
    assert manifest.details["images"] == {"train": 60_000, "test": 10_000}
    found = load(FASHION, f"{storage.uri}/datasets/{manifest.id}")
    assert found.fingerprint == fashion.fingerprint
    assert (found.train.images == fashion.train.images).all()
