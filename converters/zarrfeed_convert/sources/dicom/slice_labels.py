"""How are the labels of a slice read, be they segments or voxels?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from zarrfeed_convert.sources.dicom.frames import FrameReader
    from zarrfeed_convert.sources.dicom.planes import Patch
    from zarrfeed_convert.sources.stacks.volumes import Volume, VolumeReader


class Labels(Protocol):
    """The labels of a series. Picklable."""

    def name(self, number: int) -> str:
        """Name a slice's labels as a person would look for them."""
        ...

    def may_overlap(self, number: int) -> bool:
        """Tell whether a pixel of a slice may have several labels."""
        ...

    def read(
        self, number: int, size: tuple[int, int], frames: FrameReader, volumes: VolumeReader
    ) -> tuple[NDArray[Any], int]:
        """Read a slice's labels: (H, W), and how many pixels have several."""
        ...


@dataclass(frozen=True, slots=True)
class Layer:
    """A frame of segments on a slice.

    Attributes
    ----------
    path, frame
        Which.
    ids
        A value of the frame → its class; what it does not have is left as it is.
    least
        The least value that is as if it were 1; None of frames of segment numbers.
    """

    path: str
    frame: int
    ids: Mapping[int, int]
    least: float | None

    def areas(self, values: NDArray[Any]) -> list[tuple[NDArray[np.bool_], int]]:
        """List where the classes are in a decoded frame."""
        if self.least is not None:
            return [(values >= self.least, number) for number in self.ids.values()]
        return [(values == value, number) for value, number in self.ids.items()]


@dataclass(frozen=True, slots=True)
class SegmentLabels:
    """Segments that were drawn on a series.

    Attributes
    ----------
    paths
        The SEG files.
    layers
        A slice's number → its frames, each painted over the ones before.
    disjoint
        Whether no two of them can overlap.
    dtype
        That holds all classes.
    """

    paths: tuple[str, ...]
    layers: Mapping[int, tuple[Layer, ...]]
    disjoint: bool
    dtype: str

    def name(self, number: int) -> str:
        """Name the frames, counted from 1 as in DICOM, of the first file that has one."""
        layers = self.layers.get(number, ())
        path = layers[0].path if layers else self.paths[0]
        frames = [str(layer.frame + 1) for layer in layers if layer.path == path]
        return f"{path}[frame={','.join(frames)}]" if frames else f"{path}[no frame]"

    def may_overlap(self, number: int) -> bool:
        """Tell whether several frames show a slice, and may overlap."""
        return not self.disjoint and len(self.layers.get(number, ())) > 1

    def read(
        self, number: int, size: tuple[int, int], frames: FrameReader, volumes: VolumeReader
    ) -> tuple[NDArray[Any], int]:
        """Paint a slice's segments."""
        del volumes
        mask = np.zeros(size, self.dtype)
        several = np.zeros(size, bool)
        for layer in self.layers.get(number, ()):
            for area, value in layer.areas(frames.read(layer.path, layer.frame)):
                several |= area & (mask != 0) & (mask != value)
                mask[area] = value
        return mask, int(several.sum())


@dataclass(frozen=True, slots=True)
class VolumeLabels:
    """A label volume that shows a series."""

    volume: Volume
    patches: tuple[Patch, ...]

    def name(self, number: int) -> str:
        """Name the file and the slice of the series."""
        return f"{self.volume.path}[slice={number}]"

    def may_overlap(self, number: int) -> bool:
        """Tell that voxels have one label."""
        del number
        return False

    def read(
        self, number: int, size: tuple[int, int], frames: FrameReader, volumes: VolumeReader
    ) -> tuple[NDArray[Any], int]:
        """Read the voxels that are a slice's pixels."""
        del size, frames
        patch = self.patches[number]
        return patch.turn(volumes.read(self.volume, patch.index)), 0
