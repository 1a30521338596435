"""Does a JSON value have the required form? Every check returns the value or raises `Damage`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from zarrfeed.store.schema import JSON

MOST_AXES = 32  # NumPy's limit before version 2
MOST_BYTES = 1 << 62  # no file system holds more, and sums of such sizes do not overflow


class Damage(Exception):  # noqa: N818 (the caller turns it into an error that names the file)
    """A JSON value does not have the required form."""


def require_node(metadata: JSON, kind: str, known: AbstractSet[str]) -> None:
    """Check that metadata describes a Zarr v3 node, without extensions that zarrfeed must know.

    Parameters
    ----------
    metadata
        Contents of ``zarr.json``.
    kind
        "array" or "group".
    known
        Allowed names. Others are allowed only if they are marked as optional
        (``"must_understand": false``).
    """
    version, node = metadata.get("zarr_format"), metadata.get("node_type")
    if version != 3 or node != kind:
        raise Damage(
            f"needed a Zarr v3 {kind}, found zarr_format={version!r:.99}, node_type={node!r:.99}"
        )
    for key, value in metadata.items():
        optional = isinstance(value, Mapping) and value.get("must_understand") is False
        if key not in known and not optional:
            raise Damage(
                f"holds {key!r:.99}, which must be understood and is unknown to this zarrfeed: "
                "upgrade zarrfeed, or convert the original data"
            )


def extents(value: Any, what: str, *, least: int) -> tuple[int, ...]:
    """Check a list of whole numbers, each at least `least`."""
    if not isinstance(value, list | tuple) or len(value) > MOST_AXES:
        raise Damage(f"needed a {what} of at most {MOST_AXES} whole numbers, found {value!r:.99}")
    for extent in value:
        if type(extent) is not int or not least <= extent <= MOST_BYTES:
            raise Damage(f"needed a {what} of whole numbers from {least} on, found {extent!r:.99}")
    return tuple(value)


def one_of(choices: tuple[str, ...], value: Any, what: str) -> str:
    """Check that a value is one of several strings."""
    if value not in choices:
        raise Damage(f"needed {' or '.join(map(repr, choices))} as {what}, found {value!r:.99}")
    return str(value)


def json_object(value: Any, what: str) -> JSON:
    """Check that a value is an object."""
    if not isinstance(value, Mapping):
        raise Damage(f"needed an object as {what}, found {value!r:.99}")
    return value


def codec_list(codecs: Any) -> list[tuple[str, JSON]]:
    """Split a list of codecs into (name, configuration) each."""
    if not isinstance(codecs, list | tuple) or not codecs:
        raise Damage(f"needed a list of codecs, found {codecs!r:.99}")
    return [named_configuration(codec, "a codec") for codec in codecs]


def named_configuration(value: Any, what: str) -> tuple[str, JSON]:
    """Split an extension into name and configuration, which is empty for a bare string."""
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
