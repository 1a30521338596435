"""Which class ids do the values of masks have? Parses ``--mask-map``."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from zarrfeed.errors import SourceError
from zarrfeed_convert.labels import MAX_ID

if TYPE_CHECKING:
    from collections.abc import Mapping

ONE_HOT = "one-hot"
MULTI_HOT = "multi-hot"
_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_RANGE = re.compile(rf"({_NUMBER})\.\.({_NUMBER})")

# Lowest value, highest value, and the id of all values between; (NaN, NaN, id) for NaN.
Range: TypeAlias = tuple[float, float, int]


@dataclass(frozen=True, slots=True)
class MaskMap:
    """Class ids of mask values.

    Attributes
    ----------
    values
        Grey value or palette index → id.
    colors
        ``0xRRGGBB`` → id.
    rest
        Id of all other values and colours. If it is None, other values are their own ids, and other
        colours are an error.
    alpha
        Whether the mask is the alpha channel.
    ranges
        (lowest value, highest value, id); (NaN, NaN, id) for NaN.
    one_hot
        Id of the first channel, if masks have one channel per class; else None. `rest` is then the
        id of pixels that are in no channel; if it is None, they are an error.
    multi_hot
        Whether masks keep one channel per class, so that a pixel may have several classes or none.
        Nothing else is mapped then.
    """

    values: Mapping[int, int] = field(default_factory=dict)
    colors: Mapping[int, int] = field(default_factory=dict)
    rest: int | None = None
    alpha: bool = False
    ranges: tuple[Range, ...] = ()
    one_hot: int | None = None
    multi_hot: bool = False

    @property
    def by_channel(self) -> bool:
        """Whether masks have a channel for each class."""
        return self.multi_hot or self.one_hot is not None

    def names(self, value: float) -> bool:
        """Return whether the map gives a value an id."""
        whole = float(value).is_integer()
        return (
            self.rest is not None
            or (whole and int(value) in self.values)
            or any(within(value, low, high) for low, high, _ in self.ranges)
        )

    def exceeds(self, top: int) -> bool:
        """Return whether the map has colours or values above `top`, the highest of a mask."""
        return bool(self.colors) or any(
            low > top for low in (*self.values, *(low for low, *_ in self.ranges))
        )

    def __str__(self) -> str:
        """Return the map as text that :func:`parse_mask_map` reads.

        Examples
        --------
        >>> str(MaskMap(values={255: 1}, colors={0xFF0000: 2}, rest=0))
        '255=1,#FF0000=2,*=0'
        """
        if self.multi_hot:
            return MULTI_HOT
        parts = ["alpha"] if self.alpha else []
        parts += [f"{value}={self.values[value]}" for value in sorted(self.values)]
        parts += [f"#{color:06X}={self.colors[color]}" for color in sorted(self.colors)]
        parts += [f"{_range_text(low, high)}={number}" for low, high, number in self.ranges]
        parts += [] if self.one_hot is None else [f"{ONE_HOT}={self.one_hot}"]
        return ",".join(parts if self.rest is None else [*parts, f"*={self.rest}"])


def parse_mask_map(text: str) -> MaskMap:
    """Parse a mask map, ``VALUE=ID,…``.

    VALUE is an integer, ``#RRGGBB``, a range like ``128..255`` or ``0.5..1``, ``nan``, ``*`` for
    all other values, or ``one-hot`` for masks with one channel per class, of which the first has
    ID. The word ``alpha`` between commas takes the values from the alpha channel. The word
    ``multi-hot``, alone, keeps one channel per class, so that a pixel may have several classes or
    none.

    Raises
    ------
    SourceError
        The text cannot be parsed, or gives a value twice.

    Examples
    --------
    >>> meaning = parse_mask_map("255=1,#FF0000=2,*=0")
    >>> meaning.values, meaning.colors, meaning.rest
    ({255: 1}, {16711680: 2}, 0)
    """
    values: dict[int, int] = {}
    colors: dict[int, int] = {}
    ranges: list[Range] = []
    rest: int | None = None
    one_hot: int | None = None
    entries = [part for part in map(str.strip, text.split(",")) if part]
    if MULTI_HOT in entries:
        if entries != [MULTI_HOT]:
            raise SourceError(
                f"mask map: needed {MULTI_HOT} alone, which keeps channels of 0 and 1 as they are, "
                f"found {text!r}"
            )
        return MaskMap(multi_hot=True)
    for entry in (part for part in entries if part != "alpha"):
        key, _, target = (part.strip() for part in entry.partition("="))
        try:
            number = int(target)
            if not 0 <= number <= MAX_ID:
                raise ValueError
            if key == "*":
                twice, rest = rest is not None, number
            elif key == ONE_HOT:
                twice, one_hot = one_hot is not None, number
            elif key == "nan" or ".." in key:
                low, high = _parse_range(key)
                twice = any(_overlap((low, high), (other[0], other[1])) for other in ranges)
                ranges.append((low, high, number))
            elif key.startswith("#"):
                color = int(key[1:], 16)
                if len(key) != 7:
                    raise ValueError
                twice = color in colors
                colors[color] = number
            else:
                twice = int(key) in values
                values[int(key)] = number
        except ValueError:
            raise SourceError(
                f"mask map: needed VALUE=ID with VALUE an integer, #RRGGBB, a range like 128..255, "
                f"nan, {ONE_HOT} or * and ID within 0 … {MAX_ID}, or alpha, or {MULTI_HOT} alone, "
                f"found {entry!r}"
            ) from None
        if twice:
            raise SourceError(f"mask map: needed each value once, found {key} twice in {text!r}")
    return MaskMap(values, colors, rest, "alpha" in entries, tuple(ranges), one_hot)


def _parse_range(text: str) -> tuple[float, float]:
    if text == "nan":
        return math.nan, math.nan
    match = _RANGE.fullmatch(text)
    low, high = (float(match[1]), float(match[2])) if match else (1.0, 0.0)
    if low > high:
        raise ValueError(text)
    return low, high


def _range_text(low: float, high: float) -> str:
    ends = (str(end).removesuffix(".0") for end in (low, high))
    return "nan" if math.isnan(low) else "..".join(ends)


def shown_value(value: float) -> str:
    """Return a value as text for the command line.

    Examples
    --------
    >>> shown_value(-9999.0), shown_value(0.1), shown_value(float("nan"))
    ('-9999', '0.1', 'nan')
    """
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def within(value: float, low: float, high: float) -> bool:
    """Return whether a value is in a range of a mask map."""
    return low <= value <= high or (math.isnan(low) and math.isnan(value))


def _overlap(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return within(one[0], *other) or within(other[0], *one)
