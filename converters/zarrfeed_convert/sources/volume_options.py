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
