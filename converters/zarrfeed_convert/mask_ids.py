"""Which class does each pixel of a mask have?

Pure functions of decoded values and a mask map.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.errors import SourceError, look_up
from zarrfeed.spelling import few
from zarrfeed_convert.labels import JPEG_HINT, MAX_ID, is_jpeg
from zarrfeed_convert.mask_map import MULTI_HOT, ONE_HOT, shown_value, within

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from zarrfeed_convert.decoding.pixels import Pixels
    from zarrfeed_convert.mask_map import MaskMap
    from zarrfeed_convert.source import Mask

_RGBA = 4  # channels
_COLORS = 256  # an image with more colours than a palette is not a mask
_TABLE = 1 << 17  # maximum range of values for a lookup table


def mask_ids(pixels: Pixels, meaning: MaskMap, *, name: str) -> Mask:
    """Convert the pixels of a mask to class ids.

    Parameters
    ----------
    pixels
        A decoded mask. If its three colour channels are equal, it is a grey mask.
    meaning
        The mask map. An empty one keeps values and palette indices as ids.
    name
        Name of the mask, for errors.

    Returns
    -------
    ndarray
        (H, W) uint8 or uint16.

    Raises
    ------
    SourceError
        The mask has colours that are not in the map, values that are not ids, pixels without data,
        or an alpha channel with more information than its colours.
    """
    values, palette = pixels.values, pixels.palette
    if values.ndim == 3 and not meaning.colors and not meaning.alpha:
        count = values.shape[2]
        if count not in (1, 2, 3, 4) or (
            values.max(initial=0) == 1 and (values != values[:, :, :1]).any()
        ):
            raise SourceError(several_values(name, count))
    if meaning.alpha:
        values, palette = _alpha_of(pixels, name), None
    elif values.ndim == 3 and values.shape[2] in (2, 4):
        _require_idle_alpha(values, name)
        values = values[:, :, 0] if values.shape[2] == 2 else values[:, :, :3]
    if values.ndim == 3:
        red, green, blue = (values[:, :, channel] for channel in range(3))
        if meaning.colors or not (np.array_equal(red, green) and np.array_equal(red, blue)):
            return _ids_of_colors(values, meaning, name)
        values = red
    if not meaning.alpha:
        _require_data(values, pixels, meaning, name)
    if values.dtype.kind == "u" and values.dtype.itemsize <= 2 and not str(meaning):
        return np.ascontiguousarray(values)
    return _ids_of_values(values, palette, meaning, name)


def _require_data(values: NDArray[Any], pixels: Pixels, meaning: MaskMap, name: str) -> None:
    """Check that a mask has no pixels that the file declares as no data and the map does not name.

    Raises
    ------
    SourceError
        It has some. Their value would become a class.
    """
    for nodata in pixels.nodata:
        color = -1
        if pixels.palette is not None and 0 <= nodata < len(pixels.palette):
            color = _pack(pixels.palette[int(nodata)])
        if meaning.names(nodata) or color in meaning.colors:
            continue
        if math.isnan(nodata):
            found = np.isnan(values) if values.dtype.kind == "f" else False
        else:
            found = values == nodata
        count = int(np.count_nonzero(found))
        if not count:
            continue
        text = shown_value(nodata)
        exact = text if float(nodata).is_integer() or math.isnan(nodata) else f"{text}..{text}"
        keep = f", or --mask-map {exact}={exact} if it is a class" if exact.isdecimal() else ""
        raise SourceError(
            f"{name}: needed a class in every pixel, found {count:,} of the value {text}, which "
            f"the file declares as no data; use --mask-map {exact}=255 --ignore 255 to leave them "
            f"out{keep}"
            f"{look_up('class-ids')}"
        )


def _alpha_of(pixels: Pixels, name: str) -> NDArray[Any]:
    """Return the alpha channel of pixels, or of their palette."""
    values, palette = pixels.values, pixels.palette
    if palette is not None and palette.shape[1] == _RGBA:
        opacity: NDArray[Any] = palette[np.minimum(values, len(palette) - 1), 3]
        return opacity
    if palette is None and values.ndim == 3 and values.shape[2] in (2, _RGBA):
        return values[:, :, -1]
    raise SourceError(
        f"{name}: needed a mask with an alpha channel, found none; leave alpha out of --mask-map, "
        "or, if all of the mask is opaque, save it with an alpha channel"
        f"{look_up('colours')}"
    )


def _require_idle_alpha(values: NDArray[Any], name: str) -> None:
    """Check that each colour of a mask occurs with only one opacity, so that alpha can be dropped.

    Parameters
    ----------
    values
        (H, W, 2 or 4), with alpha as the last channel.
    name
        Name of the mask, for errors.

    Raises
    ------
    SourceError
        A colour occurs with several opacities, so that the mask may be in the alpha channel.
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
            f"{name}: needed colours of one opacity each, found {found} in {both.size} degrees of "
            "opacity; use --mask-map alpha if the mask is drawn in the alpha channel (255 is "
            "opaque), or save the masks without it"
            f"{look_up('colours')}"
        )


def several_values(name: str, count: int) -> str:
    """Return the message for a mask of several values per pixel that are not colours."""
    return (
        f"{name}: needed masks of one value per pixel, found {count}; if they are one-hot, use "
        f"--mask-map {ONE_HOT}=0, or --mask-map '{ONE_HOT}=1,*=0' where the background has no "
        f"channel; if pixels may have several classes, --mask-map {MULTI_HOT}"
        f"{look_up('mask-channels')}"
    )


