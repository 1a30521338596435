"""Parse sizes and numbers of bytes from the command line."""

from __future__ import annotations

import math
import re
from typing import Literal

import typer

_UNITS = {
    "": 1,
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "KIB": 1 << 10,
    "MIB": 1 << 20,
    "GIB": 1 << 30,
}


def parse_size(text: str, *, option: str = "--size") -> tuple[int, ...]:
    """Read a height and a width, or a depth, a height and a width.

    Raises
    ------
    typer.BadParameter
        The text has another form.

    Examples
    --------
    >>> parse_size("256x512")
    (256, 512)
    """
    extents = re.split("[xX×]", text.strip())
    if len(extents) not in (2, 3) or not all(re.fullmatch("0*[1-9][0-9]*", n) for n in extents):
        side = text.strip()
        meant = f"; did you mean {side}x{side}?" if re.fullmatch("[1-9][0-9]*", side) else ""
        raise typer.BadParameter(
            "needed HEIGHTxWIDTH like 256x512, or DEPTHxHEIGHTxWIDTH of volumes, found "
            f"{text!r}{meant}",
            param_hint=option,
        )
    return tuple(map(int, extents))


def parse_tile(text: str | None) -> tuple[int, ...] | Literal["auto"] | None:
    """Read the size of tiles, or ``auto``.

    Raises
    ------
    typer.BadParameter
        The text has another form.

    Examples
    --------
    >>> parse_tile("64x128x128"), parse_tile("auto")
    ((64, 128, 128), 'auto')
    """
    if text is None:
        return None
    return "auto" if text == "auto" else parse_size(text, option="--tile")


def parse_spacing(text: str, *, option: str = "--spacing") -> tuple[float, ...]:
    """Read the distance of voxels along D, H and W.

    Raises
    ------
    typer.BadParameter
        The text has another form.

    Examples
    --------
    >>> parse_spacing("1.5, 1, 1")
    (1.5, 1.0, 1.0)
    """
    try:
        numbers = tuple(map(float, re.split("[,xX×]", text)))
    except ValueError:
        numbers = ()
    if len(numbers) != 3 or not all(0 < number < math.inf for number in numbers):
        raise typer.BadParameter(
            f"needed three distances in mm, along D, H and W, like 1.5,1,1, or median or keep; "
            f"found {text!r}",
            param_hint=option,
        )
    return numbers


def parse_bytes(text: str, *, option: str) -> int:
    """Read a number of bytes.

    Raises
    ------
    typer.BadParameter
        The text has another form.

    Examples
    --------
    >>> parse_bytes("1.5KiB", option="--shard-size")
    1536
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)", text.strip())
    unit = _UNITS.get(match[2].upper()) if match else None
    if match is None or unit is None or not float(match[1]) * unit >= 1:
        raise typer.BadParameter(
            f"needed a size like 256MiB or 1GB, found {text!r}", param_hint=option
        )
    return int(float(match[1]) * unit)
