from pathlib import Path

import numpy as np
import pytest
from pyarrow import fs

from fmnist.data.dataset import Dataset, Examples
from fmnist.data.formats.competition_csv import read_csv, write_csv
from fmnist.data.locations import locate
from fmnist.errors import UserError
from fmnist.tasks import Task

TASK = Task(name="tiny", classes=("a", "b"), shape=(1, 2, 2))
GOOD = "Id,Label,0,1,2,3\n7,1,0,255,3,4\n9,0,5,6,7,8\n"


def _read(folder: Path, text: str | bytes) -> Examples:
    path = folder / "train.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_csv(locate(str(path)), TASK)


def _refused(folder: Path, text: str | bytes) -> str:
    with pytest.raises(UserError) as caught:
        _read(folder, text)
    assert "train.csv: " in str(caught.value)
    return str(caught.value).split("train.csv: ", 1)[1]


def test_rows_are_read_in_their_order(tmp_path: Path) -> None:
    for text in (GOOD, GOOD.replace("\n", "\r\n"), "\ufeff" + GOOD, GOOD.replace("Id", '"Id"')):
        found = _read(tmp_path, text)
        assert found.ids.tolist() == [7, 9]
        assert found.labels is not None and found.labels.tolist() == [1, 0]
        assert found.images.tolist() == [[[[0, 255], [3, 4]]], [[[5, 6], [7, 8]]]]
        assert (found.ids.dtype, found.images.dtype) == (np.int64, np.uint8)


def test_without_a_label_column_labels_are_unknown(tmp_path: Path) -> None:
    found = _read(tmp_path, "Id,0,1,2,3\n7,0,255,3,4\n")
    assert found.labels is None
    assert found.images.reshape(4).tolist() == [0, 255, 3, 4]


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("", "is empty"),
        ("Id,Label,0,1,2,3\n", "has a header but no rows"),
        ("Id,Label,0,1,2,3", "has a header but no rows"),
        (
            GOOD.replace(",3\n", "\n", 1),
            "1 missing columns (3), expected Id,Label,0,…,3 in this order",
        ),
        (
            GOOD.replace(",3\n", ",3,4,5\n", 1),
            "2 extra or repeated columns (4, 5), expected Id,Label,0,…,3 in this order",
        ),
        (GOOD.replace("1,2,3\n", "1,2,2\n", 1), "1 missing columns (3) and 1 extra or repeated"),
        (GOOD.replace("0,1,2", "0,2,1", 1), "reordered columns: column 4 is '2', not '1'"),
        (GOOD.replace("Id,Label", "Label,Id"), "reordered columns: column 1 is 'Label', not 'Id'"),
        (GOOD.replace("Id", "id"), "1 missing columns (Id) and 1 extra or repeated columns (id)"),
        ("7,1,0,255,3,4\n", "2 missing columns (Id, 2) and 3 extra"),
        (
            GOOD.replace("255", "256"),
            "row 2, column '1': found '256', expected a whole number from",
        ),
        (GOOD.replace("255", "-1"), "row 2, column '1': found '-1', expected a whole number from"),
        (GOOD.replace("6", "6.5"), "row 3, column '1': found '6.5', expected a whole number from"),
        (GOOD.replace("6", "six"), "row 3, column '1': found 'six', expected a whole number from"),
        (GOOD.replace("6", "NaN"), "row 3, column '1': found 'NaN', expected a whole number from"),
        (GOOD.replace("6", ""), "row 3, column '1': found nothing, expected a whole number from"),
        (GOOD.replace("9,", ",", 1), "row 3, column 'Id': found nothing, expected a whole number"),
        (GOOD.replace("9,", "x,", 1), "row 3, column 'Id': found 'x', expected a whole number"),
        (
            GOOD.replace("9,0", "9,"),
            "row 3, column 'Label': found nothing, expected a whole number",
        ),
        (GOOD.replace("9,0", "9,2"), "label 2 in row 3, expected 0 to 1"),
        (GOOD.replace("9,0", "7,0"), "id 7 is there 2 times (1 such ids), expected unique ids"),
        (GOOD.replace(",8", ""), "row 3: found 5 fields, expected 6"),
        (GOOD.replace(",8", ",8,9"), "row 3: found 7 fields, expected 6"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, text: str, mistake: str) -> None:
    message = _refused(tmp_path, text)
    assert mistake in message
    assert "\n" not in message


def test_a_mistake_far_down_is_named_by_its_row(tmp_path: Path) -> None:
    rows = [f"{number},1,0,255,3,4" for number in range(200_000)]  # several of Arrow's blocks
    rows[190_000] = "190000,1,0,300,3,4"
    message = _refused(tmp_path, "\n".join(["Id,Label,0,1,2,3", *rows]))
    assert message.startswith("row 190002, column '1': found '300'")


def test_what_is_written_is_read_again(tmp_path: Path, fashion: Dataset) -> None:
    assert fashion.test is not None
    part = fashion.test.take(np.arange(2500)[::-1])
    path = tmp_path / "out.csv"
    write_csv(part, fs.LocalFileSystem(), str(path))
    found = read_csv(locate(str(path)), fashion.task)
    assert np.array_equal(found.images, part.images)
    assert np.array_equal(found.ids, part.ids)
    assert found.labels is not None and np.array_equal(found.labels, part.labels)
    with path.open("rb") as stream:
        header, row = stream.readline(), stream.readline()
    assert header == f"Id,Label,{','.join(map(str, range(784)))}\n".encode()
    assert row.startswith(f"2499,{part.labels[0] if part.labels is not None else ''},0,".encode())
    assert row.endswith(b"\n") and not row.endswith(b"\r\n")
