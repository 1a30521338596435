"""Which class is a mask's value?

Pure. A :class:`MaskMap` turns what a file holds (grey values, palette indices, colours) into
ids; :class:`Labels` says which ids there are, and counts them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from zarrfeed_convert.decode import Pixels
    from zarrfeed_convert.source import Mask

MAX_ID = 65535
_SHOWN = 10  # values or colours that a message names


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
    """

    values: Mapping[int, int] = field(default_factory=dict)
    colors: Mapping[int, int] = field(default_factory=dict)
    rest: int | None = None


def parse_mask_map(text: str) -> MaskMap:
    """Read ``VALUE=ID,…`` where VALUE is an integer, ``#RRGGBB``, or ``*`` for everything else.

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
    for entry in filter(None, (part.strip() for part in text.split(","))):
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
                f"0 … {MAX_ID}, found {entry!r}"
            ) from None
        if twice:
            raise SourceError(f"mask map: {key} is given twice in {text!r}")
    return MaskMap(values, colors, rest)


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
        The mask holds colours that the map does not name, or no integers.
    """
    values = pixels.values
    if values.ndim == 3 and values.shape[2] == 2:
        values = values[:, :, 0]
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
    return _ids_of_values(values, pixels.palette, meaning, name)


def _ids_of_values(
    values: NDArray[Any], palette: NDArray[np.uint8] | None, meaning: MaskMap, name: str
) -> Mask:
    """Map grey values or indices; each may be known by its value or by the colour it shows."""
    table = np.zeros(int(np.iinfo(values.dtype).max) + 1, np.uint16)
    for value in np.flatnonzero(np.bincount(values.ravel())).tolist():
        color = _pack(palette[min(value, len(palette) - 1)]) if palette is not None else None
        if palette is None and value < 256:
            color = value * 0x010101
        if value in meaning.values:
            table[value] = meaning.values[value]
        elif color is not None and color in meaning.colors:
            table[value] = meaning.colors[color]
        elif meaning.rest is not None:
            table[value] = meaning.rest
        elif color is not None and meaning.colors and not meaning.values:
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
    shown = [f"#{color:06X}" for color in colors[:_SHOWN]]
    more = f" and {len(colors) - _SHOWN} more" if len(colors) > _SHOWN else ""
    example = ",".join(f"{color}={number}" for number, color in enumerate(shown[:3]))
    hint = (
        "add them to --mask-map, or give everything else an id with *=ID"
        if known
        else f"say which class each colour is, like --mask-map '{example},…'"
    )
    what = "colours that --mask-map does not name" if known else "a colour-coded mask"
    return SourceError(f"{name}: found {what}: {', '.join(shown)}{more}; {hint}")


@dataclass(frozen=True, slots=True)
class Labels:
    """The classes of a dataset.

    Attributes
    ----------
    classes
        Names; a class's id is its place.
    ignore
        The id of pixels that belong to no class, which losses leave out; may be None.
    binary
        The masks hold 0 and 255, and 255 means 1.
    """

    classes: tuple[str, ...]
    ignore: int | None
    binary: bool = False

    @property
    def dtype(self) -> np.dtype[Any]:
        """The smallest of uint8 and uint16 that holds every id."""
        highest = max(len(self.classes) - 1, self.ignore or 0)
        return np.dtype(np.uint8 if highest <= 255 else np.uint16)

    def settle(self, mask: Mask, *, name: str) -> tuple[Mask, NDArray[np.int64]]:
        """Check a mask against the classes.

        Parameters
        ----------
        mask
            (H, W) ids.
        name
            The mask's file, for errors.

        Returns
        -------
        mask
            (H, W) in `dtype`, C-contiguous.
        pixels
            (K,) int64: how many pixels each class has.

        Raises
        ------
        SourceError
            A value is neither a class nor `ignore`; the message says which, and what to do.
        """
        if self.binary:
            mask = np.where(mask == 255, np.uint8(1), mask)
        count = len(self.classes)
        pixels = np.bincount(mask.ravel(), minlength=count)
        outside = np.flatnonzero(pixels[count:]) + count
        if outside.size and outside.tolist() != [self.ignore]:
            raise self._outside([v for v in outside.tolist() if v != self.ignore], pixels, name)
        return np.ascontiguousarray(mask, self.dtype), pixels[:count]

    def _outside(self, values: list[int], pixels: NDArray[np.int64], name: str) -> SourceError:
        present = set(np.flatnonzero(pixels).tolist())
        if present <= {0, 255}:
            hint = (
                "use --mask-map 255=1 if it is a binary mask, "
                "or --ignore 255 if it marks unlabelled pixels"
            )
        elif len(values) == 1:
            value = values[0]
            hint = f"use --ignore {value} if it marks unlabelled pixels, or --mask-map {value}=ID"
        else:
            hint = "list every class with --classes, or give the values ids with --mask-map"
        allowed = f"0 … {len(self.classes) - 1}"
        if self.ignore is not None:
            allowed += f" or {self.ignore} (ignored)"
        shown = ", ".join(map(str, values[:_SHOWN])) + (" …" if len(values) > _SHOWN else "")
        plural = "s" if len(values) > 1 else ""
        return SourceError(
            f"{name}: needed class ids {allowed}, found the value{plural} {shown}; {hint}"
        )