def _ids_of_values(
    values: NDArray[Any], palette: NDArray[np.uint8] | None, meaning: MaskMap, name: str
) -> Mask:
    """Map grey values or palette indices, by value or by the colour that they show."""
    if not values.size:
        return values.astype(np.uint8)
    if palette is not None and meaning.colors and palette.shape[1] == _RGBA:
        used = np.unique(np.minimum(values, len(palette) - 1))
        _require_idle_alpha(palette[used][np.newaxis], name)
    ints = values.dtype.kind in "ui"
    low = int(values.min()) if ints else 0
    if ints and int(values.max()) - low < _TABLE:
        place = (values if low == 0 else values.astype(np.int64) - low).ravel()
        found = np.flatnonzero(np.bincount(place)) + low
        table = np.zeros(int(found[-1]) - low + 1, np.uint16)
        table[found - low] = _ids_of(found.tolist(), palette, meaning, name)
    else:
        found, place = np.unique(values, return_inverse=True)
        table = np.array(_ids_of(found.tolist(), palette, meaning, name), np.uint16)
    ids: Mask = _narrow(table)[place].reshape(values.shape)
    return ids


def _ids_of(
    values: Sequence[float], palette: NDArray[np.uint8] | None, meaning: MaskMap, name: str
) -> list[int]:
    """Return the id of each value."""
    ids = [_id_of(value, palette, meaning, name) for value in values]
    lost = [value for value, number in zip(values, ids, strict=True) if number is None]
    if lost:
        raise _out_of_range(name, lost, values)
    return [number for number in ids if number is not None]


def _id_of(
    value: float, palette: NDArray[np.uint8] | None, meaning: MaskMap, name: str
) -> int | None:
    """Return the id of a value; None if it has none."""
    whole = 0 <= value <= MAX_ID and value == int(value)
    color: int | None = None
    if palette is not None:
        color = _pack(palette[min(int(value), len(palette) - 1)])
    elif whole and value < 256:
        color = int(value) * 0x010101
    # The colour of a palette entry takes precedence over its index.
    if palette is not None and color is not None and color in meaning.colors:
        return meaning.colors[color]
    if value in meaning.values:
        return meaning.values[int(value)]
    if color is not None and color in meaning.colors:
        return meaning.colors[color]
    for low, high, number in meaning.ranges:
        if within(value, low, high):
            return number
    if meaning.rest is not None:
        return meaning.rest
    if color is not None and meaning.colors and not meaning.values:
        raise _unmapped(name, [color], known=True)
    return int(value) if whole else None


def _out_of_range(name: str, lost: Sequence[float], values: Sequence[float]) -> SourceError:
    fractions = [value for value in lost if not float(value).is_integer()]
    if any(map(math.isfinite, fractions)):
        top = max(filter(math.isfinite, values))
        return SourceError(
            f"{name}: needed a mask of class ids, found values like {fractions[0]:.6g}; give "
            f"ranges of values an id, like --mask-map '{top / 2:.6g}..{top:.6g}=1,*=0'; or, if "
            "they are measured, such as depth, use --field depth=target:… instead of --masks"
            f"{look_up('class-ids')}"
        )
    wrong = "nan" if math.isnan(lost[0]) else f"{lost[0]:.17g}"
    return SourceError(
        f"{name}: needed mask values within 0 … {MAX_ID}, found {values[0]} … {values[-1]}; give "
        f"the others an id, like --mask-map {wrong}=255 --ignore 255 if they mark unlabelled "
        "pixels, or all of them by '*=0'"
        f"{look_up('class-ids')}"
    )


def _ids_of_colors(values: NDArray[Any], meaning: MaskMap, name: str) -> Mask:
    with np.errstate(invalid="ignore"):
        wide = values.astype(np.uint32)
    if not np.array_equal(wide, values) or wide.max(initial=0) > 255:
        raise SourceError(
            f"{name}: needed a colour-coded mask of 8 bits per channel, found {values.dtype} from "
            f"{values.min()} to {values.max()}; save its colours as uint8"
            f"{look_up('colours')}"
        )
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
            "colours, like a photograph; are --images and --masks swapped?"
            + jpeg
            + look_up("colours")
        )
    shown = [f"#{color:06X}" for color in colors]
    example = ",".join(f"{color}={number}" for number, color in enumerate(shown[:3]))
    hint = (
        "add them to --mask-map, or give everything else an id with *=ID"
        if known
        else f"give each colour an id, like --mask-map '{example},…'"
    )
    channels = [[color >> bits & 255 for bits in (16, 8, 0)] for color in colors]
    overlap = any(each.count(255) > 1 for each in channels)
    if overlap and not known and all({*each} <= {0, 255} for each in channels):
        hint += f"; or, if each channel is a class, use --mask-map {MULTI_HOT}"
    topic = look_up("colours")
    if is_jpeg(name):
        hint, topic = JPEG_HINT, look_up("jpeg-masks")
    what = "colours that --mask-map does not name" if known else "a colour-coded mask"
    return SourceError(f"{name}: found {what}: {few(shown)}; {hint}{topic}")
