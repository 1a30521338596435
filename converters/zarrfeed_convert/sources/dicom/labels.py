"""What are the labels of a slice?"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from zarrfeed_convert.sources.dicom.frames import FrameReader
    from zarrfeed_convert.sources.dicom.slices import Patch
    from zarrfeed_convert.sources.stacks.nifti_file import Volume, VolumeReader


class SliceLabels(ABC):
    """The labels of a series. Picklable."""

    @property
    @abstractmethod
    def path(self) -> str:
        """The file, or the first of several."""

    @abstractmethod
    def name(self, number: int) -> str:
        """Name the labels of a slice, for errors."""

    @abstractmethod
    def read(
        self, number: int, size: tuple[int, int], frames: FrameReader, volumes: VolumeReader
    ) -> tuple[NDArray[Any], int]:
        """Read the labels of a slice, (H, W), and count the pixels that have several."""

    def may_overlap(self, number: int) -> bool:  # noqa: ARG002 (of no slice, by default)
        """Return whether a pixel of the slice may have several labels."""
        return False


@dataclass(frozen=True, slots=True)
class Layer:
    """A frame of segments on a slice.

    Attributes
    ----------
    ids
        Value in the frame → class; other values change nothing.
    least
        The lowest value that belongs to the segment; None if values are segment numbers.
    """

    path: str
    frame: int
    ids: Mapping[int, int]
    least: float | None

    def areas(self, values: NDArray[Any]) -> list[tuple[NDArray[np.bool_], int]]:
        """Return the area of each class in a decoded frame."""
        if self.least is not None:
            return [(values >= self.least, number) for number in self.ids.values()]
        return [(values == value, number) for value, number in self.ids.items()]


@dataclass(frozen=True, slots=True)
class SegmentLabels(SliceLabels):
    """Segments that were drawn on a series.

    Attributes
    ----------
    paths
        The SEG files.
    layers
        Number of the slice → its frames, each painted over those before.
    disjoint
        Whether no two frames overlap.
    dtype
        A dtype that holds all classes.
    """

    paths: tuple[str, ...]
    layers: Mapping[int, tuple[Layer, ...]]
    disjoint: bool
    dtype: str

    @property
    def path(self) -> str:
        """The first SEG file."""
        return self.paths[0]

    def name(self, number: int) -> str:
        """Name the first file that shows the slice, with its frames, from 1 as in DICOM."""
        layers = self.layers.get(number, ())
        path = layers[0].path if layers else self.path
        frames = [str(layer.frame + 1) for layer in layers if layer.path == path]
        return f"{path}[frame={','.join(frames)}]" if frames else f"{path}[no frame]"

    def may_overlap(self, number: int) -> bool:
        """Return whether several frames show the slice and may overlap."""
        return not self.disjoint and len(self.layers.get(number, ())) > 1

    def read(
        self, number: int, size: tuple[int, int], frames: FrameReader, volumes: VolumeReader
    ) -> tuple[NDArray[Any], int]:
        """Paint the segments of a slice, and count the pixels that have several."""
        del volumes
        mask = np.zeros(size, self.dtype)
        several = np.zeros(size, bool)
        for layer in self.layers.get(number, ()):
            for area, value in layer.areas(frames.read(layer.path, layer.frame)):
                several |= area & (mask != 0) & (mask != value)
                mask[area] = value
        return mask, int(several.sum())


@dataclass(frozen=True, slots=True)
class VolumeLabels(SliceLabels):
    """A label volume that shows a series."""

    volume: Volume
    patches: tuple[Patch, ...]

    @property
    def path(self) -> str:
        """The label volume."""
        return self.volume.path

    def name(self, number: int) -> str:
        """Name the file and the slice of the series."""
        return f"{self.path}[slice={number}]"

    def read(
        self, number: int, size: tuple[int, int], frames: FrameReader, volumes: VolumeReader
    ) -> tuple[NDArray[Any], int]:
        """Read the voxels at the pixels of a slice."""
        del size, frames
        patch = self.patches[number]
        return patch.turn(volumes.read(self.volume, patch.index)), 0
