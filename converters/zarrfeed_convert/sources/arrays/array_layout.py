"""Which axes of arrays are samples (N), planes, rows and columns (D, H, W), and channels (C)?

Pure: shapes in, letters out. What an axis means follows from images and masks together:

    images             masks
    (H, W)             (H, W)          one image
    (H, W, C)          (H, W)          one image
    (N, H, W)          (N, H, W)       N images: a volume's slices, too
    (N, H, W, C)       (N, H, W)       N images
    (N, D, H, W)       (N, D, H, W)    N volumes
    (N, D, H, W, C)    (N, D, H, W)    N volumes

Masks may have an axis of 1, a colour or classes besides.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from zarrfeed.errors import SourceError, look_up
from zarrfeed.spelling import few
from zarrfeed_convert.sources.axes import Axes

if TYPE_CHECKING:
    from collections.abc import Sequence

Shape: TypeAlias = tuple[int, ...]
# Values of a pixel: one or a colour, one for each class, or as many as there are.
Values: TypeAlias = Literal["one", "classes", "any"]

_CHANNELS = 4  # an axis that may be either, and is no longer, counts channels
_LAYOUTS = ("HW", "NHW", "HWC", "NHWC", "NDHW", "DHWC", "NDHWC")  # the likeliest first


class _Fit(NamedTuple):
    """Whether two arrays have the same samples, and masks one value a pixel; more is better."""

    counts: bool
    sizes: bool
    values: bool


def layouts_of(
    images: Sequence[Shape],
    masks: Sequence[Shape],
    *,
    axes: str = "",
    channels_first: bool = False,
    values: Values = "one",
) -> tuple[str, str]:
    """Give a letter for each axis of images and of masks, so that they have the same samples.

    Parameters
    ----------
    images, masks
        The shapes of all arrays; where there are as many of the one as of the other, they are
        pairs, else their samples are. There may be no masks.
    axes
        The letters of the images; empty to find them.
    channels_first
        Channels, if there are any, come before space.
    values
        Of a mask's pixel.

    Raises
    ------
    SourceError
        The arrays of a side differ in their number of axes, there is no such layout or more than
        one, or the number of samples differs.

    Examples
    --------
    >>> layouts_of([(9, 64, 64)], [(9, 64, 64)])
    ('NHW', 'NHW')
    >>> layouts_of([(64, 64, 9)], [(64, 64)])
    ('HWC', 'HW')
    >>> layouts_of([(9, 16, 64, 64, 2)], [(9, 16, 64, 64)])
    ('NDHWC', 'NDHW')
    """
    if axes:
        _require_axes(axes, images)
        return axes, layout_beside(axes, images, masks, "masks", values) if masks else ""
    asked, turned = (_candidates(images, first) for first in (channels_first, not channels_first))
    if not masks:
        return _alone(images, asked, turned), ""
    image, mask = _best(images, masks, asked, "masks", values)
    fit = _fit(images, masks, image, mask, values)
    other = _best(images, masks, turned, "masks", values)
    other_fits = _fit(images, masks, *other, values)
    if "D" in image and "C" in other[0] and all(fit) and all(other_fits):
        raise _several("images and masks", images, [image, other[0]])
    if not (fit.counts and fit.sizes) and other_fits.counts and other_fits.sizes:
        raise SourceError(
            f"images and masks: needed samples of one size, found {_said(images)} and "
            f"{_said(masks)}, which fit with channels {'last' if channels_first else 'first'}; "
            f"use --option channels_first={'no' if channels_first else 'yes'}"
        )
    _require_counts(images, masks, image, mask, "masks", fit)
    return image, mask


def layout_beside(
    image: str, images: Sequence[Shape], others: Sequence[Shape], what: str, values: Values
) -> str:
    """Find what the axes of arrays are that have the samples of images whose axes are known.

    Parameters
    ----------
    image, images, others
        The images' letters; the shapes of images and of the other arrays.
    what, values
        What the others are called in errors, and the values of a pixel.

    Raises
    ------
    SourceError
        They have other axes, or another number of samples.

    Examples
    --------
    >>> layout_beside("NCDHW", [(9, 2, 16, 64, 64)], [(9, 16, 64, 64)], "masks", "one")
    'NDHW'
    """
    _, other = _best(images, others, [image], what, values)
    _require_counts(images, others, image, other, what, _fit(images, others, image, other, values))
    return other


def _require_axes(axes: str, images: Sequence[Shape]) -> None:
    """Refuse letters that arrays of images do not have."""
    once = len(set(axes)) == len(axes) and {*"HW"} <= {*axes} <= {*"NDHWC"}
    if not once or "N" in axes[1:]:
        raise SourceError(
            f"option axes: needed a letter for each axis, like NDHWC: N samples (first), D planes, "
            f"H rows, W columns, C channels; found {axes!r}"
        )
    if _rank(images, "images") != len(axes) or not all(map(min, images)):
        raise SourceError(
            f"images: needed arrays of {len(axes)} axes, as --option axes={axes} says, found "
            f"{_said(images)}"
        )


def _candidates(images: Sequence[Shape], channels_first: bool) -> list[str]:
    """List what the axes of images may be, the likeliest first."""
    rank = _rank(images, "images")
    layouts = [one for one in _LAYOUTS if len(one) == rank]
    if not layouts or not all(map(min, images)):
        raise SourceError(
            "images: needed arrays of shape (N, H, W), (N, H, W, C), (N, D, H, W) or "
            f"(N, D, H, W, C), found {_said(images)}"
            f"{look_up('axes')}"
        )
    if channels_first:
        layouts = [_channels_first(one[:-1]) if "C" in one else one for one in layouts]
    # Three axes of which one is short are one image, not images of a few columns.
    return sorted(layouts, key=lambda one: not (len(one) == 3 and _has_few_channels(images, one)))


def _alone(images: Sequence[Shape], asked: Sequence[str], turned: Sequence[str]) -> str:
    """Choose the layout of images that nothing else explains."""
    short = [[one for one in side if _has_few_channels(images, one)] for side in (asked, turned)]
    if short[0]:
        return short[0][0]
    # Many channels are believed where something counts samples besides.
    readings = [one for one in asked if "N" in one or "C" not in one] + short[1][:1]
    if len(readings) > 1:
        raise _several("images", images, readings)
    return readings[0]


def _best(
    images: Sequence[Shape],
    others: Sequence[Shape],
    candidates: Sequence[str],
    what: str,
    values: Values,
) -> tuple[str, str]:
    """Take the layouts by which most agrees; of equal ones, the first."""
    rank = _rank(others, what)
    pairs = [
        (image, other)
        for image in candidates
        for other in _beside(image)
        if len(other) == rank and ("C" in other or values != "classes")
    ]
    if not pairs or not all(map(min, others)):
        plain, *more = _beside(candidates[0])
        layouts = [next(one for one in more if "C" in one and len(one) > len(plain))]
        layouts[:0] = [plain] if values != "classes" else []
        needed, beside = (
            " or ".join(f"({', '.join(one)})" for one in side) for side in (layouts, candidates[:1])
        )
        raise SourceError(
            f"{what}: needed arrays of shape {needed}, beside images {beside}, found "
            f"{_said(others)}"
            f"{look_up('axes')}"
        )

    def rated(pair: tuple[str, str]) -> _Fit:
        fit = _fit(images, others, *pair, values)
        # One volume and one of its masks agree in number, whatever they are.
        lone = "D" in pair[0] and "N" not in pair[0]
        return fit._replace(counts=fit.counts and (fit.sizes or not lone))

    return max(pairs, key=rated)


def _beside(image: str) -> list[str]:
    """List the layouts that arrays may have beside such images, the likeliest first.

    Examples
    --------
    >>> _beside("NHWC")
    ['NHW', 'HW', 'NHWC', 'HWC', 'NCHW', 'CHW']
    """
    plain = image.replace("C", "")
    both = [plain, plain.removeprefix("N") if "N" in plain else f"N{plain}"]
    last, first = [f"{one}C" for one in both], [_channels_first(one) for one in both]
    channels = first + last if image.removeprefix("N").startswith("C") else last + first
    return [*dict.fromkeys([*both, *([image] if "C" in image else []), *channels])]


def _channels_first(layout: str) -> str:
    """Put channels before space."""
    return f"NC{layout[1:]}" if layout.startswith("N") else f"C{layout}"


def _fit(
    images: Sequence[Shape], others: Sequence[Shape], image: str, other: str, values: Values
) -> _Fit:
    counts = [
        [Axes.named(layout, shape).count for shape in shapes]
        for layout, shapes in ((image, images), (other, others))
    ]
    if len(images) != len(others):
        counts = [[sum(counts[0])], [sum(counts[1])]]
    sizes = _runs(images, image) == _runs(others, other)
    readable = values != "one" or "C" not in other or _has_few_channels(others, other)
    return _Fit(counts[0] == counts[1], sizes, readable)


def _runs(shapes: Sequence[Shape], layout: str) -> list[tuple[Shape, int]]:
    """List the sizes of consecutive samples, and how many have each."""
    axes = (Axes.named(layout, shape) for shape in shapes)
    return [(size, sum(one.count for one in run)) for size, run in groupby(axes, lambda a: a.size)]


def _has_few_channels(shapes: Sequence[Shape], layout: str) -> bool:
    counts = (Axes.named(layout, shape).channel_count for shape in shapes)
    return "C" in layout and max(counts) <= _CHANNELS


def _rank(shapes: Sequence[Shape], what: str) -> int:
    ranks = sorted({len(shape) for shape in shapes})
    if len(ranks) > 1:
        raise SourceError(
            f"{what}: needed arrays of one number of axes, found {' and '.join(map(str, ranks))}: "
            f"{_said(shapes)}"
        )
    return ranks[0]


def _require_counts(
    images: Sequence[Shape], others: Sequence[Shape], image: str, other: str, what: str, fit: _Fit
) -> None:
    if fit.counts:
        return
    there, wanted = (
        sum(Axes.named(layout, shape).count for shape in shapes)
        for layout, shapes in ((image, images), (other, others))
    )
    raise SourceError(
        f"images and {what}: needed as many samples in both, found {there} images in "
        f"{_said(images)} (axes {image}) and {wanted} {what} in {_said(others)} (axes {other}); "
        "give the arrays of one set"
    )


def _several(what: str, images: Sequence[Shape], layouts: Sequence[str]) -> SourceError:
    """Name the readings of an ambiguous shape, and how to choose one."""
    readings = []
    for layout in dict.fromkeys(layouts):
        axes = Axes.named(layout, images[0])
        kind = f"{'volume' if 'D' in layout else 'image'}{'s' * (axes.count > 1)}"
        size = "x".join(map(str, axes.size))
        channels = f" with {axes.channel_count} channels" if "C" in layout else ""
        readings.append(f"{axes.count} {kind} of {size}{channels} ({layout})")
    return SourceError(
        f"{what}: needed axes that can be read in one way, found {_said(images)}: "
        f"{' or '.join(readings)}; say which, like --option axes={layouts[0]}"
    )


def _said(shapes: Sequence[Shape]) -> str:
    different = list(dict.fromkeys(shapes))
    shown = few(map(str, different), shown=3)
    return shown if len(shapes) == 1 else f"{len(shapes)} arrays of {shown}"
