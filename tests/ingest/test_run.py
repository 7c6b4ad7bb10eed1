"""Ingests image files and encoded Parquet on a real Ray, and checks the raw shards."""

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from fmnist.data.dataset import Dataset
from fmnist.data.load import load
from fmnist.data.locations import locate
from fmnist.errors import UserError
from fmnist.ingest import shards
from fmnist.ingest.plan import Ingestion, find_images, plan_ingestion
from fmnist.ingest.run import QUARANTINE, ingest
from fmnist.ingest.source import ImageSource
from fmnist.storage.lease import Lease, LeaseLost
from fmnist.storage.manifest import Manifest, publish_keys
from fmnist.storage.open import Storage, open_storage
from fmnist.tasks import Task
from tests.ingest.pictures import encoded, write_flat, write_pictures
from tests.support.samples import dataset

STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])  # of Hugging Face
GREY = Task(name="grey", classes=("a", "b", "c"), shape=(6, 5, 1))

pytestmark = pytest.mark.usefixtures("ray_cluster")


def class_names(names: Any) -> dict[str, str]:
    """The metadata in which Hugging Face keeps the names of the classes."""
    label = {"names": names, "_type": "ClassLabel"}
    return {"huggingface": json.dumps({"info": {"features": {"label": label}}})}


def source_at(place: str) -> ImageSource:
    source = find_images(locate(place))
    assert source is not None
    return source


def ingested(place: str, storage: Storage, **settings: Any) -> Manifest:
    return ingest(plan_ingestion(source_at(place), Ingestion(**settings)), storage)


def reread(storage: Storage, manifest: Manifest, task: Task) -> Dataset:
    return load(task, f"{storage.uri}/datasets/{manifest.id}")


@pytest.fixture
def data() -> Dataset:
    return dataset(GREY, train=50, test=20)


def same(found: Dataset, data: Dataset) -> None:
    for one, other in ((found.train, data.train), (found.test, data.test)):
        assert one is not None and other is not None
        assert (one.images == other.images).all() and (one.labels == other.labels).all()
        assert (one.ids == np.arange(len(other))).all()


def test_numbered_files_with_labels_are_the_same_examples_in_their_order(
    data: Dataset, storage_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "MOST_ROWS", 16)
    assert data.train is not None and data.test is not None
    write_flat(tmp_path / "pictures" / "train", data.train)
    write_flat(tmp_path / "pictures" / "test", data.test)
    storage = open_storage(storage_uri)
    manifest = ingested(str(tmp_path / "pictures"), storage, task=GREY)
    same(reread(storage, manifest, GREY), data)
    assert len(manifest.files) == 4 + 2 and manifest.details["left_out"] == 0
    assert ingested(str(tmp_path / "pictures"), storage, task=GREY) == manifest


def test_hugging_faces_layout_is_the_same_examples_in_their_order(
    data: Dataset, tmp_path: Path
) -> None:
    (tmp_path / "hub").mkdir()
    for name, part in (("train", data.train), ("test", data.test)):
        assert part is not None and part.labels is not None
        images = [{"bytes": encoded(image[:, :, 0]), "path": None} for image in part.images]
        table = pa.table({"image": pa.array(images, STRUCT), "label": part.labels})
        if name == "train":  # a test part may have lost them
            table = table.replace_schema_metadata(class_names(GREY.classes))
        path = tmp_path / "hub" / f"{name}-00000-of-00001.parquet"
        pq.write_table(table, path, row_group_size=7)
    storage = open_storage(str(tmp_path / "results"))
    manifest = ingested(str(tmp_path / "hub"), storage)
    task = {"name": "hub", "classes": ["a", "b", "c"], "shape": [6, 5, 1]}
    assert manifest.details["task"] == task
    same(
        reread(storage, manifest, Task(name="hub", classes=("a", "b", "c"), shape=(6, 5, 1))), data
    )


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a", "c", "b"], r"test\.parquet: its classes are \('a', 'c', 'b'\), expected \('a'"),
        (3, ""),
    ],
)
def test_names_of_the_test_parts_classes_are_those_of_training(
    names: Any, expected: str, tmp_path: Path
) -> None:
    for part, known in (("train", list(GREY.classes)), ("test", names)):
        image = {"bytes": encoded(np.zeros((6, 5), np.uint8)), "path": None}
        table = pa.table({"image": pa.array([image], STRUCT), "label": [2]})
        table = table.replace_schema_metadata(class_names(known))
        pq.write_table(table, tmp_path / f"{part}.parquet")
    if expected:
        with pytest.raises(UserError, match=expected):
            find_images(locate(str(tmp_path)))
    else:
        source = find_images(locate(str(tmp_path)))
        assert source is not None and source.classes == GREY.classes


