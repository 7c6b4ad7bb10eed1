"""JSON objects in storage, checked when they are read: nothing in them is trusted.

The checks are our own, not pydantic's: its parser lets NaN and infinities through where a type is
open (as in a manifest's details), and it reports one field at a time, where a user should see which
fields were found and which were expected.
"""

import json
import math
from typing import Any

from fmnist.errors import UserError
from fmnist.storage.open import Storage

JsonObject = dict[str, Any]


def read_record(
    storage: Storage, key: str, expected: dict[str, type], what: str
) -> tuple[JsonObject, str] | None:
    """The object at `key`, of exactly these fields and types, and its version; or None.

    Raises UserError that names the file and the field, and says `what` was expected.
    """
    found = storage.read_version(key)
    if found is None:
        return None
    where = f"{storage.uri}/{key}"
    return parse_fields(found[0], expected, where, what), found[1]


def parse_fields(data: bytes, expected: dict[str, type], where: str, what: str) -> JsonObject:
    """The JSON object of exactly these fields and types; UserError for anything else."""
    return check_fields(parse(data, where, what), expected, where)


def parse(data: bytes, where: str, what: str) -> Any:
    """Any JSON. Raises UserError for what is none, as NaN, and for numbers that are too large."""
    try:
        return json.loads(data, parse_constant=_refuse, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where}: found no JSON ({error}), expected {what}") from error


def check_fields(fields: Any, expected: dict[str, type], where: str) -> JsonObject:
    """The parsed JSON; UserError unless it is an object of exactly these fields and types."""
    if not isinstance(fields, dict) or fields.keys() != expected.keys():
        found = ", ".join(fields) if isinstance(fields, dict) else type(fields).__name__
        raise UserError(f"{where}: found {found}, expected the fields {', '.join(expected)}")
    for name, kind in expected.items():
        if type(fields[name]) is not kind:
            raise UserError(f"{where}: {name} is {fields[name]!r}, expected {kind.__name__}")
    return fields


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text} is too large")
    return number


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")
