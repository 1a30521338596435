"""Which fields do samples have besides image and mask, and where are they?

This module parses ``fields={"depth": "target:PLACE"}`` and ``--field depth=target:PLACE`` for all
formats.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple, get_args

from zarrfeed.errors import SourceError
from zarrfeed.spelling import did_you_mean
from zarrfeed.store.schema import DESCRIPTIVE, IMAGE, MASK
from zarrfeed_convert.source import Field, Role

if TYPE_CHECKING:
    from collections.abc import Iterable

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
ROLES: Mapping[str, Role] = {role: role for role in get_args(Role)}


class ExtraField(NamedTuple):
    """A field besides image and mask.

    Attributes
    ----------
    field
        Name and role.
    place
        Where it is, in the form that ``images`` has in the format: a folder, a column, …
    """

    field: Field
    place: str

    def __str__(self) -> str:
        """Return ``ROLE:PLACE``, as :func:`parse_fields` reads it."""
        return f"{self.field.role}:{self.place}"


def parse_fields(fields: Mapping[str, str] | None) -> tuple[ExtraField, ...]:
    """Parse the argument ``fields`` of a format.

    Parameters
    ----------
    fields
        Name → ``ROLE:PLACE``; None for no further fields. A role is ``image``, ``mask`` or
        ``target``.

    Raises
    ------
    SourceError
        A name is not that of a field, a role is unknown, or a place is missing.

    Examples
    --------
    >>> parse_fields({"depth": "target:data/depth"})
    (ExtraField(field=Field(name='depth', role='target'), place='data/depth'),)
    """
    if not isinstance(fields or {}, Mapping):
        raise SourceError(
            f"fields: needed names and places, like {{'depth': 'target:data/depth'}}, found "
            f"{fields!r:.60}"
        )
    return tuple(_parse(require_field_name(name), text) for name, text in (fields or {}).items())


def describe_fields(fields: Iterable[ExtraField]) -> dict[str, str]:
    """Return fields as a mapping that :func:`parse_fields` reads."""
    return {extra.field.name: str(extra) for extra in fields}


def fields_of_text(assignments: Iterable[str]) -> dict[str, str]:
    """Parse ``NAME=ROLE:PLACE`` of the command line.

    Raises
    ------
    SourceError
        A text has another form, or a name is given twice.

    Examples
    --------
    >>> fields_of_text(["depth=target:data/depth", "after=image:2024/*.png"])
    {'depth': 'target:data/depth', 'after': 'image:2024/*.png'}
    """
    fields: dict[str, str] = {}
    for assignment in assignments:
        name, equals, text = (part.strip() for part in assignment.partition("="))
        if not equals or name in fields:
            raise SourceError(
                "--field: needed NAME=ROLE:PLACE, each name once, like depth=target:data/depth, "
                f"found {assignment!r}"
            )
        fields[name] = text
    return describe_fields(parse_fields(fields))


def moved_fields(before: Mapping[str, str] | None, now: Mapping[str, str]) -> dict[str, str]:
    """Replace the places of fields that have moved.

    Parameters
    ----------
    before
        The recorded fields.
    now
        Fields at another place.

    Raises
    ------
    SourceError
        A field in `now` was not packed, or has another role.

    Examples
    --------
    >>> moved_fields({"depth": "target:a", "ids": "mask:b"}, {"depth": "target:c"})
    {'depth': 'target:c', 'ids': 'mask:b'}
    """
    known = {extra.field: extra for extra in parse_fields(before)}
    for extra in parse_fields(now):
        if extra.field not in known:
            there = ", ".join(f"{name}={text}" for name, text in (before or {}).items())
            raise SourceError(
                f"field {extra.field.name}: needed a field that was packed, in the same role, "
                f"found {extra}; the packed ones are {there or 'only image and mask'}"
            )
        known[extra.field] = extra
    return describe_fields(known.values())


def require_field_name(name: object, where: str = "fields") -> str:
    """Check the name of a field besides image and mask, and return it.

    Parameters
    ----------
    name
        The name.
    where
        Where it was given, for errors.

    Raises
    ------
    SourceError
        `name` is not an identifier, or is that of another array of a split.
    """
    taken = sorted({IMAGE, MASK, *DESCRIPTIVE})
    if isinstance(name, str) and _NAME.fullmatch(name) and name not in taken:
        return name
    raise SourceError(
        f"{where}: needed names of fields like 'depth' (letters, digits, _; none of "
        f"{', '.join(taken)}), found {name!r}; rename it"
    )


def _parse(name: str, text: object) -> ExtraField:
    role, colon, place = (part.strip() for part in str(text).partition(":"))
    if role in ROLES and place:
        return ExtraField(Field(name, ROLES[role]), place)
    hint = did_you_mean(role, ROLES) if colon else ""
    raise SourceError(
        f"field {name}: needed ROLE:PLACE, like target:data/depth, with the role image (colours), "
        f"mask (ids) or target (any numbers), found {text!r}" + (hint and f"; {hint}")
    )
