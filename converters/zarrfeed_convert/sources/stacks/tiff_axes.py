"""Which axes of a TIFF stack count samples, and which channels?

Pure: it takes tifffile's letters of axes. ``Y`` and ``X`` are those of a page, ``C`` (planes) and
``S`` (samples of a pixel) are channels, all others count samples.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from zarrfeed.errors import SourceError
from zarrfeed_convert.mask_ids import several_values
from zarrfeed_convert.sources.axes import ALL, Axes

if TYPE_CHECKING:
    from collections.abc import Sequence


Stored: TypeAlias = tuple[str, tuple[int, ...]]  # letters and lengths of axes
_PLANES = (1, 3, 4)  # channels that an image has, as a rule


def axes_of_pair(
    images: Stored,
    masks: Stored | None,
    *,
    along: str,
    channel: int,
    names: Sequence[str],
    one_hot: bool = False,
) -> tuple[Axes, Axes | None]:
    """Interpret the axes of a stack of images and of its masks.

    Many programs save any stack as channels. So planes of channels are samples if each has a mask,
    unless there are as many as images usually have.

    Parameters
    ----------
    images, masks
        The axes as tifffile gives them; None for images alone.
    along, channel
        The options ``axis`` and ``channel``.
    names
        The files, for errors.
    one_hot
        Masks may have a channel per class.

    Raises
    ------
    SourceError
        An axis is missing or not accounted for, or the numbers of samples differ.

    Examples
    --------
    >>> stack = axes_of_pair(("ZCYX", (5, 3, 8, 8)), ("QYX", (5, 8, 8)), along="", channel=ALL,
    ...                      names=("a.tif", "m.tif"))
    >>> [axes.counted for axes in stack]
    ['Z', 'Q']
    >>> stack = axes_of_pair(("CYX", (3, 8, 8)), ("QYX", (3, 8, 8)), along="", channel=ALL,
    ...                      names=("a.tif", "m.tif"))
    >>> [axes.counted for axes in stack]
    ['C', 'Q']
    """
    image = axes_of(*images, along=along, must=True, name=names[0])
    if masks is None:
        return image, None
    planes = ["".join(set(letters) - set("YXS")) for letters, _ in (images, masks)]
    as_samples = not along and channel == ALL and "C" in "".join(planes)
    if as_samples and plane_count(image) not in _PLANES:
        with suppress(SourceError):
            return _axes_of_pair(images, masks, (planes[0], planes[1]), channel, names, one_hot)
    try:
        return _axes_of_pair(images, masks, (along, along), channel, names, one_hot)
    except SourceError:
        if as_samples:
            with suppress(SourceError):
                return _axes_of_pair(images, masks, (planes[0], planes[1]), channel, names, one_hot)
        raise


def _axes_of_pair(
    images: Stored,
    masks: Stored,
    along: tuple[str, str],
    channel: int,
    names: Sequence[str],
    one_hot: bool,
) -> tuple[Axes, Axes]:
    image = axes_of(*images, along=along[0], must=True, name=names[0])
    mask = axes_of(*masks, along=along[1], must=False, name=names[1])
    count_channels(image, channel, names[0])
    if image.channels is not None and mask.channels is not None and not one_hot:
        _require_no_pages(image, mask, names[0])
    try:
        mask_sample(image, mask, 0)
    except ValueError:
        per_sample = image.channels is not None and image.channel_count == mask.count
        advice = "; count the samples of a pixel by --option axis=S" if per_sample else ""
        raise SourceError(
            f"{names[0]}: needed as many masks as images, found {image.count} pages (axes "
            f"{image.letters}) and {mask.count} (axes {mask.letters}) in {names[1]}{advice}"
        ) from None
    if plane_count(mask) > 1 and not one_hot:
        raise SourceError(
            f"{several_values(names[1], plane_count(mask))}; or count them as samples by --option "
            "axis=C"
        )
    return image, mask


def _require_no_pages(image: Axes, mask: Axes, name: str) -> None:
    """Refuse images and masks whose pages were both saved as samples of a pixel."""
    count = image.channel_count
    both = mask.channels is not None and mask.channel_count == count
    if both and count > max(_PLANES):
        raise SourceError(
            f"{name}: needed masks of one value per pixel, found {count} in images and masks (axes "
            f"{image.letters}); count them as samples by --option axis="
            f"{image.letters[image.channels or 0]}"
        )


def axes_of(letters: str, sizes: Sequence[int], *, along: str, must: bool, name: str) -> Axes:
    """Interpret the axes of a stack.

    Parameters
    ----------
    letters, sizes
        As tifffile gives them.
    along
        The letters of the axes that count samples; empty for all but channels.
    must
        Refuse a stack without the axes `along`; else ignore `along` for it.
    name
        The file, for errors.

    Raises
    ------
    SourceError
        An axis is missing, or is neither spatial, nor channels, nor samples.

    Examples
    --------
    >>> axes_of("TZCYX", (1, 5, 3, 64, 64), along="", must=True, name="a.tif").counted
    'Z'
    """
    shown = f"axes {letters} of {'×'.join(map(str, sizes))}"
    lacking = [letter for letter in along if letter not in letters]
    if lacking and must:
        raise SourceError(
            f"{name}: needed the axis {lacking[0]} of --option axis={along}, found the {shown}"
        )
    if lacking:
        along = ""
    long = [axis for axis, size in enumerate(sizes) if size > 1 or letters[axis] in "YX"]
    letters, sizes = "".join(letters[axis] for axis in long), [sizes[axis] for axis in long]
    if sorted(letter for letter in letters if letter in "YX") != ["X", "Y"]:
        raise SourceError(f"{name}: needed pages of rows Y and columns X, found the {shown}")
    # If pixels have samples, as in RGB, there are no planes of channels: C counts pages.
    channel = next((letter for letter in "SC" if letter in letters and letter not in along), "")
    samples = tuple(
        axis
        for axis, letter in enumerate(letters)
        if letter not in "YX" + channel and (letter in along or not along or letter == "C")
    )
    rest = (
        set(range(len(letters))) - set(samples) - {letters.find(it) for it in ("Y", "X", channel)}
    )
    if rest:
        raise SourceError(
            f"{name}: needed axes that count samples, or channels, found the {shown}; add "
            f"{letters[min(rest)]} to --option axis={along}"
        )
    spatial = letters.index("Y"), letters.index("X")
    channels = letters.index(channel) if channel else None
    return Axes(letters, tuple(sizes), samples, spatial, channels)


def plane_count(axes: Axes) -> int:
    """Return the number of channels that are stored as planes."""
    planes = axes.channels is not None and axes.letters[axes.channels] == "C"
    return axes.channel_count if planes else 1


def label_of(axes: Axes, sample: int) -> str:
    """Name a sample by its place, from 0: ``z=12`` or ``t=1,z=12``."""
    if not axes.samples:
        return "page=0"
    names = [
        letter.lower() if letter in "TZC" else "page" if len(axes.samples) == 1 else letter
        for letter in axes.counted
    ]
    return ",".join(f"{name}={at}" for name, at in zip(names, axes.place(sample), strict=True))


def count_channels(axes: Axes, channel: int, name: str) -> int:
    """Return the number of channels of a stack of images.

    Raises
    ------
    SourceError
        The stack does not have the `channel`.
    """
    count = axes.channel_count
    if channel != ALL:
        if not 0 <= channel < count:
            raise SourceError(
                f"{name}: needed the channel {channel} of --option channel, found {count} "
                "channels, counted from 0"
            )
        return 1
    return count


def mask_sample(images: Axes, masks: Axes, sample: int) -> int:
    """Find the mask of an image in a stack of masks.

    Axes with the same letters correspond, in whatever order they are stored; other axes correspond
    in the order in which they are stored.

    Raises
    ------
    ValueError
        The numbers of samples differ.

    Examples
    --------
    >>> images = axes_of("TZYX", (2, 5, 8, 8), along="", must=True, name="a.tif")
    >>> masks = axes_of("ZTYX", (5, 2, 8, 8), along="", must=True, name="b.tif")
    >>> images.place(6), masks.place(mask_sample(images, masks, 6))
    ((1, 1), (1, 1))
    """
    letters = images.counted
    if letters and sorted(letters) == sorted(masks.counted) and len(set(letters)) == len(letters):
        order = [letters.index(letter) for letter in masks.counted]
        if tuple(images.counts[at] for at in order) != masks.counts:
            raise ValueError
        place = images.place(sample)
        return int(np.ravel_multi_index(tuple(place[at] for at in order), masks.counts))
    if images.count != masks.count:
        raise ValueError
    return sample
