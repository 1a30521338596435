"""What does a store say about itself in ``attributes.zarrfeed``?

Pure: JSON in, the same JSON out if every value that zarrfeed reads has the right type. The JSON is
untrusted. Names that are not listed here are kept unchecked; code that reads them must check them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from zarrfeed.errors import StoreError, look_up
from zarrfeed.store.schema import ATTRIBUTES, FORMAT_VERSION, JSON

# The expected type of a value: a type or a tuple of types; [kind] for a list of items of one kind;
# {name: kind} for an object.
_Kind: TypeAlias = Any

_NUMBER = (int, float)
_OPTIONAL = (str, type(None))
_PACKED: dict[str, _Kind] = {
    "found": int,
    "skipped": [{"name": str, "why": str}],
    "settings": dict,
    "chunk_rows": int,
    "shard_rows": int,
    "codecs": dict,
    "coverage": dict,
    "decisions": [{"what": str, "value": object, "reason": str}],
    "digest": _OPTIONAL,
    "repacked": dict,
    "roles": dict,
}
_KINDS: dict[str, _Kind] = {
    "format": int,
    # of a split
    "fields": [str],
    "samples": int,
    "source": dict,
    "packed": _PACKED,
    "channels": {"mean": [_NUMBER], "std": [_NUMBER]},
    # of a dataset
    "classes": [str],
    "ignore": (int, type(None)),
}
_ROLES = ("image", "mask", "target")  # of fields; see the converter's data model
_MOST_CLASSES = 1 << 16  # a mask has 16 bits at most


def read_attributes(metadata: JSON, name: str) -> JSON:
    """Check and return ``attributes.zarrfeed`` of a group's metadata.

    Parameters
    ----------
    metadata
        Metadata of the group.
    name
        Name of the group for error messages.

    Returns
    -------
    dict
        Empty for a group that zarrfeed did not write.

    Raises
    ------
    StoreError
        A value has another type than zarrfeed writes, or the format is newer than this zarrfeed.
    """
    attributes = metadata.get("attributes")
    if attributes is None:
        return {}
    _require(attributes, {ATTRIBUTES: dict}, f"{name}: attributes")
    own: JSON = attributes.get(ATTRIBUTES, {})
    version = own.get("format", FORMAT_VERSION)
    where = f"{name}: attributes.{ATTRIBUTES}"
    _require(version, int, f"{where}.format")
    if version > FORMAT_VERSION:
        raise StoreError(
            f"{name}: written in format {version:.0f}, this zarrfeed reads up to {FORMAT_VERSION}: "
            "upgrade zarrfeed"
            f"{look_up('newer-format')}"
        )
    _require(own, _KINDS, where)
    _require_roles(own.get("packed", {}), where)
    classes, ignore = own.get("classes", ()), own.get("ignore")
    if len(classes) > _MOST_CLASSES or not (ignore is None or 0 <= ignore < _MOST_CLASSES):
        raise StoreError(
            f"{where}: needed at most {_MOST_CLASSES} classes and an ignored id below that, found "
            f"{len(classes)} and {ignore!r:.99}; restore it, or convert again"
        )
    return own


def _require_roles(packed: JSON, where: str) -> None:
    """Check the names of fields, which become paths, and their roles."""
    for name, role in packed.get("roles", {}).items():
        if role not in _ROLES or name in ("", ".", "..") or {"/", "\\", "\0"} & set(name):
            raise StoreError(
                f"{where}.packed.roles: needed fields and their roles {', '.join(_ROLES)}, found "
                f"{name!r:.99}: {role!r:.99}; restore it, or convert again"
            )


def _require(value: Any, kind: _Kind, where: str) -> None:
    """Check a value recursively."""
    expected = list if isinstance(kind, list) else Mapping if isinstance(kind, dict) else kind
    wrong = isinstance(value, bool) and kind is not object  # a bool is an int in Python
    if wrong or not isinstance(value, expected):
        raise StoreError(
            f"{where}: needed {_name(kind)}, found {value!r:.99}; restore it, or convert again"
        )
    held: Any = value
    if isinstance(kind, list):
        for number, item in enumerate(held):
            _require(item, kind[0], f"{where}[{number}]")
    elif isinstance(kind, dict):
        for key, inner in kind.items():
            if key in held:
                _require(held[key], inner, f"{where}.{key}")


def _name(kind: _Kind) -> str:
    if isinstance(kind, list):
        return f"a list of {_name(kind[0])}"
    if isinstance(kind, tuple):
        return " or ".join(map(_name, kind))
    names = {int: "a whole number", float: "a number", str: "text", type(None): "null"}
    return "an object" if isinstance(kind, dict) else names.get(kind, "an object")