def test_columns_of_one_name_are_one_error(tmp_path: Path) -> None:
    image, two = encoded(np.zeros((6, 5), np.uint8)), pa.schema([("label", pa.int64())] * 2)
    schema = pa.schema([("image", pa.binary()), *two])
    table = pa.Table.from_arrays([pa.array([image]), pa.array([1]), pa.array([2])], schema=schema)
    pq.write_table(table, tmp_path / "encoded.parquet")
    with pytest.raises(UserError, match=r"encoded\.parquet: 2 columns 'label', expected one"):
        find_images(locate(str(tmp_path)))
    schema = pa.schema([("image", pa.binary()), ("id", pa.int64()), ("id", pa.int64())])
    table = pa.Table.from_arrays([pa.array([bytes(30)]), [1], [2]], schema=schema)
    pq.write_table(table, tmp_path / "raw.parquet")
    assert find_images(locate(str(tmp_path / "raw.parquet"))) is None  # its own reader says why


def test_an_image_that_is_refused_is_no_raw_one(tmp_path: Path) -> None:
    file = io.BytesIO()
    Image.new("CMYK", (5, 6)).save(file, "JPEG")
    pq.write_table(pa.table({"image": [file.getvalue()]}), tmp_path / "print.parquet")
    storage = open_storage(str(tmp_path / "results"))
    with pytest.raises(UserError, match=r"print\.parquet row 0: its colours are CMYK"):
        ingested(str(tmp_path / "print.parquet"), storage, task=GREY)


def test_files_without_rows_are_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"image": pa.array([], STRUCT)}), tmp_path / "empty.parquet")
    storage = open_storage(str(tmp_path / "results"))
    with pytest.raises(UserError, match=r"empty\.parquet: its files have no rows"):
        ingested(str(tmp_path / "empty.parquet"), storage, task=GREY)
    assert storage.keys() == []


def write_parquet(path: Path, ids: list[Any]) -> None:
    """Writes encoded images with these ids; each has its own shade."""
    images = [encoded(np.full((6, 5), shade, np.uint8)) for shade in range(len(ids))]
    path.parent.mkdir(exist_ok=True)
    pq.write_table(pa.table({"id": ids, "image": images}), path, row_group_size=2)


@pytest.mark.parametrize("rows", [2, 5_000])
@pytest.mark.parametrize("ids", [["z", "b/1.png", "ä"], [70, 3, 50]])
def test_ids_in_parquet_are_the_images_names(
    ids: list[Any], rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "MOST_ROWS", rows)  # the first shards end within the files
    write_parquet(tmp_path / "hub" / "test-0.parquet", ids)
    write_parquet(tmp_path / "hub" / "test-1.parquet", ["c", "d"] if "z" in ids else [1, 2])
    storage = open_storage(str(tmp_path / "results"))
    manifest = ingested(str(tmp_path / "hub"), storage, task=GREY)
    table = pq.read_table(tmp_path / "results/datasets" / manifest.id / "test")
    expected = [*map(str, ids), *(["c", "d"] if "z" in ids else ["1", "2"])]
    assert table["name"].to_pylist() == expected
    assert table["id"].to_pylist() == list(range(5))
    assert [image[0] for image in table["image"].to_pylist()] == [0, 1, 2, 0, 1]


