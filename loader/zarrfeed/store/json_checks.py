"""Is a value of JSON what it must be? Each check gives the value, or says what was found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zarrfeed.store.schema import JSON

MOST_AXES = 32  # as NumPy had for long
MOST_BYTES = 1 << 62  # no file system holds more, and sums of such sizes do not wrap


class Damage(Exception):  # noqa: N818 (what is damaged is added at the door)
    """Says what is wrong."""


def extents(value: Any, what: str, *, least: int) -> tuple[int, ...]:
    """Take a list of whole numbers."""
    if not isinstance(value, list | tuple) or len(value) > MOST_AXES:
        raise Damage(f"needed a {what} of at most {MOST_AXES} whole numbers, found {value!r:.99}")
    for extent in value:
        if type(extent) is not int or not least <= extent <= MOST_BYTES:
            raise Damage(f"needed a {what} of whole numbers from {least} on, found {extent!r:.99}")
    return tuple(value)


def json_object(value: Any, what: str) -> JSON:
    """Take an object."""
    if not isinstance(value, Mapping):
        raise Damage(f"needed an object as {what}, found {value!r:.99}")
    return value


def named(codecs: Any) -> list[tuple[str, JSON]]:
    """Normalise codecs to (name, configuration): a bare string is a name without configuration."""
    if not isinstance(codecs, list | tuple) or not codecs:
        raise Damage(f"needed a list of codecs, found {codecs!r:.99}")
    return [name_of(codec, "a codec") for codec in codecs]


def name_of(value: Any, what: str) -> tuple[str, JSON]:
    """Take an extension: its name and its configuration."""
    if isinstance(value, str):
        return value, {}
    value = json_object(value, what)
    name = value.get("name")
    if not isinstance(name, str):
        raise Damage(f"needed the name of {what}, found {name!r:.99}")
    configuration = value.get("configuration")
    return name, {} if configuration is None else json_object(
        configuration, f"the options of {name}"
    )
