"""What does a store say of itself in ``attributes.zarrfeed``? Anybody may have written it.

Pure: JSON in, the same JSON out if every value that zarrfeed reads is of the right kind. Names that
are not listed here are kept unchecked; whoever reads them must check them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from zarrfeed.errors import StoreError
from zarrfeed.store.schema import ATTRIBUTES, FORMAT_VERSION, JSON

# A type or a tuple of types; a list of one kind, its items'; a dict of the kinds of some values.
_Kind: TypeAlias = Any

_NUMBER = (int, float)
_WORDS: _Kind = [str]
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
    "fields": _WORDS,
    "samples": int,
    "source": dict,
    "packed": _PACKED,
    "channels": {"mean": [_NUMBER], "std": [_NUMBER]},
    # of a dataset
    "classes": _WORDS,
    "ignore": (int, type(None)),
}
_MOST_CLASSES = 1 << 16  # a mask has 16 bits at most


def read_attributes(metadata: JSON, name: str) -> JSON:
    """Check and return ``attributes.zarrfeed`` of a group's metadata.

    Parameters
    ----------
    metadata
        Of the group.
    name
        What to call it in an error.

    Returns
    -------
    dict
        Empty for a group that zarrfeed did not write.

    Raises
    ------
    StoreError
        A value is of another kind than zarrfeed writes, or a newer zarrfeed wrote it.
    """
    attributes = metadata.get("attributes")
    if attributes is None:
        return {}
    _require(attributes, {ATTRIBUTES: dict}, f"{name}: attributes")
    said: JSON = attributes.get(ATTRIBUTES, {})
    version = said.get("format", FORMAT_VERSION)
    where = f"{name}: attributes.{ATTRIBUTES}"
    _require(version, int, f"{where}.format")
    if version > FORMAT_VERSION:
        raise StoreError(
            f"{name}: written in format {version:.0f}, this zarrfeed reads up to {FORMAT_VERSION}: "
            "upgrade zarrfeed"
        )
    _require(said, _KINDS, where)
    classes, ignore = said.get("classes", ()), said.get("ignore")
    if len(classes) > _MOST_CLASSES or not (ignore is None or 0 <= ignore < _MOST_CLASSES):
        raise StoreError(
            f"{where}: needed at most {_MOST_CLASSES} classes and an ignored id below, found "
            f"{len(classes)} and {ignore!r:.99}; restore it, or convert again"
        )
    return said


def _require(value: Any, kind: _Kind, where: str) -> None:
    """Check a value, and recursively what it holds, against its kind."""
    expected = list if isinstance(kind, list) else Mapping if isinstance(kind, dict) else kind
    wrong = isinstance(value, bool) and kind is not object  # True is no number
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
