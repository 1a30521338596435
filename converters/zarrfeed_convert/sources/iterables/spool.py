"""How do samples that a program has in hand, or makes one by one, become a source?

Packing processes read samples in any order, and twice; an iterable gives each of them once, here.
So its samples are kept in a spool in between, decoded, one after the other. The file is gone when
the conversion is; that of a killed one is removed by the next.
"""

from __future__ import annotations

import math
import os
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeAlias

import numpy as np
import xxhash

from zarrfeed.errors import SourceError
from zarrfeed.store.schema import IMAGE, MASK
from zarrfeed_convert.locks import hold, own_prefix, remove_abandoned
from zarrfeed_convert.source import (
    JSON,
    PAIR,
    ArrayHeader,
    Field,
    Header,
    Mask,
    Sample,
    Source,
)
from zarrfeed_convert.sources.iterables.samples import count_samples, each_sample, name_of
from zarrfeed_convert.sources.read_errors import anchored, naming_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from zarrfeed_convert.sources.iterables.samples import Samples

Kind: TypeAlias = tuple[ArrayHeader, ...]  # alike samples share one


@contextmanager
def source_of_samples(
    samples: Samples,
    folder: str | os.PathLike[str],
    *,
    progress: Callable[[str, int, int], None] | None = None,
) -> Iterator[Source]:
    """Make a source of samples, for as long as the context lasts.

    Parameters
    ----------
    samples
        A :class:`~zarrfeed_convert.Source`, which is given back as it is. Or a sequence, an
        iterable or a map-style dataset of samples, each of them ``(image, mask)``,
        ``(key, image, mask)`` or a mapping with ``image`` and, if all samples have them, ``mask``,
        ``key`` and other maps of the image's pixels by name, such as ``depth``. Images are (H, W)
        or (H, W, C) numbers, or Pillow's; masks (H, W) class ids, or (H, W, K) bool where a pixel
        may have several classes, or none; other maps (H, W) or (H, W, C) numbers, which are never
        interpolated. Volumes are (D, H, W, C), or (D, H, W) with ids of this shape; their masks and
        maps have a D, too. Integers of 64 bits become 32, if these hold them; other numbers keep
        their dtype. A sample without a key is keyed by its number, ``00000000`` and so on.
    folder
        Where the spool is: a file as large as all decoded samples. Where there is no such folder,
        it is in the nearest one above it.
    progress
        Called after every sample with what is being done, how many are done, and how many there
        are (of an iterable that does not know: how many are done).

    Raises
    ------
    SourceError
        A sample is none, or has no key of its own; the message names it by its number and key.
        Or there is no room for them. What an iterable raises itself goes through.

    Examples
    --------
    >>> cells = ((np.zeros((4, 4, 3), np.uint8), np.eye(4) > 0) for _ in range(2))
    >>> with source_of_samples(cells, ".") as source:
    ...     source.keys
    ['00000000', '00000001']
    """
    if isinstance(samples, Source):
        yield anchored(samples)
        return
    if all(hasattr(samples, name) for name in ("keys", "probe", "read")):
        raise SourceError(
            f"samples: needed a subclass of zarrfeed_convert.Source, or samples; found "
            f"{type(samples).__name__}, which has keys, probe and read but is none; write "
            f"class {type(samples).__name__}(zarrfeed_convert.Source)"
        )
    parent = Path(folder).absolute()
    while not parent.is_dir():
        parent = parent.parent
    with spool_file(parent) as (file, path):
        writer = SpoolWriter(file, path)
        yield writer.finish(_fill(writer, samples, parent, progress))


