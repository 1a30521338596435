"""Copy boxes out of raw tiles in runs of pixels.

Along the last spatial axis, the pixels of a part and their channels follow each other in the tile
and, unless it is flipped or turned, in the box. NumPy copies such runs faster if each is one
element of a type of its length: boxes of 64×128×128 pixels, int16 and uint8, in 1,033 instead of
1,088 µs (medians of 9 turns on a busy Intel Xeon, NumPy 2.4).
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from zarrfeed.store.box_plan import Lines
    from zarrfeed.store.schema import ArrayLayout


class Runs(NamedTuple):
    """The pixels at one cut along the last spatial axis.

    Attributes
    ----------
    source
        Those of all tiles, (n, ...).
    target
        Where they land in the box, (...). Assign ``source[row, *inside]`` to ``target[lands]``,
        with the slices of ``Lines.lead``.
    across
        Where they are in the box along the last spatial axis.
    """

    source: NDArray[Any]
    target: NDArray[Any]
    across: slice


def box_runs(
    layout: ArrayLayout, tiles: NDArray[np.uint8], lines: Lines, out: NDArray[Any]
) -> list[Runs]:
    """Find the runs of a box.

    Parameters
    ----------
    layout
        Layout of the array, whose rows are tiles.
    tiles
        (n, sample_nbytes) uint8, C-contiguous: the tiles.
    lines
        The parts of the box.
    out
        The box: an array of the array's dtype, with any strides.

    Returns
    -------
    list of Runs
        For each cut along the last spatial axis.
    """
    shape, lead = layout.sample_shape, len(lines.lead[0][0])
    pixel = math.prod(shape[lead + 1 :]) * layout.dtype.itemsize
    if lines.across[0].inside.step != 1 or not out[(0,) * lead].flags.c_contiguous:
        pixels, target = tiles.view(layout.dtype).reshape(-1, *shape), out
        before = (slice(None),) * lead
        if pixel > layout.dtype.itemsize and out[(0,) * (lead + 1)].flags.c_contiguous:
            # Channels of a pixel as one element; NumPy copies several one by one.
            pixels = tiles.view(_run(pixel)).reshape(-1, *shape[: lead + 1])
            target = out.reshape(*out.shape[: lead + 1], -1).view(_run(pixel))[..., 0]
        return [
            Runs(pixels[(slice(None), *before, inside)], target[(*before, lands)], lands)
            for _, inside, lands in lines.across
        ]
    of_tiles = tiles.reshape(-1, *shape[:lead], shape[lead] * pixel)
    of_box = out.reshape(*out.shape[:lead], -1).view(np.uint8)
    found = []
    for _, inside, lands in lines.across:
        start, to = inside.start * pixel, lands.start * pixel
        nbytes = lands.stop * pixel - to
        run = _run(nbytes)
        source = of_tiles[..., start : start + nbytes].view(run)
        found.append(Runs(source, of_box[..., to : to + nbytes].view(run), lands))
    return found


@lru_cache(maxsize=1024)  # creating a type takes as long as copying a small part
def _run(nbytes: int) -> np.dtype[np.void]:
    return np.dtype((np.void, nbytes))
