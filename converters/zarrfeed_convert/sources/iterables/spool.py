"""Where are samples that exist only once kept until they are packed?

In one file, decoded, one after the other: packing processes read them from there in any order.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import xxhash

from zarrfeed_convert.locks import hold, own_prefix, remove_abandoned
from zarrfeed_convert.source import JSON, Header, Image, Mask, Source
from zarrfeed_convert.sources.read_errors import naming_errors

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray


@contextmanager
def spool_file(folder: Path) -> Iterator[tuple[IO[bytes], Path]]:
    """Create a file for the duration of the context, and delete those that killed runs left.

    Parameters
    ----------
    folder
        An existing folder.
    """
    prefix = own_prefix(".zarrfeed-spool")
    remove_abandoned(folder, prefix)
    handle, name = tempfile.mkstemp(".spool", prefix, folder)
    path = Path(name)
    held = hold(path)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file, path
    finally:
        path.unlink(missing_ok=True)
        os.close(held)


@dataclass(frozen=True, slots=True)
class Kind:
    """What a sample is; alike samples share one."""

    header: Header
    mask_dtype: str

    @property
    def image_nbytes(self) -> int:
        """How much of the file the image takes; the mask follows."""
        header = self.header
        pixels = header.height * header.width * header.channels
        return pixels * np.dtype(header.dtype).itemsize


@dataclass(frozen=True)
class SpooledSamples(Source):
    """The samples in a spool: a source, for as long as there is the file.

    Attributes
    ----------
    path
        The spool.
    unique_keys
        The keys that the samples came with, or their numbers.
    labels
        What the samples are called in messages.
    offsets, kinds
        Where each begins in the file, and what it is.
    digest
        Of all samples, so that others are known to be others.
    """

    path: Path
    unique_keys: Sequence[str]
    labels: Sequence[str]
    offsets: Sequence[int]
    kinds: Sequence[Kind]
    digest: str

    @property
    def keys(self) -> Sequence[str]:
        """The keys that the samples came with, or their numbers."""
        return self.unique_keys

    def describe(self) -> JSON:
        """Return what the samples are; where they came from is not known."""
        return {"kind": "samples", "facts": {"samples": len(self.keys), "digest": self.digest}}

    def names(self, sample: int) -> tuple[str, str]:
        """Name a sample's image and mask by its number, and by its key if it came with one."""
        return names_of(self.labels[sample])

    def probe(self, sample: int) -> Header:
        """Return what a sample is."""
        return self.kinds[sample].header

    def read(self, sample: int) -> tuple[Image, Mask]:
        """Read a sample."""
        header = self.probe(sample)
        shape = header.height, header.width, header.channels
        with naming_errors(self.names(sample)[0]):
            image = self._stored(shape, header.dtype, self.offsets[sample])
        return image, self.read_mask(sample)

    def read_mask(self, sample: int) -> Mask:
        """Read a sample's mask."""
        kind = self.kinds[sample]
        shape = kind.header.mask_height, kind.header.mask_width
        with naming_errors(self.names(sample)[1]):
            return self._stored(shape, kind.mask_dtype, self.offsets[sample] + kind.image_nbytes)

    def _stored(self, shape: tuple[int, ...], dtype: str, offset: int) -> NDArray[Any]:
        with self.path.open("rb") as file:
            file.seek(offset)
            values = np.fromfile(file, dtype, int(np.prod(shape)))
        return values.reshape(shape)


class SpoolWriter:
    """Writes samples to a spool, one after the other.

    Parameters
    ----------
    file, path
        The spool.
    """

    def __init__(self, file: IO[bytes], path: Path) -> None:
        self._file, self._path = file, path
        self._offset_of: dict[str, int] = {}
        self._labels: list[str] = []
        self._kinds: list[Kind] = []
        self._known: dict[Kind, Kind] = {}
        self._digest = xxhash.xxh3_64()

    def __contains__(self, key: object) -> bool:
        """Return whether a sample of this key is there already."""
        return key in self._offset_of

    def __len__(self) -> int:
        """Count the samples."""
        return len(self._offset_of)

    def append(self, key: str, image: Image, mask: Mask, *, label: str) -> None:
        """Write a sample.

        Parameters
        ----------
        key
            Of the sample; not there yet.
        image, mask
            (H, W, C) of a dtype that can be packed, (H, W) of uint8 or uint16.
        label
            What the sample is called in messages.
        """
        height, width, channels = image.shape
        header = Header(height, width, channels, str(image.dtype), *mask.shape)
        kind = Kind(header, str(mask.dtype))
        self._offset_of[key] = self._file.tell()
        self._labels.append(label)
        self._kinds.append(self._known.setdefault(kind, kind))
        self._digest.update(f"{key}\0{_recorded(kind)}".encode("utf-8", "surrogatepass"))
        for values in (image, mask):
            flat = np.ascontiguousarray(values).reshape(-1).view(np.uint8).data
            self._digest.update(flat)
            self._file.write(flat)

    def finish(self) -> SpooledSamples:
        """Return the samples, now that they are all there."""
        self._file.flush()
        return SpooledSamples(
            self._path,
            list(self._offset_of),
            self._labels,
            list(self._offset_of.values()),
            self._kinds,
            self._digest.hexdigest(),
        )


def _recorded(kind: Kind) -> str:
    """Write a kind as it always went into digests, whatever attributes it has by now."""
    header = kind.header
    return (
        f"Kind(header=Header(height={header.height}, width={header.width}, "
        f"channels={header.channels}, dtype={header.dtype!r}, mask_height={header.mask_height}, "
        f"mask_width={header.mask_width}, mask_colors=(), turned=False), "
        f"mask_dtype={kind.mask_dtype!r})"
    )


def names_of(label: str) -> tuple[str, str]:
    """Name a sample's image and mask."""
    return f"{label} image", f"{label} mask"
