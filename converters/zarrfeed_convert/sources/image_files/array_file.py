"""How does a ``.npy`` file, or a part of one, become a field of a sample?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from zarrfeed.errors import SourceError
from zarrfeed_convert.decoding.decode import naming_file
from zarrfeed_convert.decoding.npy import NpyFile, open_npy
from zarrfeed_convert.decoding.pixels import Pixels
from zarrfeed_convert.sources.file_discovery import has_extension
from zarrfeed_convert.sources.values import in_rows

if TYPE_CHECKING:
    from zarrfeed_convert.decoding.limits import Limits
    from zarrfeed_convert.decoding.pixels import Measure
    from zarrfeed_convert.source import Window

EXTENSIONS = (".npy",)
VOLUME_AXES = ("DHW", "DHWC")


def require_volume_axes(axes: str) -> None:
    """Check the value of the option ``axes``.

    Raises
    ------
    SourceError
        It is neither empty nor one of `VOLUME_AXES`.
    """
    if axes and axes.upper() not in VOLUME_AXES:
        raise SourceError(
            f"option axes: needed {' or '.join(VOLUME_AXES)} for files of volumes, found {axes!r}; "
            "leave it out for images, or save arrays of other axes by np.moveaxis"
        )


def is_array_file(name: str) -> bool:
    """Return whether a file is an array, by its name."""
    return has_extension(name, EXTENSIONS)


@dataclass(frozen=True, slots=True)
class ArrayFile:
    """A ``.npy`` file of one field, or a part of it.

    Attributes
    ----------
    name, limits
        Path of the file, and limits of what it may claim.
    axes
        Number of spatial axes: 2, or 3 for volumes.
    rank
        Number of all axes; 0 if there may be one of channels or not.
    window
        A slice of each spatial axis; empty for all of it.
    """

    name: str
    limits: Limits
    axes: int = 2
    rank: int = 0
    window: Window = ()

    def measure(self) -> Measure:
        """Read the header of the file. Its size is no limit, since parts of it can be read."""
        with naming_file(self.name):
            file = open_npy(Path(self.name), axes=self.axes)
            if self.rank and len(file.shape) != self.rank:
                raise SourceError(
                    f"{self.name}: needed an array of {self.rank} axes, as -o axes says, found "
                    f"{file.shape}; use another"
                )
            return file.measure()

    def pixels(self) -> Pixels:
        """Read the file, or the part of it; the rows of a volume's planes follow each other."""
        with naming_file(self.name):
            file = open_npy(Path(self.name), axes=self.axes)
            if not self.window:
                self._require_allowed(file)
            return Pixels(in_rows(file.read(self.window), self.axes), bands=True)

    def require_whole(self) -> None:
        """Refuse a file that is too large to be read as a whole."""
        with naming_file(self.name):
            self._require_allowed(open_npy(Path(self.name), axes=self.axes))

    def _require_allowed(self, file: NpyFile) -> None:
        what = f"{'a volume' if self.axes == 3 else 'an image'} without --tile"
        self.limits.require(file.shape, file.dtype, self.name, what)

    @property
    def size(self) -> tuple[int, ...]:
        """Size of what is read."""
        return tuple(part.stop - part.start for part in self.window) or self.measure().size
