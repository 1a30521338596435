"""How are patches cut? Straight into the rows of a batch, whatever tiles they touch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from zarrfeed.arrays import Arrays, aligned_empty
from zarrfeed.errors import ReadError, ZarrfeedError
from zarrfeed.feed.workers.draw_names import DrawNames, draw_keys
from zarrfeed.feed.workers.patch_rows import patch_rows
from zarrfeed.order.draws import FREE
from zarrfeed.order.orientation import TURN_BIT, flips_of, unoriented
from zarrfeed.store.box_plan import BoxPlan
from zarrfeed.store.descriptive_arrays import sample_names
from zarrfeed.store.reader import BatchReader
from zarrfeed.store.schema import CLASS_PIXELS, MASK
from zarrfeed.store.tile_grid import TileGrid, TilePart

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from zarrfeed.feed.workers.batch_spec import PatchSpec
    from zarrfeed.order.draws import Draws
    from zarrfeed.store.split import Split
    from zarrfeed.store.tile_grid import Box


# Decoded chunks that a worker keeps: patches of a case share tiles, and a patch that must contain a
# class needs a tile of the mask twice. More leave the processor's cache: patches of 64×128×128 from
# LZ4 tiles of 64³ of 8 volumes take 3.3 ms of CPU time with 16 MiB, 4.1 ms with 64 MiB.
_CACHE_NBYTES = 16 << 20
_LISTED = 1024  # places whose Trues are listed


class _Draw(NamedTuple):
    """A draw as plain numbers, which Python handles ten times as fast as a record of NumPy."""

    first_tile: int
    size: tuple[int, ...]
    origin: tuple[int, ...]
    tile: int
    label: int
    nth: int
    pixels: int
    orientation: int


class PatchPlace(NamedTuple):
    """Where a patch lies.

    Attributes
    ----------
    key
        Key of the case, or of the sample.
    origin
        Index of the first pixel of the patch in the case, (y, x) or (z, y, x). It is negative if
        the patch begins beyond the border.
    forced
        Id of the class that the patch had to contain; None if it was drawn freely.
    flips
        For each axis, whether the patch is flipped along it.
    turns
        How often the patch is turned by 90 degrees in the plane of the last two axes, after the
        flips, as by ``numpy.rot90(patch, turns, (y, x))``.
    """

    key: str
    origin: tuple[int, ...]
    forced: int | None
    flips: tuple[bool, ...]
    turns: int


class PatchReader:
    """Reads the patches of a batch.

    Not thread-safe: every worker has its own.

    Parameters
    ----------
    split
        An opened split, of cases or of samples.
    fields
        Array names, in the order of the output arrays.
    spec
        What is equal for all patches.
    open_files
        Largest number of descriptors to keep open.
    """

    def __init__(
        self, split: Split, fields: Sequence[str], spec: PatchSpec, *, open_files: int
    ) -> None:
        self._split = split
        self._spec = spec
        self._names = names = spec.fields_read(fields)
        self._reader = BatchReader(split, names, open_files=open_files, cache_nbytes=_CACHE_NBYTES)
        # Memory for the part of a mask's tile in which a pixel is looked up.
        self._mask: NDArray[Any] = np.empty(0, np.uint8)

    @property
    def decode_seconds(self) -> float:
        """Seconds spent in codecs so far."""
        return self._reader.decode_seconds

    def read_into(self, draws: Draws, out: Sequence[NDArray[Any]]) -> None:
        """Read patches.

        Parameters
        ----------
        draws
            (b,) draws of patches.
        out
            One (b, *size, ...) array per field, of the field's dtype.

        Raises
        ------
        ReadError
            A shard is missing, short or damaged, the split was replaced, or a tile has more or
            fewer pixels of a class than the store says.
        """
        axes = len(self._spec.size)
        for row, draw in enumerate(_plain(draws)):
            patch = tuple(unoriented(array[row], draw.orientation, axes) for array in out)
            try:
                self._read_patch(draw, self._origin(draw), patch)
            except ReadError as error:
                raise ReadError(f"{error}{self._read_for(draws[row : row + 1])}") from error

    def _origin(self, draw: _Draw) -> tuple[int, ...]:
        """Return where a patch begins in its case, which may be beyond the border.

        Of a patch that must contain a class, this reads the mask of one tile.
        """
        if draw.tile == FREE:
            return draw.origin
        begin = tuple(map(sum, zip(self._pixel(draw), draw.origin, strict=True)))
        if not self._spec.shift:
            return begin
        # What is smaller than a patch has one place.
        return tuple(
            min(max(first, 0), of_case - extent)
            if extent <= of_case
            else -((extent - of_case) // 2)
            for first, extent, of_case in zip(begin, self._spec.size, draw.size, strict=True)
        )

    def _read_for(self, draws: Draws) -> str:
        try:
            return f" (read for {DrawNames(self._split, draws)})"
        except ZarrfeedError:  # the split was replaced, or its keys are damaged, too
            return ""

    def places(self, draws: Draws) -> list[PatchPlace]:
        """Return where patches lie, which reads a tile of each mask with a forced class."""
        axes = len(self._spec.size)
        keys = draw_keys(self._split, draws)
        return [
            PatchPlace(
                key,
                self._origin(draw),
                None if draw.label == FREE else draw.label,
                flips_of(draw.orientation, axes),
                draw.orientation >> TURN_BIT,
            )
            for key, draw in zip(keys, _plain(draws), strict=True)
        ]

    def prefetch(self, draws: Draws) -> None:
        """Ask the kernel to load patches into memory, without waiting and ignoring errors."""
        forced = draws["tile"] != FREE  # what else these need is known when the tile has been read
        _, rows = patch_rows(draws[~forced], self._spec)
        self._reader.prefetch(np.unique(np.concatenate((rows, draws["tile"][forced]))))

    def close(self) -> None:
        """Close the files."""
        self._reader.close()

    def _read_patch(self, draw: _Draw, origin: tuple[int, ...], patch: Arrays) -> None:
        box, lands = self._inside(origin, draw.size)
        whole = all(
            part.start == 0 and part.stop == extent
            for part, extent in zip(lands, self._spec.size, strict=True)
        )
        if not whole:
            for array, value in zip(patch, self._spec.fill, strict=True):
                array[...] = value
            patch = tuple(array[lands] for array in patch)
        if patch[0].size:
            unread = (None,) * (len(self._names) - len(patch))
            self._reader.read_box_into(self._plan(draw, box), (*patch, *unread))

    def _inside(self, origin: tuple[int, ...], size: tuple[int, ...]) -> tuple[Box, Box]:
        """Return the part of a patch that is inside the case: in the case, and in the patch."""
        box, lands = [], []
        for first, extent, of_case in zip(origin, self._spec.size, size, strict=True):
            start = min(max(first, 0), of_case)
            stop = max(min(first + extent, of_case), start)
            box.append(slice(start, stop))
            lands.append(slice(start - first, stop - first))
        return tuple(box), tuple(lands)

    def _plan(self, draw: _Draw, box: Box) -> BoxPlan:
        return BoxPlan.of_box(draw.first_tile, TileGrid(draw.size, self._spec.tile), box)

    def _pixel(self, draw: _Draw) -> tuple[int, ...]:
        """Look up the drawn pixel in the mask: its index in the case."""
        label, nth, tile = draw.label, draw.nth, draw.tile - draw.first_tile
        grid = TileGrid(draw.size, self._spec.tile)
        origin = grid.origin(tile)
        size = tuple(
            min(extent, of_case - first)
            for extent, of_case, first in zip(grid.tile, grid.size, origin, strict=True)
        )
        own = tuple(slice(0, extent) for extent in size)
        mask = self._mask_memory(size)
        channels = (slice(label, label + 1),) if self._split.multi_hot else ()
        plan = BoxPlan(draw.first_tile, [TilePart(tile, (*own, *channels), own)])
        self._reader.read_box_into(plan, [mask if n == MASK else None for n in self._names])
        value = 1 if self._split.multi_hot else label
        found = mask.reshape(-1) == value
        count = np.count_nonzero(found)
        if draw.pixels != count:
            [name] = sample_names(self._split, np.array([draw.tile]))
            raise ReadError(
                f"{self._split.address}/{MASK}: needed {draw.pixels:,} pixels of class {label} in "
                f"{name}, as {CLASS_PIXELS} says, found {count:,}: check the store by "
                "`zarrfeed verify`, and convert again"
            )
        place = np.unravel_index(_nth_true(found, nth), size)
        return tuple(int(at) + first for at, first in zip(place, origin, strict=True))

    def _mask_memory(self, size: tuple[int, ...]) -> NDArray[Any]:
        layout = self._split.layouts[MASK]
        if not self._mask.size:
            nbytes = int(np.prod(self._spec.tile)) * layout.dtype.itemsize
            self._mask = aligned_empty(nbytes).view(layout.dtype)
        memory = self._mask[: int(np.prod(size))].reshape(size)
        return memory[..., None] if self._split.multi_hot else memory


def _nth_true(found: NDArray[np.bool_], nth: int) -> int:
    """Return the place of the n-th True, by bisection, which takes 1/7 of listing all of many."""
    start, stop = 0, found.size
    while stop - start > _LISTED:
        middle = (start + stop) // 2
        before = int(np.count_nonzero(found[start:middle]))
        if nth < before:
            stop = middle
        else:
            start, nth = middle, nth - before
    return start + int(np.flatnonzero(found[start:stop])[nth])


def _plain(draws: Draws) -> Iterator[_Draw]:
    columns = (draws[name].tolist() for name in _Draw._fields)
    for first_tile, size, origin, *rest in zip(*columns, strict=True):
        yield _Draw(first_tile, tuple(size), tuple(origin), *rest)
