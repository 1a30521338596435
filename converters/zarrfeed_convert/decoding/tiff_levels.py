"""At which resolutions does a TIFF hold its image?

    level 0: all pixels | level 1: half of them per axis, or a quarter, … | …

Levels are SubIFDs (OME-TIFF), further pages (Aperio SVS, plain pyramids) or pages that are marked
as reduced (overviews of GDAL). Labels, macros and thumbnails of slides are no levels.
"""

from __future__ import annotations

from itertools import takewhile
from typing import Any, NamedTuple

import tifffile

from zarrfeed.errors import SourceError

# Sizes of levels are rounded, and some writers round them to whole tiles.
_PIXELS, _SHARE = 1, 0.02


class Level(NamedTuple):
    """An image at one resolution.

    Attributes
    ----------
    page
        Its page, whose tags say how pixels are stored.
    full
        The page of level 0, which may have tags that hold for all levels.
    levels
        Number of levels of the file.
    """

    page: Any
    full: Any
    levels: int


def level_of(tiff: tifffile.TiffFile, name: str, number: int = 0) -> Level:
    """Find the image of a TIFF at a resolution.

    Parameters
    ----------
    tiff
        The opened file.
    name
        Name of the file, for errors.
    number
        Number of the level; 0 is the full resolution.

    Raises
    ------
    SourceError
        The file has no such level, or several images.
    """
    found = _levels(tiff, name)
    if number >= len(found):
        sizes = (f"{level} is {page.imagelength}x{page.imagewidth}" for level, page in
                 enumerate(found))  # fmt: skip
        advice = "choose one of them by -o level=N"
        if len(found) == 1:
            advice = "use -o level=0 for all images, save it with levels, or take it out"
        raise SourceError(
            f"{name}: needed level {number}, found {len(found)} level"
            f"{'s' if len(found) > 1 else ''}: {', '.join(sizes)}; {advice}"
        )
    page = found[number]
    if page.imagedepth > 1:
        raise SourceError(
            f"{name}: needed an image, found shape {page.shape} (axes {page.axes}); use --format "
            "tiff for stacks"
        )
    return Level(page, found[0], len(found))


def _levels(tiff: tifffile.TiffFile, name: str) -> list[Any]:
    pages = [_keyed(page) for page in tiff.pages]
    if tiff.is_svs and len(pages) > 1 and pages[0].is_tiled:
        # The page after the first is a thumbnail, those after the levels are label and macro.
        tiled = takewhile(lambda page: page.is_tiled and not page.is_reduced, pages[2:])
        full, smaller = pages[:1], list(tiled)
        full += [page for page in smaller if _size(page) == _size(full[0])]  # focal planes
    else:
        # GDAL's masks of no data are pages, too.
        full = [page for page in pages if not page.is_reduced and not page.is_mask]
        smaller = [page for page in pages if page.is_reduced and not page.is_mask]
        if len(full) > 1 and all(map(_is_level_of, full[1:], full)):
            full, smaller = full[:1], [*full[1:], *smaller]
    if len(full) != 1:
        raise SourceError(
            f"{name}: needed one image in the file, found {len(full)} TIFF pages; use --format "
            "tiff for stacks; save bands as one page (gdal_translate, or tifffile.imwrite "
            "with photometric='minisblack' and planarconfig='contig', of an array (H, W, C))"
        )
    below = full[0].pages or ()
    levels: dict[tuple[int, int], Any] = {_size(full[0]): full[0]}
    for page in (*smaller, *map(_keyed, below)):
        if _is_level_of(page, full[0]):
            levels.setdefault(_size(page), page)
    return [levels[size] for size in sorted(levels, reverse=True)]


def _is_level_of(page: Any, full: Any) -> bool:
    """Return whether a page may show the same image as a larger one."""
    kinds = [(each.samplesperpixel, each.dtype, each.imagedepth) for each in (page, full)]
    (height, width), (most_rows, most_columns) = _size(page), _size(full)
    if kinds[0] != kinds[1] or min(height, width) < 1 or width >= most_columns:
        return False
    needed = most_rows * width / most_columns
    return height < most_rows and abs(height - needed) <= max(_PIXELS, _SHARE * needed)


def _size(page: Any) -> tuple[int, int]:
    return page.imagelength, page.imagewidth


def _keyed(page: Any) -> Any:
    """Return a page with all its tags; tifffile reads later pages (frames) only in part."""
    return page.aspage() if isinstance(page, tifffile.TiffFrame) else page