def _fill(
    writer: SpoolWriter,
    samples: Samples,
    folder: Path,
    progress: Callable[[str, int, int], None] | None,
) -> tuple[Field, ...]:
    """Write all samples; give the fields that they have."""
    total = count_samples(samples)
    fields: tuple[str, ...] = ()
    for number, (key, label, sample) in enumerate(each_sample(samples), 1):
        if key in writer:
            raise SourceError(f"{label}: needed a key of its own, found {key!r} a second time")
        fields = tuple(sample)
        try:
            writer.append(key, sample, label=label)
        except OSError as error:
            nbytes = sum(values.nbytes for values in sample.values())
            raise SourceError(
                f"{label}: cannot be kept in {folder} until it is packed: {error.strerror}; "
                f"decoded samples need {nbytes} bytes each there"
            ) from error
        if progress is not None:
            progress("taking samples", number, total or number)
    if not fields:
        raise SourceError("samples: needed at least one, found none")
    known = {field.name: field for field in PAIR}
    return tuple(known.get(name, Field(name, "target")) for name in fields)


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
        Where each begins in the file, and its arrays, which follow each other there.
    digest
        Of all samples, so that others are known to be others.
    fields
        What they have.
    """

    path: Path
    unique_keys: Sequence[str]
    labels: Sequence[str]
    offsets: Sequence[int]
    kinds: Sequence[Kind]
    digest: str
    fields: tuple[Field, ...] = PAIR

    @property
    def keys(self) -> Sequence[str]:
        """The keys that the samples came with, or their numbers."""
        return self.unique_keys

    def describe(self) -> JSON:
        """Return what the samples are; where they came from is not known."""
        return {"kind": "samples", "facts": {"samples": len(self.keys), "digest": self.digest}}

    def names(self, sample: int) -> tuple[str, ...]:
        """Name a sample's fields by its number, and by its key if it came with one."""
        return tuple(name_of(self.labels[sample], field.name) for field in self.fields)

    def probe(self, sample: int) -> Header:
        """Return what a sample is."""
        names = (field.name for field in self.fields)
        return Header(dict(zip(names, self.kinds[sample], strict=True)))

    def read(self, sample: int) -> tuple[NDArray[Any], ...]:
        """Read a sample."""
        return tuple(self._stored(sample, place) for place in range(len(self.fields)))

    def read_mask(self, sample: int) -> Mask:
        """Read a sample's mask."""
        return self._stored(sample, self.fields.index(PAIR[1]))

    def _stored(self, sample: int, place: int) -> NDArray[Any]:
        arrays = self.kinds[sample]
        before = sum(math.prod(shape) * np.dtype(dtype).itemsize for shape, dtype in arrays[:place])
        shape, dtype = arrays[place]
        with naming_errors(self.names(sample)[place]), self.path.open("rb") as file:
            file.seek(self.offsets[sample] + before)
            return np.fromfile(file, dtype, math.prod(shape)).reshape(shape)


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

    def append(self, key: str, sample: Sample, *, label: str) -> None:
        """Write a sample.

        Parameters
        ----------
        key
            Of the sample; not there yet.
        sample
            (H, W, C) or (D, H, W, C) image of a dtype that can be packed, mask of uint8 or uint16
            ids, or with a last axis K of ones and zeros, if there is one, and any other fields.
        label
            What the sample is called in messages.
        """
        kind = tuple(ArrayHeader(values.shape, str(values.dtype)) for values in sample.values())
        self._offset_of[key] = self._file.tell()
        self._labels.append(label)
        self._kinds.append(self._known.setdefault(kind, kind))
        self._digest.update(f"{key}\0{_recorded(kind, sample)}".encode("utf-8", "surrogatepass"))
        for values in sample.values():
            flat = np.ascontiguousarray(values).reshape(-1).view(np.uint8).data
            self._digest.update(flat)
            self._file.write(flat)

    def finish(self, fields: tuple[Field, ...]) -> SpooledSamples:
        """Return the samples, now that they are all there."""
        self._file.flush()
        return SpooledSamples(
            self._path,
            list(self._offset_of),
            self._labels,
            list(self._offset_of.values()),
            self._kinds,
            self._digest.hexdigest(),
            fields,
        )


def _recorded(kind: Kind, fields: Iterable[str]) -> str:
    """Write a kind as it always went into digests, whatever attributes it has by now."""
    names = tuple(fields)
    if names != (IMAGE, MASK) or [len(array.shape) for array in kind] != [3, 2]:
        return f"{ {name: tuple(array) for name, array in zip(names, kind, strict=True)} }"
    (height, width, channels), dtype = kind[0]
    (mask_height, mask_width), mask_dtype = kind[1]
    return (
        f"Kind(header=Header(height={height}, width={width}, channels={channels}, "
        f"dtype={dtype!r}, mask_height={mask_height}, mask_width={mask_width}, mask_colors=(), "
        f"turned=False), mask_dtype={mask_dtype!r})"
    )
