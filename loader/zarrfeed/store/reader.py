"""Read a batch of a split into given arrays.

One verb, :meth:`BatchReader.read_into`: raw samples are gathered in one call where their files
allow it; for all others the reads are planned on each chunk grid, and the field's own reader fills
its array. What a batch holds depends on the ids alone. :class:`SplitReader` is the same for other
packages, with memory of its own.
"""

from __future__ import annotations

import math
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np

from zarrfeed.arrays import aligned_empty
from zarrfeed.errors import ReadError, StoreError, printable
from zarrfeed.store.codecs import use_one_thread_per_decode
from zarrfeed.store.direct import DirectField
from zarrfeed.store.files import require_same
from zarrfeed.store.grid import GridField
from zarrfeed.store.indirect import IndirectField
from zarrfeed.store.read_plan import Reads, plan_reads
from zarrfeed.store.schema import CLASS_PIXELS, KEY, MASK
from zarrfeed.store.split import enough_memory, require_memory

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, DTypeLike, NDArray

    from zarrfeed.arrays import Ids
    from zarrfeed.store.schema import ArrayLayout
    from zarrfeed.store.split import Split

# Samples that are summed at a time, and their bytes.
_SUMMED, _SUMMED_NBYTES = 1 << 16, 8 << 20


class FieldReader(Protocol):
    """Reads the samples of one array.

    Attributes
    ----------
    decode_seconds
        Spent in codecs so far, where that can be told from reading.
    """

    decode_seconds: float

    def gather(self, ids: NDArray[np.int64], out: NDArray[Any]) -> bool:
        """Fill `out` without a plan, if that can be done; False if not."""
        ...

    def read_into(self, reads: Reads, out: NDArray[Any]) -> None:
        """Fill ``out[reads.land]``."""
        ...

    def advise(self, reads: Reads) -> None:
        """Ask the kernel to read what will be needed soon."""
        ...

    def close(self) -> None:
        """Let go of files."""
        ...


