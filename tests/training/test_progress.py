"""The lines that show a run's epochs fit into 80 columns, under their header."""

import pytest

from fmnist.training.progress import describe_epoch, epoch_header

ROW = {
    "epoch": 399, "loss": 0.12345, "accuracy": 0.91234, "seconds": 3700.0,
    "images_per_second": 123456.7,
}  # fmt: skip
VALIDATION = {"val_loss": 12.3456, "val_accuracy": 1.0}


@pytest.mark.parametrize("row", [ROW, ROW | VALIDATION], ids=["no validation", "validation"])
def test_an_epoch_fits_into_80_columns_below_its_header(row) -> None:
    parts, names = epoch_header(row).split("\n")
    line = describe_epoch(row, 400)
    assert max(map(len, (parts, names, line))) <= 80
    columns = {"epoch 399/400": 0, "0.1235": names.index("loss"), "123,457": names.index("images")}
    columns |= {"91.23%": names.index("accuracy"), "1:01:40": names.index("time")}
    if "val_loss" in row:
        assert parts.index("validation") == names.rindex("loss")
        columns |= {"12.3456": names.rindex("loss"), "100.00%": names.rindex("accuracy")}
    assert {text: line.index(text) for text in columns} == columns
