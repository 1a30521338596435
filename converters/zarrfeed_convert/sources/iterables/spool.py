"""How does a Python iterable become a source?

Packing processes read samples in any order and more than once; an iterable yields each of them
once, in one process. A temporary file, the spool, holds the decoded samples in between. It is
deleted at the end of the conversion; after a conversion that was killed, by the next one.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np
import xxhash

from zarrfeed.errors import SourceError, look_up
from zarrfeed.store.schema import IMAGE, MASK
from zarrfeed_convert.header import ArrayHeader
from zarrfeed_convert.locks import hold, own_prefix, remove_abandoned
from zarrfeed_convert.source import PAIR, Field, Sample, Source
from zarrfeed_convert.sources.iterables.samples import count_samples, each_sample
from zarrfeed_convert.sources.iterables.spooled import SpooledSamples
from zarrfeed_convert.sources.read_errors import anchored

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from zarrfeed_convert.header import Affine
    from zarrfeed_convert.sources.iterables.samples import Samples
    from zarrfeed_convert.sources.iterables.spooled import Kind


@contextmanager
def source_of_samples(
    samples: Samples,
    folder: str | os.PathLike[str],
    *,
    axes: int | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Iterator[Source]:
    """Make a source of samples, for the duration of the context.

    Parameters
    ----------
    samples
        A :class:`~zarrfeed_convert.Source`, which is returned as it is. Or a sequence, an
        iterable or a map-style dataset of samples, each of them ``(image, mask)``,
        ``(key, image, mask)`` or a mapping with ``image`` and, if all samples have them, ``mask``,
        ``key`` and other maps of the image's pixels by name, such as ``depth``. Images are (H, W)
        or (H, W, C) numbers, or Pillow's; masks (H, W) class ids, or (H, W, K) bool where a pixel
        may have several classes, or none; other maps (H, W) or (H, W, C) numbers, which are never
        interpolated. Volumes are (D, H, W, C), or (D, H, W) with ids of this shape; their masks and
        maps have a D, too. A mapping may say where its pixels are: ``affine``, a (4, 4) matrix from
        (z, y, x, 1) to (x, y, z, 1) in millimetres (RAS), of images a (3, 3) one from (row, column,
        1) to (x, y, 1); or ``spacing``, the distances along (D, H, W) or (H, W). Texts, lists of
        texts and None beside them are metadata, which are not packed; numbers are refused. Integers
        of 64 bits become 32, if these hold them; other arrays keep their dtype. A sample without a
        key is keyed by its number, ``00000000`` and so on.
    folder
        The folder of the spool, which takes as many bytes as all decoded samples. If it does not
        exist, the nearest existing folder above it.
    axes
        Number of spatial axes, 2 or 3, of images (D, H, W) or (H, W, C) without a mask, whose shape
        does not tell. If None, such images are refused.
    progress
        Called after every sample with the name of the step, the number of samples done, and the
        number of all samples (if unknown, the number done).

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
        yield writer.finish(_fill(writer, samples, parent, axes, progress))


def _fill(
    writer: SpoolWriter,
    samples: Samples,
    folder: Path,
    axes: int | None,
    progress: Callable[[str, int, int], None] | None,
) -> tuple[Field, ...]:
    """Write all samples, and return their fields."""
    total = count_samples(samples)
    fields: tuple[str, ...] = ()
    for number, given in enumerate(each_sample(samples, axes), 1):
        key, label = given.key, given.label
        if key in writer:
            raise SourceError(
                f"{label}: needed a key of its own, found {key!r} a second time"
                f"{look_up('same-name')}"
            )
        fields = tuple(given.arrays)
        try:
            writer.append(key, given.arrays, label=label, affine=given.affine)
        except OSError as error:
            nbytes = sum(values.nbytes for values in given.arrays.values())
            raise SourceError(
                f"{label}: cannot be kept in {folder} until it is packed: {error.strerror}; "
                f"decoded samples need {nbytes} bytes each there"
                f"{look_up('disk-space')}"
            ) from error
        if progress is not None:
            progress("taking samples", number, total or number)
    if not fields:
        raise SourceError("samples: needed at least one, found none")
    known = {field.name: field for field in PAIR}
    return tuple(known.get(name, Field(name, "target")) for name in fields)


@contextmanager
def spool_file(folder: Path) -> Iterator[tuple[IO[bytes], Path]]:
    """Create a file for the duration of the context, and delete those of killed runs.

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
        self._affines: list[Affine | None] = []
        self._known: dict[Kind, Kind] = {}
        self._digest = xxhash.xxh3_64()

    def __contains__(self, key: object) -> bool:
        """Return whether the spool has a sample of this key."""
        return key in self._offset_of

    def append(self, key: str, sample: Sample, *, label: str, affine: Affine | None = None) -> None:
        """Write a sample.

        Parameters
        ----------
        key
            A key that the spool does not have yet.
        sample
            (H, W, C) or (D, H, W, C) image of a dtype that can be packed, mask of uint8 or uint16
            ids, or with a last axis K of ones and zeros, if there is one, and any other fields.
        label
            The sample's name in messages.
        affine
            Where its pixels are, if that is known.
        """
        kind = tuple(ArrayHeader(values.shape, str(values.dtype)) for values in sample.values())
        self._offset_of[key] = self._file.tell()
        self._labels.append(label)
        self._kinds.append(self._known.setdefault(kind, kind))
        self._affines.append(affine)
        recorded = _recorded(kind, sample) + (f"\0{affine}" if affine else "")
        self._digest.update(f"{key}\0{recorded}".encode("utf-8", "surrogatepass"))
        for values in sample.values():
            flat = np.ascontiguousarray(values).reshape(-1).view(np.uint8).data
            self._digest.update(flat)
            self._file.write(flat)

    def finish(self, fields: tuple[Field, ...]) -> SpooledSamples:
        """Return all samples as a source."""
        self._file.flush()
        return SpooledSamples(
            self._path,
            list(self._offset_of),
            self._labels,
            list(self._offset_of.values()),
            self._kinds,
            self._digest.hexdigest(),
            self._affines,
            fields,
        )


def _recorded(kind: Kind, fields: Iterable[str]) -> str:
    """Write a kind as the first digests had it, so that they stay the same."""
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
