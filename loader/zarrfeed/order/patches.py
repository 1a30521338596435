"""Which patches does a user ask for? Three kinds, as values that are validated when they are made.

A patch is a box of one size, cut from a case or a sample when it is read. Where each patch lies is
computed by :mod:`zarrfeed.order.random_draws` and :mod:`zarrfeed.order.grid_draws`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import KW_ONLY, dataclass
from numbers import Real
from typing import Any, Literal, TypeAlias

import numpy as np

from zarrfeed.arguments import number, whole
from zarrfeed.order.division import exact_share
from zarrfeed.order.sampling import MOST_DRAWS
from zarrfeed.order.user_values import set_value

# A value for all fields, or one for each of some fields.
Fill: TypeAlias = float | Mapping[str, float] | None

_MOST_PIXELS = 1 << 62  # of a patch, so that numbers of pixels fit int64


@dataclass(frozen=True, slots=True)
class _OneSize:
    """Patches of one size."""

    size: tuple[int, ...]

    @property
    def axes(self) -> int:
        """Number of spatial axes."""
        return len(self.size)


@dataclass(frozen=True, slots=True)
class RandomPatches(_OneSize):
    """Patches at random places, of which given shares contain given classes.

    Draw j of epoch e depends on (seed, e, j) alone. Cases are drawn in proportion to the number of
    places where a patch can lie in them.

    Parameters
    ----------
    size
        Size of a patch in pixels, (h, w) or (d, h, w).
    per_epoch
        Number of patches per epoch, over all ranks. By default as many as it takes to cover all
        pixels once.
    shares
        ``{class: share}``, by name or id: the share of patches that must contain the class, from
        1e-6 on. The sum is at most 1; the other patches are drawn freely. Of any n successive
        patches, over epochs, too, the sum times n, rounded up or down, must contain some class; n
        times its own share those of each class, to less than 4 of several. Every pixel of the class
        is equally likely to be the centre.
    jitter
        How far a patch that must contain a class moves at random, from 0 (the drawn pixel is the
        centre) to 1 (it may be anywhere in the patch).
    by
        "size": cases are drawn in proportion to their size. "case": every case equally often.
    border
        "shift": patches at a border are moved into the case; what is smaller than a patch is
        filled up. "fill": patches may extend beyond the border, with their centre inside.
    fill
        Value beyond the border, one for all fields but the mask, or ``{field: value}``. By default
        the ignore id for the mask, else 0.
    flips
        Whether to flip half of the patches, along all axes or ``(True, False)`` for each.
    turns
        Whether to turn patches by 0, 90, 180 or 270 degrees in the plane of the last two axes,
        which must be equally long.
    per_case
        Number of successive free draws from the same case. Compressed tiles that they share are
        decoded once if one worker reads them: give a multiple of the batch size. (Images that are
        read where they are decode every chunk for every patch.)

    Raises
    ------
    TypeError, ValueError
        A value has the wrong type or is out of range; the message names it.

    Examples
    --------
    >>> RandomPatches((64, 128, 128), per_epoch=500, shares={"tumour": 1 / 3}).axes
    3
    """

    _: KW_ONLY
    per_epoch: int | None = None
    shares: Mapping[str | int, float] | None = None
    jitter: float = 0.0
    by: Literal["size", "case"] = "size"
    border: Literal["shift", "fill"] = "shift"
    fill: Fill = None
    flips: bool | tuple[bool, ...] = False
    turns: bool = False
    per_case: int = 1

    def __post_init__(self) -> None:
        """Validate and normalise every value."""
        set_value(self, "size", _size(self.size))
        if self.per_epoch is not None:
            per_epoch = whole("per_epoch", self.per_epoch, at_least=1, at_most=MOST_DRAWS)
            set_value(self, "per_epoch", per_epoch)
        per_case = whole("per_case", self.per_case, at_least=1)
        set_value(self, "per_case", min(per_case, MOST_DRAWS))
        if self.by not in ("size", "case"):
            raise ValueError(f"by must be 'size' or 'case', not {self.by!r}")
        if self.border not in ("shift", "fill"):
            raise ValueError(f"border must be 'shift' or 'fill', not {self.border!r}")
        set_value(self, "jitter", number("jitter", self.jitter))
        if not 0 <= self.jitter <= 1:
            raise ValueError(f"jitter must be from 0 to 1, not {self.jitter!r}")
        if self.shares is not None:
            set_value(self, "shares", _shares(self.shares))
        _check(self)

    @property
    def every_flip(self) -> tuple[bool, ...]:
        """Whether to flip along each axis."""
        return _every_flip(self)


@dataclass(frozen=True, slots=True)
class CoverPatches(_OneSize):
    """Patches that cover every pixel exactly once per epoch, differently in every epoch.

    Each case is cut by a grid without overlap, whose origin is random per (seed, epoch, case). The
    outermost patches extend beyond the border. Along an axis of S pixels, patches of P pixels are 1
    if S ≤ P, else ⌈(S + ⌊P/4⌋) / P⌉, so that the origin can move by at least a quarter of a patch,
    and the number of patches is the same in every epoch.

    Parameters
    ----------
    size
        Size of a patch in pixels, (h, w) or (d, h, w).
    fill, flips, turns
        As for :class:`RandomPatches`.

    Raises
    ------
    TypeError, ValueError
        A value has the wrong type or is out of range; the message names it.
    """

    _: KW_ONLY
    fill: Fill = None
    flips: bool | tuple[bool, ...] = False
    turns: bool = False

    def __post_init__(self) -> None:
        """Validate and normalise every value."""
        set_value(self, "size", _size(self.size))
        _check(self)

    @property
    def every_flip(self) -> tuple[bool, ...]:
        """Whether to flip along each axis."""
        return _every_flip(self)


@dataclass(frozen=True, slots=True)
class GridPatches(_OneSize):
    """Patches on a regular grid that cover everything, equal in every epoch, for evaluation.

    Patches begin every ``int(size × (1 - overlap))`` pixels, at least 1, and the last one along
    each axis ends at the border. A case that is smaller than a patch is in its middle. These are
    the places of MONAI's ``sliding_window_inference``.

    Parameters
    ----------
    size
        Size of a patch in pixels, (h, w) or (d, h, w).
    overlap
        Share of a patch that its neighbour covers, too; at least 0 and below 1.
    fill
        As for :class:`RandomPatches`.

    Raises
    ------
    TypeError, ValueError
        A value has the wrong type or is out of range; the message names it.

    Examples
    --------
    >>> GridPatches((512, 512), overlap=0.5).step
    (256, 256)
    """

    overlap: float = 0.0
    _: KW_ONLY
    fill: Fill = None

    def __post_init__(self) -> None:
        """Validate and normalise every value."""
        set_value(self, "size", _size(self.size))
        set_value(self, "overlap", number("overlap", self.overlap))
        set_value(self, "fill", _fill(self.fill))
        if not 0 <= self.overlap < 1:
            raise ValueError(f"overlap must be at least 0 and below 1, not {self.overlap!r}")

    @property
    def step(self) -> tuple[int, ...]:
        """Distance between the origins of neighbours along each axis in pixels."""
        return tuple(max(1, int(extent * (1 - self.overlap))) for extent in self.size)


Patches: TypeAlias = RandomPatches | CoverPatches | GridPatches


def _size(size: Any) -> tuple[int, ...]:
    try:
        found = tuple(whole("size", extent, at_least=1) for extent in size)
    except TypeError:
        hint = f": give {(size,) * 2} or {(size,) * 3}" if isinstance(size, int) else ""
        if isinstance(size, Iterable) and all(map(_is_finite, size)):
            hint = f": give {tuple(max(1, round(extent)) for extent in size)}"
        raise TypeError(f"size must be a tuple of whole numbers, not {size!r}{hint}") from None
    if len(found) not in (2, 3):
        raise ValueError(f"size must be (h, w) or (d, h, w), not {size!r}")
    if math.prod(found) > _MOST_PIXELS:
        raise ValueError(f"size must be of at most {_MOST_PIXELS:,} pixels, not {size!r}")
    return found


def _is_finite(value: object) -> bool:
    return isinstance(value, Real) and math.isfinite(value)


def _shares(shares: Any) -> dict[str | int, float]:
    if not isinstance(shares, Mapping) or not shares:
        raise TypeError(f"shares must be {{class: share}} of at least one class, not {shares!r}")
    found: dict[str | int, float] = {}
    # Sorted, so that equal patches are equal draws.
    for name in sorted(shares, key=str):
        if isinstance(name, bool) or not isinstance(name, str | int | np.integer):
            raise TypeError(f"shares must name classes, or give their ids, not {name!r}")
        share = number(f"shares[{name!r}]", shares[name])
        found[name if isinstance(name, str) else int(name)] = share
        if not (0 < share <= 1 and exact_share(share)):
            raise ValueError(f"shares[{name!r}] must be from 1e-6 to 1, not {shares[name]!r}")
    total = sum(map(exact_share, found.values()))
    if total > 1:
        raise ValueError(f"shares must sum to at most 1, not {float(total):g}: {found}")
    return found


def _fill(fill: Any) -> Fill:
    if isinstance(fill, Mapping):
        return {str(name): number(f"fill[{name!r}]", value) for name, value in fill.items()}
    return None if fill is None else number("fill", fill)


def _every_flip(patches: RandomPatches | CoverPatches) -> tuple[bool, ...]:
    flips = patches.flips
    return flips if isinstance(flips, tuple) else (bool(flips),) * patches.axes


def _check(patches: RandomPatches | CoverPatches) -> None:
    axes, flips, size = patches.axes, patches.flips, patches.size
    if not isinstance(patches.turns, bool | np.bool_):
        raise TypeError(f"turns must be True or False, not {patches.turns!r}")
    set_value(patches, "turns", bool(patches.turns))
    if isinstance(flips, bool | np.bool_):
        set_value(patches, "flips", bool(flips))
    else:
        given = tuple(flips) if isinstance(flips, Iterable) else ()
        if len(given) != axes or not all(isinstance(flip, bool | np.bool_) for flip in given):
            raise ValueError(f"flips must be one bool or {axes}, one for each axis, not {flips!r}")
        set_value(patches, "flips", tuple(map(bool, given)))
    if patches.turns and size[-2] != size[-1]:
        raise ValueError(f"turns needs patches that are square in their last two axes, not {size}")
    set_value(patches, "fill", _fill(patches.fill))
