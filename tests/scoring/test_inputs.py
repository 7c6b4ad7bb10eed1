from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import ray
from pyarrow import fs
from pyarrow import parquet as pq
from ray.cluster_utils import Cluster
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from fmnist.cluster.data_pipelines import data_context
from fmnist.cluster.nodes import NodeAddress
from fmnist.cluster.remote import get_result
from fmnist.data.dataset import Examples
from fmnist.data.formats.parquet import write_part
from fmnist.data.formats.parquet_schema import to_table
from fmnist.errors import UserError
from fmnist.models.classifier import batch_rows
from fmnist.scoring.file_summary import summarize_file
from fmnist.scoring.inputs import Inputs, block_bytes, find_inputs, from_examples
from fmnist.storage.open import open_storage
from fmnist.tasks import FASHION
from tests.support.samples import SHAPES, dataset, examples, write_idx

pytestmark = pytest.mark.usefixtures("ray_cluster")

EXAMPLES = examples(SHAPES, 3100)


def write(path: Path, table: pa.Table, **columns: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    for name, values in columns.items():
        table = table.set_column(table.schema.get_field_index(name), name, values)
    pq.write_table(table, path)
    return path


def read(inputs: Inputs) -> ray.data.Dataset:
    return inputs.reader(np.arange(len(inputs.ids)))()


def rows(data: ray.data.Dataset) -> dict[int, bytes]:
    return {row["id"]: row["image"] for row in data.take_all()}


def test_memory_and_files_are_the_same_inputs(tmp_path: Path) -> None:
    table = to_table(EXAMPLES)
    write(tmp_path / "data/b.parquet", table.slice(0, 1000))
    write(tmp_path / "data/a.parquet", table.slice(1000).select(["image", "id"]))
    memory = from_examples(EXAMPLES, source="memory")
    files = find_inputs(SHAPES, str(tmp_path / "data"))
    assert files.fingerprint == memory.fingerprint
    np.testing.assert_array_equal(files.ids, np.sort(EXAMPLES.ids))
    np.testing.assert_array_equal(files.ids, memory.ids)
    expected = {
        int(number): image.tobytes()
        for number, image in zip(EXAMPLES.ids, EXAMPLES.images, strict=True)
    }
    assert rows(read(files)) == rows(read(memory)) == expected


def test_files_of_which_all_images_are_scored_are_not_read_again(tmp_path: Path) -> None:
    table = to_table(EXAMPLES)
    write(tmp_path / "data/a.parquet", table.slice(0, 1000))
    write(tmp_path / "data/b.parquet", table.slice(1000))
    inputs = find_inputs(SHAPES, str(tmp_path / "data"))
    scored = np.isin(inputs.ids, EXAMPLES.ids[:1001])
    assert sorted(rows(inputs.reader(~scored)())) == sorted(EXAMPLES.ids[1000:])


def test_blocks_are_full_batches_but_for_the_last_of_a_file(tmp_path: Path) -> None:
    many, batch = examples(FASHION, 12_000), batch_rows(FASHION.shape)
    table = to_table(many)
    write(tmp_path / "data/a.parquet", table.slice(0, 7000))
    write(tmp_path / "data/b.parquet", table.slice(7000))
    with data_context() as context:
        context.target_max_block_size = block_bytes(FASHION.shape)
        for inputs in (
            find_inputs(FASHION, str(tmp_path / "data")),
            from_examples(many, source=""),
        ):
            blocks = [len(each["id"]) for each in read(inputs).iter_batches(batch_size=None)]
            assert sum(blocks) == 12_000 and max(blocks) > batch
            assert sum(rows % batch > 0 for rows in blocks) <= 2


def test_a_changed_pixel_or_id_gives_another_fingerprint() -> None:
    images, ids = EXAMPLES.images.copy(), EXAMPLES.ids.copy()
    images[7, 0, 0, 0] ^= 1
    ids[7] += 1
    found = {
        from_examples(Examples(ids=i, images=x, labels=None), source="").fingerprint
        for i, x in [
            (EXAMPLES.ids, EXAMPLES.images),
            (EXAMPLES.ids, images),
            (ids, EXAMPLES.images),
        ]
    }
    assert len(found) == 3


def test_parquet_is_read_from_a_bucket(s3_uri: str) -> None:
    system, folder = open_storage(s3_uri).arrow("data/test")
    write_part(EXAMPLES, system, folder)
    found = find_inputs(SHAPES, f"{s3_uri}/data")
    assert found.fingerprint == from_examples(EXAMPLES, source="").fingerprint
    assert len(rows(read(found))) == len(EXAMPLES)


def test_a_source_without_a_test_part_is_refused(tmp_path: Path) -> None:
    write_part(EXAMPLES, fs.LocalFileSystem(), str(tmp_path / "train"))
    with pytest.raises(UserError, match="has no test part"):
        find_inputs(SHAPES, str(tmp_path))


BAD = {
    "repeated id": (
        {"id": pa.array([4, 5, 6, 2, 7])},
        r"id 2 is in .*a\.parquet row 2 and in .*b\.parquet row 3 \(1 ids",
    ),
    "null id": ({"id": pa.array([4, 5, None, 8, 7])}, r"b\.parquet: column 'id' is null in row 2"),
    "null image": (
        {"image": pa.array([b"x" * 720] * 4 + [None])},
        r"b\.parquet: column 'image' is null in row 4",
    ),
    "short image": (
        {"image": pa.array([b"x" * 720] * 3 + [b"x" * 719] * 2)},
        r"b\.parquet: the image in row 3 has 719 bytes",
    ),
    "other type": (
        {"image": pa.array([b"x" * 720] * 5, pa.large_binary())},
        r"b\.parquet: columns id and image are int64 and large_binary, expected .*a\.parquet",
    ),
    "no integer": ({"id": pa.array([0.5] * 5)}, r"b\.parquet: column 'id' is double"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_named_with_its_row(name: str, tmp_path: Path) -> None:
    columns, message = BAD[name]
    plain = pa.table({"id": np.arange(5), "image": [b"x" * 720] * 5})
    write(tmp_path / "a.parquet", plain, id=pa.array([0, 1, 2, 3, 9]))
    write(tmp_path / "b.parquet", plain, **{"id": pa.array([4, 5, 6, 8, 7]), **columns})
    with pytest.raises(UserError, match=message):
        find_inputs(SHAPES, str(tmp_path))


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", pa.table({"id": np.arange(5)}))
    with pytest.raises(UserError, match=r"a\.parquet: no column 'image'"):
        find_inputs(SHAPES, str(tmp_path))


def test_files_without_rows_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", to_table(EXAMPLES).slice(0, 0))
    with pytest.raises(UserError, match="has no rows"):
        find_inputs(SHAPES, str(tmp_path))


def test_other_formats_are_loaded(tmp_path: Path) -> None:
    write_idx(tmp_path, dataset(FASHION))
    found = find_inputs(FASHION, str(tmp_path))
    assert len(found.ids) == 15 and str(tmp_path) in found.source


def test_a_folder_that_only_the_driver_has(ray_cluster: Cluster, tmp_path: Path) -> None:
    """A task on another node looks for a file that is missing there."""
    (other,) = ray_cluster.worker_nodes
    there = NodeAffinitySchedulingStrategy(other.node_id, soft=False)
    survey = ray.remote(scheduling_strategy=there)(summarize_file)
    path, here = str(tmp_path / "part.parquet"), NodeAddress.here()
    error = rf"^{path}: node {here.address} finds no .*, which node {here.address} has, .* share"
    with pytest.raises(UserError, match=error):
        get_result(survey.remote(fs.LocalFileSystem(), path, SHAPES, here), "looking")
