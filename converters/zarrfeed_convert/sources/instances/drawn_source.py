"""How do image files and the shapes of their instances become samples?

The base class of formats whose masks are drawn.
"""

from __future__ import annotations

from abc import abstractmethod
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from zarrfeed.errors import SourceError, look_up
from zarrfeed_convert.decoding.decode import decode, measure
from zarrfeed_convert.source import IMAGES_ONLY, Source

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from zarrfeed_convert.decoding.limits import Limits
    from zarrfeed_convert.header import Header
    from zarrfeed_convert.source import JSON, Mask
    from zarrfeed_convert.sources.instances.drawing import Drawing, Shape
    from zarrfeed_convert.sources.instances.instance_options import InstanceOptions
    from zarrfeed_convert.sources.value_options import ValueOptions

Size = tuple[int, int]  # height and width


class DrawnSource(Source):
    """Base class of sources of image files whose masks are drawn from shapes.

    A subclass has a `kind`, as ``--format`` takes it. It sets ``_options``, ``_drawing``,
    ``_instances``, ``_limits``, ``_keys`` and ``_facts``, calls :meth:`_name_classes`, and says
    where an image is and which shapes it has.
    """

    kind: ClassVar[str]
    _options: ValueOptions
    _drawing: Drawing
    _instances: InstanceOptions
    _limits: Limits
    _keys: Sequence[str]
    _facts: JSON
    _ignored: int | None = None
    _dtype: np.dtype[Any] = np.dtype(np.uint8)

    @abstractmethod
    def _path(self, sample: int) -> str:
        """Return the path of a sample's image."""

    @abstractmethod
    def _entry(self, sample: int) -> str:
        """Return a name of a sample's mask, for errors."""

    @abstractmethod
    def _shapes(self, sample: int, size: Size) -> list[Shape]:
        """Return the shapes of an image, in their order."""

    def _require_size(self, sample: int, size: Size) -> None:
        """Refuse an image whose size is not that of its shapes, where the format says it."""

    def _name_classes(self, names: tuple[str, ...], *, drawn: bool, ignored: bool = False) -> None:
        """Set fields and labels.

        Parameters
        ----------
        names
            Names of the classes by id.
        drawn
            Whether there are masks; if not, images are packed alone.
        ignored
            Whether shapes may say themselves that their pixels are ignored.
        """
        self._ignored = self._instances.ignored(self._drawing, len(names), labelled=ignored)
        self.fields = self._instances.fields if drawn else IMAGES_ONLY
        self.instances = self._instances.numbered and drawn
        mapped = bool(str(self._options.mask_map)) or not drawn
        self.classes: tuple[str, ...] | None = None if mapped or self.instances else names
        self.ignore: int | None = None if mapped else self._ignored
        highest = max(len(names) - 1, self._ignored or 0)
        self._dtype = np.dtype(np.uint8 if highest <= 255 else np.uint16)

    @property
    def keys(self) -> Sequence[str]:
        """Paths of images below their folder, or of their folders, sorted.

        They are without extension where these are unique.
        """
        return self._keys

    def describe(self) -> JSON:
        """Return the location and the options of the samples, as JSON."""
        return {
            "kind": self.kind,
            **self.arguments,
            **self._options.describe(),
            "facts": self._facts,
        }

    @property
    def _drawn(self) -> bool:
        return self.fields != IMAGES_ONLY

    def names(self, sample: int) -> tuple[str, ...]:
        """Return the path of a sample's image, and the name of its mask."""
        return self._path(sample), *[self._entry(sample)] * (len(self.fields) - 1)

    def probe(self, sample: int) -> Header:
        """Read the header of an image, and check its size."""
        path = self._path(sample)
        image = measure(Path(path), self._limits, windows=False)
        self._require_size(sample, (image.height, image.width))
        mask = replace(image, palette=b"", nodata=()) if self._drawn else None
        return self._instances.header(self._options.header(image, mask, name=path))

    def read(self, sample: int) -> tuple[NDArray[Any], ...]:
        """Decode an image, and draw its mask."""
        path = self._path(sample)
        image = self._options.image(decode(Path(path), self._limits), name=path)
        height, width = image.shape[:2]
        self._require_size(sample, (height, width))
        if not self._drawn:
            return (image,)
        shapes = self._shapes(sample, (height, width))
        further = self._instances.further(
            shapes, (height, width), self._drawing, name=self._entry(sample)
        )
        return image, self._mask(sample, shapes, (height, width)), *further

    def read_mask(self, sample: int) -> Mask:
        """Draw a sample's mask, with the size of the image file."""
        image = measure(Path(self._path(sample)), self._limits, windows=False)
        size = image.height, image.width
        self._require_size(sample, size)
        return self._mask(sample, self._shapes(sample, size), size)

    def _mask(self, sample: int, shapes: Sequence[Shape], size: Size) -> Mask:
        name = self._entry(sample)
        ids = self._instances.mask(
            shapes, size, self._drawing, ignored=self._ignored, dtype=self._dtype, name=name
        )
        return ids if self._instances.numbered else self._options.mask(ids, name=name)


@contextmanager
def naming_shapes(entry: str, size: Size) -> Iterator[None]:
    """Turn errors of parsing the shapes of an image into a `SourceError` that names their entry."""
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SourceError(
            f"{entry}: needed shapes of an image of {size[0]}x{size[1]}, found {error}; correct "
            "the file, or take the image out of it"
        ) from error


def require_annotated_size(image: str, entry: str, size: Size, needed: NDArray[np.int64]) -> None:
    """Check that an image has the size of the image that was annotated.

    Parameters
    ----------
    image, entry
        Path of the image, and name of its annotations, for errors.
    size
        (height, width) of the image.
    needed
        (2,) the size that the annotations say; 0 if they do not.

    Raises
    ------
    SourceError
        It has another size.
    """
    height, width = needed.tolist()
    if height and width and (height, width) != size:
        turned = "; was it rotated (EXIF orientation)?" if (width, height) == size else ""
        raise SourceError(
            f"{image}: needed {height}x{width} (height x width), as {entry} says, found "
            f"{size[0]}x{size[1]}{turned}; use the image that was annotated{look_up('mask-size')}"
        )