@pytest.mark.parametrize("first", ["no rows", "a null", "a large struct"])
def test_encoded_images_are_recognized_whatever_comes_first(first: str, tmp_path: Path) -> None:
    images = [encoded(np.full((6, 5), shade, np.uint8)) for shade in range(3)]
    place, kind = tmp_path / "hub", pa.binary()
    place.mkdir()
    if first == "a large struct":
        kind = pa.struct([("bytes", pa.large_binary()), ("path", pa.large_string())])
        rows: list[Any] = [{"bytes": image, "path": None} for image in images]
    else:
        rows = [None, *images] if first == "a null" else images
    if first == "no rows":
        pq.write_table(pa.table({"image": pa.array([], kind)}), place / "test-0.parquet")
    pq.write_table(pa.table({"image": pa.array(rows, kind)}), place / "test-1.parquet")
    storage = open_storage(str(tmp_path / "results"))
    manifest = ingested(str(place), storage, task=GREY, max_bad_rows=1)
    assert manifest.details["left_out"] == (first == "a null")
    table = pq.read_table(tmp_path / "results/datasets" / manifest.id / "test")
    assert [image[0] for image in table["image"].to_pylist()] == [0, 1, 2]


def test_a_single_file_is_of_the_part_that_its_own_name_says(tmp_path: Path) -> None:
    for name, part in (("photos.parquet", "test"), ("train-0.parquet", "train")):
        write_parquet(tmp_path / "train" / name, ["a"])
        source = find_images(locate(str(tmp_path / "train" / name)))
        assert source is not None and list(source.parts) == [part]


def test_images_to_train_on_and_the_same_to_score_are_two_data_sets(tmp_path: Path) -> None:
    write_pictures(tmp_path / "p", [f"{name}/{i}.png" for name in "ab" for i in range(2)])
    source = source_at(str(tmp_path / "p"))
    storage, settings = open_storage(str(tmp_path / "results")), Ingestion(task=GREY)
    for each, part in ((source, "train"), (source.to_score(), "test")):
        assert ingest(plan_ingestion(each, settings), storage).details["images"] == {part: 4}


def write_raw(path: Path, images: list[bytes]) -> None:
    """Writes raw images with text as ids, and names of classes as labels."""
    names = [f"shop/{row}" for row in reversed(range(len(images)))]
    labels = [GREY.classes[row % 3] for row in range(len(images))]
    pq.write_table(pa.table({"id": names, "image": images, "label": labels}), path)


def test_raw_images_with_text_as_ids_keep_pixels_order_and_names(tmp_path: Path) -> None:
    images = [bytes([shade]) * 30 for shade in range(5)]
    write_raw(tmp_path / "named.parquet", images)
    manifest = ingested(
        str(tmp_path / "named.parquet"), open_storage(str(tmp_path / "results")), task=GREY
    )
    (shard,) = tmp_path.glob(f"results/datasets/{manifest.id}/test/*.parquet")
    assert pq.read_table(shard).to_pydict() == {
        "id": [0, 1, 2, 3, 4],
        "name": ["shop/4", "shop/3", "shop/2", "shop/1", "shop/0"],
        "image": images,
        "label": [0, 1, 2, 0, 1],
    }


def test_a_raw_image_of_another_size_is_named(tmp_path: Path) -> None:
    write_raw(tmp_path / "named.parquet", [bytes(30), bytes(29)])
    storage = open_storage(str(tmp_path / "results"))
    with pytest.raises(UserError, match=r"named\.parquet row 1: it has 29 bytes, expected 30 \(6"):
        ingested(str(tmp_path / "named.parquet"), storage, task=GREY)
    assert not [key for key in storage.keys("datasets") if key.endswith("manifest.json")]


