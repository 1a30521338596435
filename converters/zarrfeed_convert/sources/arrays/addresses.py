"""Which file and which array does a text like ``cells.h5:/images`` mean?

Pure: texts and names in, addresses, keys and pairs out.
"""

from __future__ import annotations

import glob
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zarrfeed.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_SHOWN = 10
# "case12/img" is case, 12, /, img: names differ in whole words and whole numbers.
_WORD = re.compile(r"\d+|[^\W\d_]+|[\W_]+")


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


def pair_files(images: Sequence[str], masks: Sequence[str]) -> list[int]:
    """Find the mask file of every image file, as many of the one as of the other.

    Names that are the same on both sides pair, once that is left out which all names of a side
    share (``1_img`` and ``1_mask``). Names that have nothing to do with each other pair by order.

    Parameters
    ----------
    images, masks
        The files' names, sorted.

    Returns
    -------
    list of int
        For every image, the place of its mask.

    Raises
    ------
    SourceError
        Some of the names are the same on both sides, others have no partner.

    Examples
    --------
    >>> pair_files(["a_img", "a1_img"], ["a-m", "a1-m"])
    [0, 1]
    >>> pair_files(["x", "y"], ["1", "2"])
    [0, 1]
    """
    lone = unpaired(images, masks)
    if lone:
        raise SourceError(lone)
    for names, others in ((images, masks), (_differing(images), _differing(masks))):
        place = {name: number for number, name in enumerate(others)}
        if len(place) == len(others) and place.keys() == set(names):
            return [place[name] for name in names]
    return list(range(len(images)))


def unpaired(images: Sequence[str], masks: Sequence[str]) -> str:
    """Say which names have no partner, where others have one; empty if that is not so."""
    if min(len(images), len(masks)) < 2:
        return ""
    for names, others in ((images, masks), (_differing(images), _differing(masks))):
        lone = [image for image, name in zip(images, names, strict=True) if name not in others]
        lonely = [mask for mask, name in zip(masks, others, strict=True) if name not in names]
        if not lone and not lonely:
            return ""
        if len(lone) < len(images):
            return (
                "images and masks: needed files that pair by name, found "
                f"{_counted(lone, 'image', 'mask')}, {_counted(lonely, 'mask', 'image')}; "
                "add the missing files or take the others out"
            )
    return ""


def _counted(names: Sequence[str], what: str, partner: str) -> str:
    shown = ", ".join(names[:_SHOWN]) + (" …" if len(names) > _SHOWN else "")
    some = f"{len(names)} {what}{'' if len(names) == 1 else 's'} without {partner}"
    return f"{some}: {shown}" if names else some


def _differing(names: Sequence[str]) -> list[str]:
    """Leave out the words that all names begin and end with."""
    words = [_WORD.findall(name) for name in names]
    shortest = min(map(len, words))
    begin = 0
    while begin < shortest and len({parts[begin] for parts in words}) == 1:
        begin += 1
    end = 0
    while end < shortest - begin and len({parts[-1 - end] for parts in words}) == 1:
        end += 1
    return ["".join(parts[begin : len(parts) - end]) for parts in words]
