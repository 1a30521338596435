"""Which options do all formats of volumes have?"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias, get_args

from zarrfeed.errors import SourceError
from zarrfeed.spelling import did_you_mean

Arrangement: TypeAlias = Literal["slices", "volumes"]
Agreement: TypeAlias = Literal["strict", "warn"]

VOLUMES: Final = "volumes"
WARN: Final = "warn"
# Arguments of formats -> options of the command.
VOLUME_FLAGS = {"as_": "--as", "geometry": "--geometry"}
_CHOICES = {"as_": get_args(Arrangement), "geometry": get_args(Agreement)}


def require_volume_options(**given: str) -> None:
    """Check the values of ``as_`` and ``geometry``.

    Raises
    ------
    SourceError
        One is none of its choices.

    Examples
    --------
    >>> require_volume_options(as_="volume")
    Traceback (most recent call last):
    zarrfeed.errors.SourceError: --as: needed slices or volumes, found 'volume'; did you mean \
'volumes'?
    """
    for name, value in given.items():
        choices = _CHOICES[name]
        if value not in choices:
            hint = did_you_mean(value, choices, otherwise="choose one")
            raise SourceError(
                f"{VOLUME_FLAGS[name]}: needed {' or '.join(choices)}, found {value!r}; {hint}"
            )


def require_axis(axis: int, as_: str) -> None:
    """Check the axis along which volumes are sliced, if they are.

    Raises
    ------
    SourceError
        It is none of 0, 1 and 2, or another than 2, the default, although volumes are not sliced.
    """
    if axis not in (0, 1, 2):
        raise SourceError(f"option axis: needed 0, 1 or 2, found {axis}; choose one of these")
    if as_ == VOLUMES and axis != 2:
        raise SourceError(
            f"option axis: needed none with --as volumes, which are not sliced, found {axis}; "
            "leave it out, or use --as slices"
        )