def test_images_to_score_need_no_labels(tmp_path: Path) -> None:
    images = [encoded(np.full((6, 5), shade, np.uint8)) for shade in range(2)]
    pq.write_table(pa.table({"image": images, "label": ["a", None]}), tmp_path / "test.parquet")
    storage = open_storage(str(tmp_path / "results"))
    with pytest.raises(UserError, match=r"test\.parquet row 1: its label is null"):
        ingested(str(tmp_path / "test.parquet"), storage, task=GREY)
    source = source_at(str(tmp_path / "test.parquet"))
    manifest = ingest(plan_ingestion(source.to_score(), Ingestion(task=GREY)), storage)
    assert manifest.details["images"] == {"test": 2}


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (["a", "b", "a"], r"test-0\.parquet row 2: found the id 'a' for the second time"),
        (["a", None], r"test-0\.parquet: column 'id' is null in row 1, expected a value"),
        ([0.5, 1.5], r"test-0\.parquet: column 'id' is double, expected integers or strings"),
    ],
)
def test_ids_that_name_nothing_are_refused(ids: list[Any], message: str, tmp_path: Path) -> None:
    write_parquet(tmp_path / "hub" / "test-0.parquet", ids)
    with pytest.raises(UserError, match=message):
        find_images(locate(str(tmp_path / "hub")))


def test_classes_channels_and_size_are_inferred(tmp_path: Path) -> None:
    write_pictures(tmp_path / "my photos", ["dog/1.png", "cat/2.png", "cat/3.png", "dog/4.png"])
    colour = np.zeros((6, 5, 3), np.uint8)
    (tmp_path / "my photos" / "cat" / "5.jpg").write_bytes(encoded(colour, "JPEG"))
    (tmp_path / "my photos" / "dog" / "6.bmp").write_bytes(encoded(colour, "BMP"))
    storage = open_storage(str(tmp_path / "results"))
    manifest = ingested(str(tmp_path / "my photos"), storage, test=0.34)
    task = {"name": "my-photos", "classes": ["cat", "dog"], "shape": [6, 5, 3]}
    assert manifest.details["task"] == task
    assert manifest.details["images"] == {"train": 3, "test": 3}


def test_several_sizes_need_a_size(tmp_path: Path) -> None:
    write_pictures(tmp_path / "p", ["dog/1.png", "cat/2.png"])
    write_pictures(tmp_path / "p", ["cat/3.png"], size=(9, 4))
    storage = open_storage(str(tmp_path / "results"))
    with pytest.raises(UserError, match=r"2 sizes: 6x5 \(.*\), 9x4 \(.*cat/3.png\)"):
        ingested(str(tmp_path / "p"), storage)
    assert storage.keys() == []
    manifest = ingested(str(tmp_path / "p"), storage, size=(4, 4))
    assert manifest.details["task"]["shape"] == [4, 4, 1]


def test_bad_images_end_the_job_or_are_listed(tmp_path: Path) -> None:
    write_pictures(tmp_path / "p", [f"{name}/{i}.png" for name in ("cat", "dog") for i in range(4)])
    (tmp_path / "p" / "cat" / "1.png").write_text("just text")
    data = (tmp_path / "p" / "dog" / "2.png").read_bytes()
    (tmp_path / "p" / "dog" / "2.png").write_bytes(data[:-30])
    storage = open_storage(str(tmp_path / "results"))
    with pytest.raises(UserError, match=r"cat/1\.png: it is no image in PNG or"):
        ingested(str(tmp_path / "p"), storage)
    with pytest.raises(UserError, match="expected at most 1 images"):
        ingested(str(tmp_path / "p"), storage, max_bad_rows=1)
    assert not any(key.endswith("manifest.json") for key in storage.keys(""))
    manifest = ingested(str(tmp_path / "p"), storage, max_bad_rows=2)
    assert manifest.details["left_out"] == 2
    folder = f"datasets/{manifest.id}"
    listed = pq.read_table(io.BytesIO(storage.read(f"{folder}/{QUARANTINE}"))).to_pylist()
    assert [(each["part"], each["row"]) for each in listed] == [("train", 2), ("train", 5)]
    assert listed[0]["name"].endswith("cat/1.png") and "can't be decoded" in listed[1]["reason"]
    task = Task(name="p", classes=("cat", "dog"), shape=(6, 5, 1))
    found = reread(storage, manifest, task).train
    assert found is not None and found.ids.tolist() == [0, 1, 3, 4, 6, 7]