def parse_classes(classes: str | int | Sequence[str]) -> tuple[str, ...]:
    """Read class names.

    Parameters
    ----------
    classes
        Names; or a text: a comma list of names, a file with a name per line, or a number K,
        which names the classes ``0 … K-1``.

    Raises
    ------
    SourceError
        There is no name, a name is empty or given twice, or there are more than ids.

    Examples
    --------
    >>> parse_classes("cell, nucleus")
    ('cell', 'nucleus')
    >>> parse_classes("3")
    ('0', '1', '2')
    """
    if isinstance(classes, str):
        names = _names_of_text(classes)
    elif isinstance(classes, int):
        names = [str(number) for number in range(classes)]
    else:
        names = list(classes)
    twice = sorted({name for name in names if names.count(name) > 1}) if len(names) < 4096 else []
    if not names or "" in names or twice or len(names) > MAX_ID + 1:
        wrong = f"{', '.join(twice)} twice" if twice else f"{len(names)} names ({classes!r})"
        raise SourceError(f"classes: needed 1 to {MAX_ID + 1} different names, found {wrong}")
    return tuple(names)


def _names_of_text(text: str) -> list[str]:
    if text.strip().isdecimal():
        return [str(number) for number in range(int(text))]
    path = Path(text)
    if "," not in text and path.is_file():
        lines = path.read_text(encoding="utf-8-sig").splitlines()
        while lines and not lines[-1].strip():
            lines.pop()
        return [line.strip() for line in lines]
    if "," not in text and ("/" in text or path.suffix == ".txt"):
        raise SourceError(f"classes: no such file: {text}")
    return [name.strip() for name in text.split(",")]


def labels_of_values(seen: Mapping[int, str], *, ignore: int | None) -> Labels:
    """Decide the classes from the values that all masks hold.

    Parameters
    ----------
    seen
        Value → a mask that holds it.
    ignore
        The id to leave out, if the user named one.

    Raises
    ------
    SourceError
        255 appears among other values: it may be a class or mean "unlabelled".

    Examples
    --------
    >>> labels_of_values({0: "a.png", 255: "a.png"}, ignore=None)
    Labels(classes=('background', 'foreground'), ignore=None, binary=True)
    >>> labels_of_values({0: "a.png", 2: "b.png"}, ignore=None).classes
    ('0', '1', '2')
    """
    values = set(seen) - {ignore}
    if ignore is None and 255 in values:
        if values <= {0, 255}:
            return Labels(("background", "foreground"), None, binary=True)
        raise SourceError(
            f"{seen[255]}: found the mask value 255 among {len(values) - 1} others; use "
            "--ignore 255 if it marks unlabelled pixels, or name the classes with --classes"
        )
    count = max(values, default=0) + 1
    return Labels(tuple(str(number) for number in range(count)), ignore)
