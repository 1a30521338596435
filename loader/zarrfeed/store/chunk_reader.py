"""Read an array whose chunks split samples, or store them transposed or in another byte order.

Each chunk is read from its file, decoded and transposed, and the part that is needed is copied.
This is slower than reading samples straight from mapped files.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.store.field_reader import FieldReader
from zarrfeed.store.stored_chunks import Place, StoredChunks
from zarrfeed.store.tile_grid import TileGrid

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from zarrfeed.store.box_plan import BoxPlan
    from zarrfeed.store.files import Stamp
    from zarrfeed.store.read_plan import ReadPlan
    from zarrfeed.store.schema import ArrayLayout
    from zarrfeed.store.tile_grid import TilePart


class ChunkReader(FieldReader):
    """Reads an array of any regular chunk grid, chunk by chunk.

    Parameters
    ----------
    folder
        Folder of the array.
    layout
        Layout of the array; ``layout.foreign`` must be False.
    required
        Whether a missing file is an error. Otherwise its chunks hold the fill value.
    stamp
        Stamp of the array; see :func:`zarrfeed.store.files.require_same`.
    open_files
        Largest number of files to keep open, at least 1.
    """

    def __init__(
        self,
        folder: Path,
        layout: ArrayLayout,
        *,
        required: bool,
        stamp: Stamp | None,
        open_files: int,
    ) -> None:
        self._chunks = StoredChunks(
            folder, layout, required=required, stamp=stamp, open_files=open_files
        )
        self._layout = layout
        # The chunks of a sample: a sample is to them what a case is to its tiles.
        self._grid = TileGrid(layout.sample_shape, layout.chunk_shape[1:])

    def read_into(self, plan: ReadPlan, out: NDArray[Any]) -> None:
        """Read the samples of a batch; see :meth:`FieldReader.read_into`."""
        chunk, row = np.divmod(plan.ids, self._layout.chunk_rows)
        for first in np.unique(chunk).tolist():
            here = chunk == first
            lands = here if plan.land is None else plan.land[here]
            for chunk_place, part in self._whole:
                place = (lands, *part.lands)
                with self._chunks.chunk((first, *chunk_place)) as values:
                    if values is None:
                        out[place] = self._layout.fill
                    else:
                        out[place] = values[(row[here], *part.inside)]

    @cached_property
    def _whole(self) -> list[tuple[Place, TilePart]]:
        """The chunks of a whole sample: the place of each after the first axis, and its part."""
        parts = self._grid.parts([slice(0, extent) for extent in self._layout.sample_shape])
        return [(self._grid.place(part.tile), part) for part in parts]

    def read_box_into(self, plan: BoxPlan, out: NDArray[Any]) -> None:
        """Read a box of a case; see :meth:`FieldReader.read_box_into`."""
        layout = self._layout
        wanted: dict[Place, list[tuple[NDArray[Any], tuple[int | slice, ...]]]] = {}
        for sample, part in zip(plan.rows, plan.parts, strict=True):
            first, row = divmod(sample, layout.chunk_rows)
            target = out[part.lands]
            rest = layout.sample_shape[len(part.inside) :]
            inside = (*part.inside, *(slice(0, extent) for extent in rest))
            for piece in self._grid.parts(inside):
                place = first, *self._grid.place(piece.tile)
                wanted.setdefault(place, []).append((target[piece.lands], (row, *piece.inside)))
        for place, pieces in wanted.items():
            with self._chunks.chunk(place) as values:
                for target, within in pieces:
                    target[...] = layout.fill if values is None else values[within]

    def close(self) -> None:
        """Close the files."""
        self._chunks.close()
