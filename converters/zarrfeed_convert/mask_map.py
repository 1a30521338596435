"""Which class id is a mask file's value?

Pure: grey values, palette indices or colours in, ids out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.errors import SourceError
from zarrfeed_convert.labels import JPEG_HINT, MAX_ID, is_jpeg

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from zarrfeed_convert.decoding.pixels import Pixels
    from zarrfeed_convert.source import Mask

_SHOWN = 10  # colours that a message names
_RGBA = 4  # channels
_COLORS = 256  # more than any palette holds: that is no mask


@dataclass(frozen=True, slots=True)
class MaskMap:
    """What a mask file's values mean.

    Attributes
    ----------
    values
        Grey value or palette index → id.
    colors
        ``0xRRGGBB`` → id.
    rest
        The id of everything else; None to keep a value as its own id. A colour has no id of its
        own: with `colors`, one that is not among them is an error.
    alpha
        The mask is the alpha channel, and its opacity the value.
    """

    values: Mapping[int, int] = field(default_factory=dict)
    colors: Mapping[int, int] = field(default_factory=dict)
    rest: int | None = None
    alpha: bool = False

    def __str__(self) -> str:
        """Write the map as :func:`parse_mask_map` reads it.

        Examples
        --------
        >>> str(MaskMap(values={255: 1}, colors={0xFF0000: 2}, rest=0))
        '255=1,#FF0000=2,*=0'
        """
        parts = ["alpha"] if self.alpha else []
        parts += [f"{value}={self.values[value]}" for value in sorted(self.values)]
        parts += [f"#{color:06X}={self.colors[color]}" for color in sorted(self.colors)]
        return ",".join(parts if self.rest is None else [*parts, f"*={self.rest}"])


def parse_mask_map(text: str) -> MaskMap:
    """Read ``VALUE=ID,…`` where VALUE is an integer, ``#RRGGBB``, or ``*`` for everything else.

    The word ``alpha`` among them takes the values from the alpha channel.

    Raises
    ------
    SourceError
        The text is something else, or names a value twice.

    Examples
    --------
    >>> parse_mask_map("255=1,#FF0000=2,*=0")
    MaskMap(values={255: 1}, colors={16711680: 2}, rest=0)
    """
    values: dict[int, int] = {}
    colors: dict[int, int] = {}
    rest: int | None = None
    entries = [part for part in map(str.strip, text.split(",")) if part]
    for entry in (part for part in entries if part != "alpha"):
        key, _, target = (part.strip() for part in entry.partition("="))
        try:
            number = int(target)
            if not 0 <= number <= MAX_ID:
                raise ValueError
            if key == "*":
                twice, rest = rest is not None, number
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
                f"mask map: needed VALUE=ID with VALUE an integer, #RRGGBB or * and ID within "
                f"0 … {MAX_ID}, or alpha, found {entry!r}"
            ) from None
        if twice:
            raise SourceError(f"mask map: {key} is given twice in {text!r}")
    return MaskMap(values, colors, rest, "alpha" in entries)


def mask_ids(pixels: Pixels, meaning: MaskMap, *, name: str) -> Mask:
    """Turn a mask file's pixels into class ids.

    Parameters
    ----------
    pixels
        A decoded mask.
    meaning
        The mask map; an empty one keeps values and indices as they are.
    name
        The file, for errors.

    Returns
    -------
    (H, W) uint8 or uint16
        A colour mask whose three channels agree everywhere is a grey one that was saved as colour.

    Raises
    ------
    SourceError
        The mask holds colours that the map does not name, or no integers; or its alpha channel
        says something else than its colours do.
    """
    values, palette = pixels.values, pixels.palette
    if meaning.alpha:
        values, palette = _alpha_of(pixels, name), None
    elif values.ndim == 3 and values.shape[2] in (2, 4):
        _require_idle_alpha(values, name)
        values = values[:, :, 0] if values.shape[2] == 2 else values[:, :, :3]
    if values.dtype.kind not in "ui":
        raise SourceError(f"{name}: needed a mask of integers, found {values.dtype}")
    if values.ndim == 3:
        red, green, blue = (values[:, :, channel] for channel in range(3))
        if meaning.colors or not (np.array_equal(red, green) and np.array_equal(red, blue)):
            return _ids_of_colors(values, meaning, name)
        values = red
    if values.dtype.itemsize > 2 or values.dtype.kind == "i":
        if values.size and not (values.min() >= 0 and values.max() <= MAX_ID):
            raise SourceError(
                f"{name}: needed mask values within 0 … {MAX_ID}, "
                f"found {values.min()} … {values.max()}"
            )
        values = values.astype(np.uint16)
    if not (meaning.values or meaning.colors or meaning.rest is not None):
        return np.ascontiguousarray(values)
    return _ids_of_values(values, palette, meaning, name)


def _alpha_of(pixels: Pixels, name: str) -> NDArray[Any]:
    """Take the alpha channel of a file's pixels, or of its palette."""
    values, palette = pixels.values, pixels.palette
    if palette is not None and palette.shape[1] == _RGBA:
        opacity: NDArray[Any] = palette[np.minimum(values, len(palette) - 1), 3]
        return opacity
    if palette is None and values.ndim == 3 and values.shape[2] in (2, _RGBA):
        return values[:, :, -1]
    raise SourceError(
        f"{name}: needed a mask with an alpha channel, found none; leave alpha out of --mask-map"
    )