def test_parquet_of_a_third_part_is_ignored_beside_others_and_else_all_is_test(
    tmp_path: Path,
) -> None:
    for name in ("test-0.parquet", "train-0.parquet", "validation-0.parquet"):
        write_parquet(tmp_path / name, ["a", "b"])
    source = find_images(locate(str(tmp_path)))
    assert source is not None and source.ignored == ["validation-0.parquet"]
    assert {name: part.size for name, part in source.parts.items()} == {"train": 2, "test": 2}
    for name in ("test-0.parquet", "train-0.parquet"):
        (tmp_path / name).unlink()
    source = find_images(locate(str(tmp_path)))
    assert source is not None and not source.ignored and source.parts["test"].size == 2


@pytest.mark.parametrize("files", ["train/a/5.png", "train-1.parquet"])
def test_what_can_not_be_read_now_is_no_bad_image(
    files: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "MOST_ROWS", 2)
    place, away = tmp_path / "p", tmp_path / "away"
    if files.endswith("png"):
        write_pictures(place, [f"train/{name}/{i}.png" for name in "ab" for i in range(6)])
    else:
        for number in range(2):
            write_parquet(place / f"train-{number}.parquet", [number * 3 + row for row in range(3)])
    source = source_at(str(place))
    plan = plan_ingestion(source, Ingestion(task=GREY, max_bad_rows=10))
    storage = open_storage(str(tmp_path / "results"))
    (place / files).rename(away)
    with pytest.raises(UserError, match=rf"p/{files}: no such file"):
        ingest(plan, storage)
    away.rename(place / files)
    assert ingest(plan, storage).details["left_out"] == 0


def test_parquet_that_gets_shorter_meanwhile_is_refused(tmp_path: Path) -> None:
    write_parquet(tmp_path / "hub" / "test.parquet", ["a", "b", "c"])
    source = source_at(str(tmp_path / "hub"))
    write_parquet(tmp_path / "hub" / "test.parquet", ["a", "b"])
    storage = open_storage(str(tmp_path / "results"))
    expected = r"test\.parquet row 0 and after it: found 2 images, expected 3: the file changed"
    with pytest.raises(UserError, match=expected):
        ingest(plan_ingestion(source, Ingestion(task=GREY)), storage)
    assert not any(key.endswith(".parquet") for key in storage.keys(""))


def test_shards_of_files_that_went_are_not_found_when_they_are_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "MOST_ROWS", 1)
    write_pictures(tmp_path / "p", ["a/1.png", "b/2.png"])
    source = source_at(str(tmp_path / "p"))
    plan, storage = plan_ingestion(source, Ingestion(task=GREY)), open_storage(str(tmp_path / "s"))
    write_pictures(tmp_path / "p", ["a/1.png"], size=(3, 3))  # is decoded before the other fails
    (tmp_path / "p" / "b" / "2.png").unlink()
    with pytest.raises(UserError, match=r"b/2\.png: no such file"):
        ingest(plan, storage)
    assert not any(key.endswith(".parquet") for key in storage.keys("datasets"))


