"""Blend the predictions of patches, case by case, and write them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from zarrfeed.feed.blending import BLOCK_NBYTES, Blender, id_dtype
from zarrfeed.feed.write_queue import WriteQueue
from zarrfeed.machine_memory import require_memory
from zarrfeed.order.sweep import Sweep
from zarrfeed.order.window import blending_window
from zarrfeed.store.plane_tiles import PlaneTiles
from zarrfeed.store.shard_writer import ShardWriter
from zarrfeed.user_warning import warn_user

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from zarrfeed.feed.blending import Classes
    from zarrfeed.order.patches import GridPatches
    from zarrfeed.order.window import Window
    from zarrfeed.store.prediction_split import PredictionSplit

PREDICTION = "prediction"  # the field of class ids
PROBABILITIES = "probabilities"
_CHUNK_NBYTES = 256 << 10  # of samples, which may be small
_MOST_WAITING = 16  # blocks of planes that wait to be written


@dataclass(frozen=True, slots=True)
class CasePredictions:
    """How the predictions of patches become those of cases.

    Attributes
    ----------
    target
        The split that is written.
    patches
        Which patches the predictions are of.
    window, classes
        As for :func:`zarrfeed.predict`.
    """

    target: PredictionSplit
    patches: GridPatches
    window: Window
    classes: Classes

    @property
    def field(self) -> str:
        """Name of the field that is written."""
        return PREDICTION if self.classes == "argmax" else PROBABILITIES

    def write(self, folder: Path, predictions: Iterator[NDArray[np.float32]], first: int) -> None:
        """Write the cases from `first` on. Shards that exist are kept.

        Parameters
        ----------
        folder
            Folder of the split.
        predictions
            The predictions of all patches of these cases in order, batches (b, *patch, K) float32.
        first
            Number of the first case.

        Raises
        ------
        StoreError
            The sums do not fit in memory, or the folder was begun with another K.
        """
        batch = next(predictions)  # tells K
        channels, cases = batch.shape[-1], self.target.cases
        self._check(channels)
        window = blending_window(self.patches.size, self.window)
        sweep, blender = None, None
        # Another thread encodes and writes, so that the model does not wait for that.
        with self._rows(folder, channels) as rows, WriteQueue(_MOST_WAITING) as queue:
            for case in range(first, len(cases)):
                grid = cases.grid(case)
                if sweep is None or blender is None or sweep.size != grid.size:
                    sweep, blender = Sweep(grid.size, self.patches), None  # frees the former one
                    blender = Blender(sweep, window, channels=channels, classes=self.classes)
                tiles = PlaneTiles(rows, grid, cases.rows(case).start)
                for band in sweep.bands:
                    parts = sweep.parts
                    while parts:
                        if not len(batch):
                            batch = next(predictions)
                        here = min(len(parts), len(batch))
                        blender.add(band, parts[:here], batch[:here])
                        parts, batch = parts[here:], batch[here:]
                    for planes in blender.finish(band):
                        queue.put(tiles.append, planes)

    def _check(self, channels: int) -> None:
        split = self.target.split
        # One channel tells two classes apart.
        if split.classes and len(split.classes) not in {channels, max(channels, 2)}:
            values = f"{channels} classes" if channels > 1 else "1 value per pixel, for 2 classes"
            warn_user(f"the model predicts {values}, {split.address} has {len(split.classes)}")
        cases, patch = self.target.cases, self.patches.size
        sizes = cases.sizes.astype(np.float64)  # claimed ones may overflow int64
        plane = sizes[:, 1:].prod(axis=1)
        sums = plane * np.minimum(sizes[:, 0], patch[0])
        tiles = plane * np.minimum(sizes[:, 0], cases.tile[0])  # while planes fill them
        each = id_dtype(channels).itemsize if self.classes == "argmax" else 4 * channels
        # The tiles of a case are written while those of the next one begin to be filled.
        waiting = 2 * tiles * each + (_MOST_WAITING + 2) * np.maximum(plane * each, BLOCK_NBYTES)
        nbytes = int((sums * (channels + 2) * 4 + waiting).max())
        require_memory(
            split.path, nbytes, f"the sums of {channels} classes for patches of {patch}, and tiles"
        )

    def _rows(self, folder: Path, channels: int) -> ShardWriter:
        cases = self.target.cases
        if self.classes == "argmax":
            shape, dtype = cases.tile, id_dtype(channels)
        else:
            shape, dtype = (*cases.tile, channels), np.dtype(np.float32)
        nbytes = math.prod(shape) * dtype.itemsize
        of_samples = self.target.split.tile_size is None
        names = ("sample", *"zyx"[-len(cases.tile) :], "class")
        return ShardWriter(
            folder / self.field,
            shape=(cases.tiles, *shape),
            dtype=dtype,
            chunk_rows=min(cases.tiles, max(1, _CHUNK_NBYTES // nbytes)) if of_samples else 1,
            dimensions=names[: 1 + len(shape)],
        )
