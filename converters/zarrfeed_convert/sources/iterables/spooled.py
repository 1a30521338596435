"""How are the samples in a spool read?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from zarrfeed_convert.header import ArrayHeader, Header
from zarrfeed_convert.source import JSON, PAIR, SAMPLES, Field, Mask, Source
from zarrfeed_convert.sources.iterables.samples import name_of
from zarrfeed_convert.sources.read_errors import naming_errors

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from zarrfeed_convert.header import Affine
    from zarrfeed_convert.source import Window

Kind: TypeAlias = tuple[ArrayHeader, ...]  # alike samples share one


@dataclass(frozen=True)
class SpooledSamples(Source):
    """The samples in a spool, a source while the file exists.

    Attributes
    ----------
    path
        The spool.
    unique_keys
        The keys of the samples, or their numbers.
    labels
        The names of the samples in messages.
    offsets, kinds
        Where each sample begins in the file, and the shapes and dtypes of its arrays there.
    digest
        A digest of all samples, by which a later run knows whether it has the same.
    affines
        Where the pixels of each sample are; None if it is not known.
    fields
        The fields of every sample.
    """

    path: Path
    unique_keys: Sequence[str]
    labels: Sequence[str]
    offsets: Sequence[int]
    kinds: Sequence[Kind]
    digest: str
    affines: Sequence[Affine | None]
    fields: tuple[Field, ...] = PAIR

    @property
    def keys(self) -> Sequence[str]:
        """The keys of the samples, or their numbers."""
        return self.unique_keys

    def describe(self) -> JSON:
        """Describe the samples; their origin is unknown."""
        return {"kind": SAMPLES, "facts": {"samples": len(self.keys), "digest": self.digest}}

    def names(self, sample: int) -> tuple[str, ...]:
        """Name the fields of a sample by its number, and by its key if it has one."""
        return tuple(name_of(self.labels[sample], field.name) for field in self.fields)

    def probe(self, sample: int) -> Header:
        """Return the shapes and dtypes of a sample."""
        names = (field.name for field in self.fields)
        arrays = dict(zip(names, self.kinds[sample], strict=True))
        return Header(arrays, affine=self.affines[sample])

    def read(self, sample: int) -> tuple[NDArray[Any], ...]:
        """Read a sample."""
        return tuple(self._stored(sample, place) for place in range(len(self.fields)))

    def read_mask(self, sample: int) -> Mask:
        """Read a sample's mask."""
        return self._stored(sample, self.fields.index(PAIR[1]))

    def reads_windows(self, sample: int) -> bool:  # noqa: ARG002 (of all)
        """Return True: samples are not compressed."""
        return True

    def read_window(self, sample: int, window: Window) -> tuple[NDArray[Any], ...]:
        """Read a part of a sample through a memory map."""
        return tuple(self._part(sample, place, window) for place in range(len(self.fields)))

    def read_mask_window(self, sample: int, window: Window) -> Mask:
        """Read a part of a sample's mask through a memory map."""
        return self._part(sample, self.fields.index(PAIR[1]), window)

    def _stored(self, sample: int, place: int) -> NDArray[Any]:
        (shape, dtype), offset = self._place(sample, place)
        with naming_errors(self.names(sample)[place]), self.path.open("rb") as file:
            file.seek(offset)
            return np.fromfile(file, dtype, math.prod(shape)).reshape(shape)

    def _part(self, sample: int, place: int, window: Window) -> NDArray[Any]:
        (shape, dtype), offset = self._place(sample, place)
        with naming_errors(self.names(sample)[place]):
            return np.array(np.memmap(self.path, np.dtype(dtype), "r", offset, shape)[window])

    def _place(self, sample: int, place: int) -> tuple[ArrayHeader, int]:
        """Return the shape and dtype of a field of a sample, and where it begins in the file."""
        arrays = self.kinds[sample]
        before = sum(math.prod(shape) * np.dtype(dtype).itemsize for shape, dtype in arrays[:place])
        return arrays[place], self.offsets[sample] + before
