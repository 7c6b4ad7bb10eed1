"""JSON objects in storage: read whatever they hold, with one error for what they should not."""

import json
from typing import Any

from fmnist.errors import UserError
from fmnist.storage.open import Storage


def read_record(
    storage: Storage, key: str, expected: dict[str, type], what: str
) -> tuple[dict[str, Any], str] | None:
    """The object at `key`, of exactly these fields and types, and its version; or None.

    Raises UserError that names the file and the field, and says `what` was expected.
    """
    found = storage.read_version(key)
    if found is None:
        return None
    where = f"{storage.uri}/{key}"
    fields = parse(found[0], where, what)
    check_fields(fields, expected, where)
    return fields, found[1]


def parse(data: bytes, where: str, what: str) -> Any:
    """Any JSON, but for NaN and infinities, which JSON has not."""
    try:
        return json.loads(data, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where}: found no JSON ({error}), expected {what}") from error


def check_fields(fields: Any, expected: dict[str, type], where: str) -> None:
    """Raises UserError unless parsed JSON is an object of exactly these fields and types."""
    if not isinstance(fields, dict) or fields.keys() != expected.keys():
        found = ", ".join(fields) if isinstance(fields, dict) else type(fields).__name__
        raise UserError(f"{where}: found {found}, expected the fields {', '.join(expected)}")
    for name, kind in expected.items():
        if type(fields[name]) is not kind:
            raise UserError(f"{where}: {name} is {fields[name]!r}, expected {kind.__name__}")


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")