class BatchReader:
    """Reads several fields of a split together.

    Not thread-safe: every worker has its own.

    Parameters
    ----------
    split
        An opened split.
    fields
        Array names, in the order of the output arrays.
    open_files
        Descriptors to keep open at most, over all fields.
    """

    def __init__(self, split: Split, fields: Sequence[str], *, open_files: int = 128) -> None:
        use_one_thread_per_decode()
        self._path = split.path
        layouts = split.select(fields)
        each = max(1, open_files // len(layouts))
        self._fields = [
            (layout, open_field(split, name, layout, open_files=each))
            for name, layout in layouts.items()
        ]
        # The direct reader looks whenever it opens a file, the others open them at any time.
        self._stamps = [
            (split.path / name, split.stamps.get(name))
            for name, (_, reader) in zip(layouts, self._fields, strict=True)
            if not isinstance(reader, DirectField)
        ]

    def read_into(self, ids: NDArray[np.int64], out: Sequence[NDArray[Any]]) -> None:
        """Read samples.

        Parameters
        ----------
        ids
            (b,) sample ids in batch order.
        out
            One (b, *sample_shape) C-contiguous array per field, of the field's dtype.

        Raises
        ------
        ReadError
            A shard is missing, short or damaged; or another array has taken this one's place.
        """
        try:
            self._read_fields(ids, out)
        finally:  # whatever else was found wrong in it
            for folder, stamp in self._stamps:
                require_same(folder, stamp)

    def _read_fields(self, ids: NDArray[np.int64], out: Sequence[NDArray[Any]]) -> None:
        plans: dict[tuple[int, int], Reads] = {}
        for (layout, reader), array in zip(self._fields, out, strict=True):
            if reader.gather(ids, array):
                continue
            grid = layout.chunk_rows, layout.shard_rows
            if grid not in plans:
                plans[grid] = plan_reads(ids, chunk_rows=grid[0], shard_rows=grid[1])
            try:  # no context manager: this runs for every batch, and words only failures
                reader.read_into(plans[grid], array)
            except MemoryError as error:
                raise ReadError(
                    f"{self._path}: there is not enough memory left for chunks of "
                    f"{layout.chunk_shape} {layout.dtype}"
                ) from error

    def advise(self, ids: NDArray[np.int64]) -> None:
        """Ask the kernel to read samples that will be needed soon; what fails will fail then."""
        for layout, reader in self._fields:
            grid = layout.chunk_rows, layout.shard_rows
            with suppress(ReadError):
                reader.advise(plan_reads(ids, chunk_rows=grid[0], shard_rows=grid[1]))

    @property
    def decode_seconds(self) -> float:
        """Seconds spent in codecs so far."""
        return sum(reader.decode_seconds for _, reader in self._fields)

    def close(self) -> None:
        """Let go of files."""
        for _, reader in self._fields:
            reader.close()


class SplitReader:
    """Reads any samples of a split into fresh memory, for whoever works through one.

    Not thread-safe: every worker has its own; an opened :class:`Split` may be sent to it. Use it as
    a context manager, or call :meth:`close`.

    Parameters
    ----------
    split
        From :func:`open_split`.
    fields
        Array names; None for those that feed a model. Descriptive arrays, such as ``key``, can be
        read as well.
    open_files
        Descriptors to keep open at most, over all fields.

    Raises
    ------
    StoreError
        A field is missing, or they do not have the same number of samples.
    ReadError
        An array is one that only zarr-python could read, and it cannot.

    Examples
    --------
    >>> from zarrfeed import SplitReader, open_split
    >>> with SplitReader(open_split("camvid.zarr/train")) as reader:  # doctest: +SKIP
    ...     first = reader.read(range(32))
    >>> first["image"].shape  # doctest: +SKIP
    (32, 360, 480, 3)
    """

    def __init__(
        self, split: Split, fields: Sequence[str] | None = None, *, open_files: int = 128
    ) -> None:
        self._layouts = split.select(split.default_fields if fields is None else fields)
        self._reader = BatchReader(split, list(self._layouts), open_files=open_files)
        self._path = split.path

    def __len__(self) -> int:
        """Count the samples."""
        return next(iter(self._layouts.values())).shape[0]

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of the arrays that are read."""
        return tuple(self._layouts)

    def read(self, ids: ArrayLike | range) -> dict[str, NDArray[Any]]:
        """Read samples; neighbours in the store are cheapest together.

        Parameters
        ----------
        ids
            (b,) sample ids, in any order, repeated or not; also a ``range``.

        Returns
        -------
        dict of (b, *sample_shape)
            C-contiguous, 64-byte aligned, by field, in the order of the fields; nobody else writes
            to them.

        Raises
        ------
        StoreError
            An id is no sample's.
        ReadError
            A shard is missing, short or damaged; the message names file, field and samples.
        """
        each = 8 + sum(layout.sample_nbytes for layout in self._layouts.values())
        if isinstance(ids, range):
            require_memory(self._path, len(ids) * each, f"{len(ids):,} samples")
        with enough_memory(self._path, "the samples asked for"):
            return self._read(ids, each)

    def _read(self, ids: ArrayLike | range, each: int) -> dict[str, NDArray[Any]]:
        wanted = np.asarray(ids, np.int64)
        require_memory(self._path, wanted.size * each, f"{wanted.size:,} samples")
        outside = wanted[(wanted < 0) | (wanted >= len(self))]
        if outside.size:
            raise StoreError(
                f"{self._path}: needed sample ids 0 … {len(self) - 1}, found {outside[0]}"
            )
        # NumPy's own memory begins 16 bytes into a page: to copy there took twice as long (rows of
        # 200 kB, glibc 2.36 on an AMD EPYC, which copies such rows by ``rep movsb``).
        out = {
            name: aligned_empty(wanted.size * layout.sample_nbytes)
            .view(layout.dtype)
            .reshape(wanted.size, *layout.sample_shape)
            for name, layout in self._layouts.items()
        }
        if wanted.size:
            self._reader.read_into(wanted, list(out.values()))
        return out

    def close(self) -> None:
        """Let go of files."""
        self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_field(split: Split, name: str, layout: ArrayLayout, *, open_files: int) -> FieldReader:
    """Choose the fastest reader that the array's layout allows; the last is zarr-python."""
    folder = split.path / name
    if layout.indirect is None:
        with enough_memory(folder, f"what it says of its {layout.shape[0]:,} samples"):
            return DirectField(
                folder,
                layout,
                required=split.packed,
                stamp=split.stamps.get(name),
                open_files=open_files,
            )
    if not layout.foreign:
        return GridField(folder, layout, required=split.packed)
    return IndirectField(folder)


def warn_if_indirect(split: Split, fields: Sequence[str]) -> None:
    """Say once, at warning level, which fields are read the slow way, and why."""
    for name, layout in split.select(fields).items():
        if layout.indirect is not None:
            how = "through zarr-python" if layout.foreign else "chunk by chunk"
            warnings.warn(
                printable(
                    f"{split.path / name}: read {how}, which is slower ({layout.indirect}); "
                    "`zarrfeed convert` writes stores that are read directly"
                ),
                stacklevel=4,  # the line that made the sequence
            )


def read_samples(split: Split, field: str, ids: Ids) -> NDArray[Any]:
    """Read a few samples of one field into fresh memory.

    Returns
    -------
    (b, *sample_shape)
    """
    with SplitReader(split, [field]) as reader:
        return reader.read(ids)[field]


def sum_samples(split: Split, field: str, ids: Ids, dtype: DTypeLike) -> NDArray[Any]:
    """Sum a field over samples, however many they are.

    Returns
    -------
    sample_shape
        Of `dtype`.
    """
    layout = split.layouts[field]
    with SplitReader(split, [field]) as reader:
        total = np.zeros(layout.sample_shape, dtype)
        step = max(1, min(_SUMMED, _SUMMED_NBYTES // layout.sample_nbytes))
        for start in range(0, len(ids), step):
            total += reader.read(ids[start : start + step])[field].sum(axis=0, dtype=dtype)
    return total


def class_pixels(split: Split, ids: Ids) -> NDArray[np.int64] | None:
    """Sum the pixels of each class over samples.

    Parameters
    ----------
    split
        An opened split.
    ids
        (n,) of the samples, or a ``range``.

    Returns
    -------
    (classes,) int64, or None where the store does not count them.

    Raises
    ------
    StoreError
        A class has more pixels than there are, or fewer than none.
    """
    counted, mask = split.describing(CLASS_PIXELS), split.layouts.get(MASK)
    if counted is None or (split.classes and counted.sample_shape != (len(split.classes),)):
        return None
    pixels = sum_samples(split, CLASS_PIXELS, ids, np.int64)
    most = len(ids) * math.prod(mask.sample_shape) if mask else pixels.max(initial=0)
    if ((pixels < 0) | (pixels > most)).any():
        raise StoreError(
            f"{split.path / CLASS_PIXELS}: needed counts from 0 to {most}, all pixels of "
            f"{len(ids)} samples, found {pixels.tolist()!s:.200}: restore it, or convert again"
        )
    return pixels


def sample_names(split: Split, ids: Ids) -> list[str]:
    """Name samples by their key, or by their id where the store has no keys."""
    if split.describing(KEY) is None:
        return [f"sample {sample}" for sample in ids]
    keys = read_samples(split, KEY, ids)
    return [bytes(key).rstrip(b"\0").decode("utf-8", "replace") for key in keys]
