"""Which spacing do the volumes of a split get, and how many of them change?"""

from __future__ import annotations

import math
from contextlib import suppress
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
import xxhash

from zarrfeed.errors import SourceError
from zarrfeed_convert.affines import spacing_of
from zarrfeed_convert.orientation import WORDS, require_codes
from zarrfeed_convert.planning.layout import Decision
from zarrfeed_convert.planning.memory import COPIES
from zarrfeed_convert.regridded import RegriddedSource
from zarrfeed_convert.shards.case_parts import PART_NBYTES
from zarrfeed_convert.volume_grid import grid_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from zarrfeed_convert.decoding.limits import Limits
    from zarrfeed_convert.header import Header
    from zarrfeed_convert.source import Source
    from zarrfeed_convert.volume_grid import VolumeGrid

Spacing: TypeAlias = tuple[float, ...]


def regridded(
    source: Source,
    *,
    orient: str | None,
    spacing: Spacing | Literal["median"] | None,
    known: Spacing | None = None,
    limits: Limits | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> tuple[Source, Spacing | None]:
    """Return a source whose volumes have one orientation and one spacing, and this spacing.

    All headers are read first, to find the median and how many volumes change. Headers that cannot
    be used are left out; measuring the samples of the result reports them.

    Parameters
    ----------
    source
        A source of volumes.
    orient
        To where the x, y and z axes will point, such as ``RAS``; None to keep the orientation.
    spacing
        Spacing along D, H and W of the turned volumes, in mm; ``median`` for the median of theirs
        along each axis; None to keep it.
    known
        Spacing of the dataset's other splits, which ``median`` takes; None if they have none.
    limits
        Limits of what a resampled volume may claim.
    progress
        Called with the step, the number of samples done, and their total number.

    Raises
    ------
    SourceError
        `orient` or `spacing` is invalid, or the median is asked for and no volume has a spacing.
    """
    if orient is None and spacing is None:
        return source, None
    codes = None if orient is None else require_codes(orient)
    headers, errors = _headers(source, progress)
    reason = "asked for"
    if spacing == "median" and known is not None:
        spacing, reason = known, "the median: that of the dataset's other splits"
    elif spacing == "median":
        spacing = _median(source, headers, errors, codes)
        reason = "the median of all volumes"
    done = RegriddedSource(source, orient=codes, spacing=spacing, limits=limits)
    grids = list(_grids(source, headers, codes, done.spacing))
    done.more_nbytes = _more_nbytes(source, grids)
    done.affines_digest = _affines_digest(headers)
    about = []
    if codes is not None:
        turned = sum(grid.turn is not None for _, _, grid in grids)
        points = ", ".join(
            f"{axis} points {WORDS[at]}" for axis, at in zip("xyz", codes, strict=True)
        )
        about.append(
            Decision("orient", codes, f"asked for: {points}; {turned} of {len(grids)} volumes turn")
        )
    if done.spacing is not None:
        count = sum(grid.resampling is not None for _, _, grid in grids)
        text = ", ".join(f"{extent:.4g}" for extent in done.spacing)
        reason += (
            f", along D, H, W; {count} of {len(grids)} volumes are resampled: images linearly, "
            "masks and targets by the nearest voxel"
        )
        about.append(Decision("spacing", f"{text} mm", reason))
    done.remarks = (*source.remarks, *((each.what, each.value, each.reason) for each in about))
    return done, done.spacing


def _headers(
    source: Source, progress: Callable[[str, int, int], None] | None
) -> tuple[dict[int, Header], list[Exception]]:
    """Read all headers, by sample, and collect the errors of those that cannot be read."""
    headers, errors = {}, []
    count = len(source.keys)
    for sample in range(count):
        try:
            headers[sample] = source.probe(sample)
        except Exception as error:  # a decoder may raise anything
            errors.append(error)
        if progress is not None:
            progress("reading spacings", sample + 1, count)
    return headers, errors


def _grids(
    source: Source, headers: dict[int, Header], codes: str | None, spacing: Spacing | None
) -> Iterator[tuple[int, Header, VolumeGrid]]:
    """Yield samples with their headers and grids, without those that have none."""
    for sample, header in headers.items():
        with suppress(SourceError):
            name = source.names(sample)[0]
            yield sample, header, grid_of(header, orient=codes, spacing=spacing, name=name)


def _median(
    source: Source, headers: dict[int, Header], errors: list[Exception], codes: str | None
) -> Spacing:
    """Return the median of the turned volumes' spacings."""
    spacings = [spacing_of(grid.affine) for _, _, grid in _grids(source, headers, codes, None)]
    if spacings:
        return tuple(np.median(spacings, axis=0).tolist())
    for sample, header in headers.items():
        grid_of(header, orient=codes, spacing=None, name=source.names(sample)[0])  # says why
    raise errors[0] if errors else SourceError("needed samples to pack, found none")


def _affines_digest(headers: dict[int, Header]) -> str:
    """Return a digest of the affines of all samples that have one; empty if none has."""
    known = [(sample, header.affine) for sample, header in headers.items() if header.affine]
    return xxhash.xxh3_128(repr(known).encode()).hexdigest() if known else ""


def _more_nbytes(source: Source, grids: list[tuple[int, Header, VolumeGrid]]) -> int:
    """Return the bytes that decoding takes beyond what is expected of the results."""
    old = new = 0
    for sample, header, grid in grids:
        before = header.nbytes
        scale = math.prod(grid.new_size) / math.prod(grid.size)
        after = int(before * scale)
        if source.reads_windows(sample) and after > PART_NBYTES:
            before, after = int(PART_NBYTES / scale), PART_NBYTES
        old, new = max(old, before), max(new, after)
    return COPIES * max(0, old - new)