def test_a_job_that_lost_its_lease_deletes_nothing_that_was_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pictures(tmp_path / "p", ["a/1.png", "b/2.png"])
    source = source_at(str(tmp_path / "p"))
    storage = open_storage(str(tmp_path / "results"))
    stamp_now, published = source.stamp_now, []

    def changed_meanwhile() -> str:
        """While this job looks, another one publishes the same, and then a file is added."""
        names = [key.removeprefix(f"{plan.folder}/") for key in storage.keys(plan.folder)]
        shards = [name for name in names if name.endswith(".parquet")]
        settings: dict[str, Any] = {"kind": "dataset", "id": plan.id, "details": {"task": {}}}
        published.append(publish_keys(storage, plan.folder, shards, **settings))
        write_pictures(tmp_path / "p", ["b/3.png"])
        return stamp_now()

    plan = plan_ingestion(replace(source, stamp_now=changed_meanwhile), Ingestion(task=GREY))
    with pytest.raises(UserError, match="changed while it was read"):
        ingest(plan, storage)
    (manifest,) = published
    assert manifest.files
    for entry in manifest.files.values():
        assert storage.digest(f"{plan.folder}/{entry.path}").sha256 == entry.sha256


def test_an_unreadable_shard_of_an_earlier_attempt_is_one_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pictures(tmp_path / "p", ["a/1.png", "b/2.png"])
    source = source_at(str(tmp_path / "p"))
    plan, storage = plan_ingestion(source, Ingestion(task=GREY)), open_storage(str(tmp_path / "s"))
    storage.write(f"{plan.folder}/train/part-00000.parquet", b"PAR1 and no footer")
    with pytest.raises(UserError, match=r"train/part-00000\.parquet: "):
        ingest(plan, storage)


def test_who_has_lost_the_lease_takes_what_the_other_job_has_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pictures(tmp_path / "p", ["a/1.png", "b/2.png"])
    source = source_at(str(tmp_path / "p"))
    plan, storage = plan_ingestion(source, Ingestion()), open_storage(str(tmp_path / "results"))

    def lost(lease: Lease) -> None:
        publish_keys(
            storage, plan.folder, [], kind="dataset", id=plan.id, details={"by": "the other job"}
        )
        raise LeaseLost("another job has it")

    monkeypatch.setattr(Lease, "check", lost)
    assert ingest(plan, storage).details == {"by": "the other job"}


def test_what_was_written_before_a_kill_is_not_decoded_again(
    data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "MOST_ROWS", 16)
    assert data.train is not None
    write_flat(tmp_path / "p", data.train)
    storage = open_storage(str(tmp_path / "results"))
    whole = ingested(str(tmp_path / "p"), storage, task=GREY)
    folder = f"datasets/{whole.id}"
    for name in ("manifest.json", "train/part-00001.parquet"):
        storage.delete(f"{folder}/{name}")
    before = storage.modification_times(folder)
    again = ingested(str(tmp_path / "p"), storage, task=GREY)
    assert again.files == whole.files
    after = storage.modification_times(folder)
    kept = f"{folder}/train/part-00000.parquet"
    assert after[kept] == before[kept]


def test_a_label_that_is_no_class_names_the_image(tmp_path: Path) -> None:
    write_pictures(tmp_path / "p", ["train/a/1.png", "train/b/2.png", "test/bird/3.png"])
    storage = open_storage(str(tmp_path / "results"))
    with pytest.raises(
        UserError, match=r"bird/3\.png: its label is 'bird', expected a class: a, b"
    ):
        ingested(str(tmp_path / "p"), storage)


def test_files_that_change_meanwhile_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pictures(tmp_path / "p", ["a/1.png", "b/2.png"])
    source = source_at(str(tmp_path / "p"))
    write_pictures(tmp_path / "p", ["b/3.png"])
    storage = open_storage(str(tmp_path / "results"))
    with pytest.raises(UserError, match="changed while it was read"):
        ingest(plan_ingestion(source, Ingestion()), storage)
    # A shard of the changed files would be taken for one of these, should they come back.
    assert not any(key.endswith((".json", ".parquet")) for key in storage.keys("datasets"))
