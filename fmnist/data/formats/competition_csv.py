"""The competition's CSV files: `Id,Label,0,1,…` to train on and `Id,0,1,…` to be scored."""

import csv
import re
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import csv as arrow_csv

from fmnist.data.dataset import Examples, check_ids, check_labels
from fmnist.data.locations import Location
from fmnist.errors import UserError
from fmnist.storage.errors import explain, read_errors
from fmnist.tasks import Task

FILES = {"train": "train.csv", "test": "testX.csv"}
FIRST_ROW = 2  # the header is row 1, as editors and spreadsheets count
SHOWN = 5  # column names in a message
WRITTEN_ROWS = 1000  # turned into text at once


def read_csv(location: Location, task: Task) -> Examples:
    """The examples of a CSV file; `labels` is None where it has no Label column.

    Raises UserError naming the file and the row, column and value, or the columns, that are wrong.
    """
    columns = _check_header(location, task.pixels)
    table = _read_table(location, columns)
    if not table.num_rows:
        raise UserError(f"{location.uri}: has a header but no rows")
    ids = table["Id"].to_numpy()
    check_ids(ids, location.uri)
    labels = table["Label"].to_numpy() if "Label" in columns else None
    if labels is not None:
        check_labels(labels, len(task.classes), location.uri, FIRST_ROW)
    pixels = table.select(columns[-task.pixels :])
    return Examples(ids=ids, images=_to_images(pixels, task), labels=labels)


def write_csv(examples: Examples, filesystem: Any, path: str) -> None:
    """Writes `Id,Label,0,1,…` with `\\n` line ends, without Label where labels are unknown."""
    labelled = examples.labels is not None
    flat = examples.images.reshape(len(examples), -1)
    columns = _columns(flat.shape[1], labelled)
    options = arrow_csv.WriteOptions(include_header=False, quoting_style="none")
    with filesystem.open_output_stream(path, compression=None) as stream:
        stream.write((",".join(columns) + "\n").encode())  # Arrow would quote the names
        for start in range(0, len(examples), WRITTEN_ROWS):
            rows = slice(start, start + WRITTEN_ROWS)
            arrays = [examples.ids[rows]]
            arrays += [] if examples.labels is None else [examples.labels[rows]]
            arrays += list(np.ascontiguousarray(flat[rows].T))
            arrow_csv.write_csv(pa.table(arrays, names=columns), stream, options)


def _columns(pixels: int, labelled: bool) -> list[str]:
    return ["Id", *(["Label"] if labelled else []), *map(str, range(pixels))]


def _check_header(location: Location, pixels: int) -> list[str]:
    """The file's columns, which are exactly the expected ones, with or without Label."""
    most = 16 * (pixels + 256)  # room for the names, quoted, and some that do not belong
    with read_errors(location.uri), location.open() as stream:
        start = stream.read(most)
    if not start:
        raise UserError(f"{location.uri}: is empty, expected a CSV file with a header")
    # Not `splitlines`, which also splits where Arrow does not, such as at U+2028.
    line = re.split("[\r\n]", start.decode("utf-8-sig", errors="replace"), maxsplit=1)[0]
    try:
        found = next(csv.reader([line], strict=True), [])
    except csv.Error as error:
        raise UserError(f"{location.uri}: its header is not CSV ({error})") from error
    expected = _columns(pixels, labelled="Label" in found)
    if found != expected:
        raise UserError(f"{location.uri}: {_difference(found, expected)}")
    return expected


def _difference(found: list[str], expected: list[str]) -> str:
    missing = [name for name in expected if name not in set(found)]
    extra = [name for name in found if name not in set(expected)]
    extra += sorted({name for name in found if name in expected and found.count(name) > 1})
    problems = [
        f"{len(names)} {kind} columns ({', '.join(names[:SHOWN])}{', …' if names[SHOWN:] else ''})"
        for kind, names in (("missing", missing), ("extra or repeated", extra))
        if names
    ]
    if not problems:
        at = next(at for at, name in enumerate(found) if name != expected[at])
        problems = [f"reordered columns: column {at + 1} is {found[at]!r}, not {expected[at]!r}"]
    shown = ",".join(name for name in expected if not name.isdigit())
    pixels = sum(name.isdigit() for name in expected)
    return f"{' and '.join(problems)}, expected {shown},0,…,{pixels - 1} in this order"


def _read_table(location: Location, columns: list[str]) -> pa.Table:
    types = {name: pa.int64() if name in ("Id", "Label") else pa.uint8() for name in columns}
    # Threads would gain little, and with them Arrow does not name the row of a mistake.
    block = max(1 << 20, 16 * len(columns))  # bytes; a row has to fit
    how = arrow_csv.ReadOptions(use_threads=False, block_size=block)
    convert = arrow_csv.ConvertOptions(column_types=types, null_values=[])
    try:
        with location.open() as stream:
            return arrow_csv.read_csv(stream, how, convert_options=convert)
    except pa.ArrowException as error:
        raise UserError(f"{location.uri}: {_explain(str(error), columns)}") from error
    except OSError as error:
        raise UserError(f"{location.uri}: {explain(error)}") from error


def _explain(text: str, columns: list[str]) -> str:
    """Arrow's message in the terms of this format."""
    cell = re.search(r"In CSV column #(\d+): (?:Row #(\d+): )?.*invalid value '(.*)'", text, re.S)
    if cell:
        name = columns[int(cell[1])]
        expected = "a whole number" if name in ("Id", "Label") else "a whole number from 0 to 255"
        found = repr(cell[3]) if cell[3] else "nothing"
        return f"row {cell[2]}, column {name!r}: found {found}, expected {expected}"
    if fields := re.search(r"(?:Row #(\d+): )?Expected (\d+) columns, got (\d+)", text):
        return f"row {fields[1]}: found {fields[3]} fields, expected {fields[2]}"
    if "Empty CSV file or block" in text:
        return "has a header but no rows"
    return text.splitlines()[0]


def _to_images(pixels: pa.Table, task: Task) -> np.ndarray:
    images = np.empty((pixels.num_rows, task.pixels), np.uint8)
    start = 0
    for batch in pixels.to_batches():  # a block at a time: its rows stay in the processor's cache
        rows = images[start : start + batch.num_rows]
        for at, column in enumerate(batch.columns):
            rows[:, at] = column.to_numpy()
        start += batch.num_rows
    return images.reshape(-1, *task.shape)
