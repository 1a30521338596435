"""Which file and which array does a text like ``cells.h5:/images`` mean?

Pure: texts in, addresses and names out.
"""

from __future__ import annotations

import glob
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zarrfeed.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Mapping

_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Address:
    """Where an array is.

    Attributes
    ----------
    file
        A path or a glob.
    array
        The array's name in the file; empty for the only one.
    """

    file: str
    array: str


def split_address(text: str) -> Address:
    """Read ``FILE:ARRAY``, or ``FILE`` alone.

    The last colon divides; one in front of a wildcard belongs to the file's name.

    Examples
    --------
    >>> split_address("data/*.h5:/train/images")
    Address(file='data/*.h5', array='/train/images')
    >>> split_address("cells.npy")
    Address(file='cells.npy', array='')
    """
    file, colon, array = text.rpartition(":")
    if not (colon and file) or glob.has_magic(array):
        return Address(text, "")
    return Address(file, array)


def choose_array(address: Address, found: Mapping[str, str], *, joint: str = ":") -> str:
    """Choose the array that an address means.

    Parameters
    ----------
    address
        Of one file.
    found
        The arrays of that file: name → what it is, like ``(10, 64, 64) uint8``.
    joint
        What stands between file and array, for errors.

    Raises
    ------
    SourceError
        There is none of that name, or no name is given and there are several. The message lists
        those that there are.

    Examples
    --------
    >>> choose_array(Address("a.h5", "images"), {"/images": "", "/masks": ""})
    '/images'
    """
    wanted = address.array.strip("/")
    for name in found:
        if name.strip("/") == wanted:
            return name
    if not found:
        raise SourceError(f"{address.file}: needed an array, found none in it; give another file")
    if not wanted and len(found) == 1:
        return next(iter(found))
    shown = ", ".join(f"{name} {what}".strip() for name, what in list(found.items())[:_SHOWN])
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    if not wanted:
        raise SourceError(
            f"{address.file}: needed the name of one array, found {len(found)}: {shown}{more}; "
            f"add it, like {address.file}{joint}{next(iter(found))}"
        )
    raise SourceError(
        f"{address.file}{joint}{address.array}: no such array; there are {shown}{more}"
    )
