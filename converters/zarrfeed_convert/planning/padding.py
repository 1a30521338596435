"""What is padded, with what, and what should the user know of it?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from zarrfeed.errors import SourceError
from zarrfeed.spelling import share_text
from zarrfeed.store.schema import MASK
from zarrfeed_convert.geometry import GRID, size_text
from zarrfeed_convert.labels import MAX_ID
from zarrfeed_convert.planning.layout import Decision
from zarrfeed_convert.planning.tile_size import auto_tile, padded_share, unit_of
from zarrfeed_convert.source import image_names

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from zarrfeed_convert.geometry import Geometry, Size
    from zarrfeed_convert.header import ArrayHeader
    from zarrfeed_convert.labels import Labels
    from zarrfeed_convert.planning.plan import Settings
    from zarrfeed_convert.planning.survey_tasks import Measured
    from zarrfeed_convert.source import Field

_MUCH = 0.5


def about_padding(
    settings: Settings,
    fields: Sequence[Field],
    kinds: Mapping[str, ArrayHeader],
    measured: Measured,
    geometry: Geometry,
    labels: Labels,
    *,
    bound: bool,
) -> tuple[Decision, ...]:
    """Say with what images and masks are padded, and refuse a value that images cannot hold.

    Parameters
    ----------
    settings, geometry
        The user's settings, and how samples get their size.
    fields, kinds
        Fields of the samples, and the dtype of each by name.
    measured
        The samples to pack and their headers.
    labels, bound
        The classes, and whether the dataset's other splits have them already.

    Raises
    ------
    SourceError
        The dtype of an image has no such value.
    """
    value = geometry.pad_value
    for name in image_names(fields):
        dtype = np.dtype(str(kinds[name].dtype))
        limits = np.iinfo(dtype) if dtype.kind in "ui" else np.finfo(dtype)
        if not limits.min <= value <= limits.max or (dtype.kind in "ui" and value % 1):
            number = "a whole number" if dtype.kind in "ui" else "a number"
            raise SourceError(
                f"pad_value: needed {number} within {limits.min} … {limits.max}, which the "
                f"{dtype} pixels of {name} can have, found {value:g}"
            )
    if not any(geometry.pads(header.size) for header in measured.headers):
        return ()
    about = []
    # Padding is not part of a case, and does not count in its statistics.
    if geometry.fit != GRID or settings.pad_value is not None:
        reason = f"padded pixels of images are {value:g}"
        asked = settings.pad_value is not None
        reason += ", as asked for" if asked else "; --pad-value chooses another"
        about.append(Decision("padding", f"{value:g}", reason))
    if geometry.fit == GRID:
        has_masks = any(field.name == MASK for field in fields)
        if has_masks and labels.ignore is None and labels.classes and not labels.multi_hot:
            about.append(_about_masks(settings, labels, bound=bound))
        sizes = [header.size for header in measured.headers]
        about += about_much(geometry.size, sizes, auto=settings.tile == "auto")
    return tuple(about)


def _about_masks(settings: Settings, labels: Labels, *, bound: bool) -> Decision:
    """Tell of padded pixels of masks that look like those of a class."""
    free = 255 if len(labels.classes) <= 255 else len(labels.classes)
    reason = f"padded pixels of masks are 0, class {labels.classes[0]!r}, for a model that trains "
    reason += "on whole tiles"
    if free <= MAX_ID:
        option = f"--mask-map 255=1 --ignore {free}" if labels.binary else f"--ignore {free}"
        everywhere = ", in all splits," if bound else ""
        reason += f": {option}{everywhere} makes them pixels of no class"
    if settings.pad_value is None:
        reason += "; those of images are 0, --pad-value chooses another value"
    reason += "; open_case, stitch and the statistics leave padding out"
    return Decision("padding", "0", reason)


def about_much(tile: Size, sizes: Collection[Size], *, auto: bool) -> tuple[Decision, ...]:
    """Tell of tiles of which more than half is padding, and what to do.

    Parameters
    ----------
    tile, sizes
        Size of tiles, and of each case.
    auto
        Whether the tile was chosen automatically.
    """
    share = padded_share(sizes, tile)
    if share <= _MUCH:
        return ()
    other, option = auto_tile(sizes), "auto"
    if auto or padded_share(sizes, other) >= share:
        other = tuple(-(-step // 2) for step in tile)
        option = size_text(other)
    less = share_text(padded_share(sizes, other))
    taken = f", which takes {size_text(other)}," if option == "auto" else ""
    reason = (
        f"{share_text(share)} of the stored {unit_of(tile)} are padding; --tile {option}{taken} "
        f"makes it {less}"
    )
    return (Decision("padding", share_text(share), reason),)