def _require_idle_alpha(values: NDArray[Any], name: str) -> None:
    """Refuse a mask whose alpha says more than its colours: one of these is not the mask.

    Parameters
    ----------
    values
        (H, W, 2 or 4) of which alpha is the last.
    name
        For errors.
    """
    alpha = values[:, :, -1]
    if values.dtype not in (np.uint8, np.uint16) or (alpha == alpha[:1, :1]).all():
        return
    codes = np.zeros(alpha.shape, np.uint64)
    bits = np.uint64(8 * values.dtype.itemsize)
    for channel in range(values.shape[2]):
        codes = codes << bits | values[:, :, channel]
    both = np.unique(codes)
    colors = np.unique(both >> bits)
    if colors.size < both.size:
        found = "one colour" if colors.size == 1 else f"{colors.size} colours"
        raise SourceError(
            f"{name}: found {found} in {both.size} degrees of opacity: the alpha channel says more "
            "than the colours; use --mask-map alpha if the mask is drawn in it (255 is opaque), or "
            "save the masks without an alpha channel"
        )


def _ids_of_values(
    values: NDArray[Any], palette: NDArray[np.uint8] | None, meaning: MaskMap, name: str
) -> Mask:
    """Map grey values or indices; each may be known by its value or by the colour it shows."""
    table = np.zeros(int(np.iinfo(values.dtype).max) + 1, np.uint16)
    present = np.flatnonzero(np.bincount(values.ravel()))
    if palette is not None:
        shown = palette[np.minimum(present, len(palette) - 1)]
        if meaning.colors and shown.shape[1] == _RGBA:
            _require_idle_alpha(shown[np.newaxis], name)
        colors = [_pack(color) for color in shown]
    else:
        colors = [value * 0x010101 if value < 256 else -1 for value in present.tolist()]
    for value, color in zip(present.tolist(), colors, strict=True):
        # What a palette shows says more than the place where it stands there.
        if palette is not None and color in meaning.colors:
            table[value] = meaning.colors[color]
        elif value in meaning.values:
            table[value] = meaning.values[value]
        elif color in meaning.colors:
            table[value] = meaning.colors[color]
        elif meaning.rest is not None:
            table[value] = meaning.rest
        elif color >= 0 and meaning.colors and not meaning.values:
            raise _unmapped(name, [color], known=True)
        else:
            table[value] = value
    ids: Mask = _narrow(table)[values]
    return ids


def _ids_of_colors(values: NDArray[Any], meaning: MaskMap, name: str) -> Mask:
    if values.dtype != np.uint8:
        raise SourceError(
            f"{name}: needed a colour-coded mask of 8 bits a channel, found {values.dtype}"
        )
    wide = values.astype(np.uint32)
    codes = wide[:, :, 0] << 16 | wide[:, :, 1] << 8 | wide[:, :, 2]
    if not meaning.colors:
        raise _unmapped(name, np.unique(codes).tolist(), known=False)
    known = np.array(sorted(meaning.colors), np.uint32)
    ids = np.array([meaning.colors[color] for color in known.tolist()], np.uint16)
    place = np.minimum(np.searchsorted(known, codes), known.size - 1)
    found = known[place] == codes
    if found.all():
        return _narrow(ids)[place]
    if meaning.rest is None:
        raise _unmapped(name, np.unique(codes[~found]).tolist(), known=True)
    return _narrow(np.where(found, ids[place], np.uint16(meaning.rest)))


def _pack(color: NDArray[np.uint8]) -> int:
    red, green, blue = color[:3].tolist()
    return int(red << 16 | green << 8 | blue)


def _narrow(ids: Mask) -> Mask:
    return ids.astype(np.uint8) if ids.max(initial=0) <= 255 else ids


def _unmapped(name: str, colors: Sequence[int], *, known: bool) -> SourceError:
    if len(colors) > _COLORS:
        jpeg = f"; if it is a mask, {JPEG_HINT}" if is_jpeg(name) else ""
        return SourceError(
            f"{name}: needed a mask of class ids or of a few colours, found {len(colors):,} "
            "colours, like a photograph; are --images and --masks swapped?" + jpeg
        )
    shown = [f"#{color:06X}" for color in colors[:_SHOWN]]
    more = f" and {len(colors) - _SHOWN} more" if len(colors) > _SHOWN else ""
    example = ",".join(f"{color}={number}" for number, color in enumerate(shown[:3]))
    hint = (
        "add them to --mask-map, or give everything else an id with *=ID"
        if known
        else f"say which class each colour is, like --mask-map '{example},…'"
    )
    if is_jpeg(name):
        hint = JPEG_HINT
    what = "colours that --mask-map does not name" if known else "a colour-coded mask"
    return SourceError(f"{name}: found {what}: {', '.join(shown)}{more}; {hint}")
