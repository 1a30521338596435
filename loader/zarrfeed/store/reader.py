"""Read samples of a split.

:class:`BatchReader` fills given arrays, :class:`SplitReader` returns new ones. The result depends
only on the ids.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from zarrfeed.arrays import aligned_empty
from zarrfeed.errors import ReadError, StoreError, look_up
from zarrfeed.machine_memory import enough_memory, require_memory
from zarrfeed.store.field_opening import open_field
from zarrfeed.store.files import require_same
from zarrfeed.store.read_plan import ReadPlan
from zarrfeed.store.split import require_split

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike, NDArray

    from zarrfeed.arrays import Ids
    from zarrfeed.store.box_plan import BoxPlan
    from zarrfeed.store.field_reader import FieldReader
    from zarrfeed.store.split import Split


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
        Largest number of descriptors to keep open, over all fields.
    cache_nbytes
        Bytes of decoded chunks to keep, over all fields, for batches and boxes that need the same
        chunks as those before.
    """

    def __init__(
        self,
        split: Split,
        fields: Sequence[str],
        *,
        open_files: int = 128,
        cache_nbytes: int = 0,
    ) -> None:
        self._path = split.path
        layouts = split.select(fields)
        each = max(1, open_files // len(layouts))
        # Chunks of all fields are needed together: each keeps as many.
        nbytes = sum(layout.chunk_rows * layout.sample_nbytes for layout in layouts.values())
        chunks = cache_nbytes // max(1, nbytes)
        self._fields = [
            (
                layout,
                open_field(
                    split,
                    name,
                    layout,
                    open_files=each,
                    cache_nbytes=chunks * layout.chunk_rows * layout.sample_nbytes,
                ),
            )
            for name, layout in layouts.items()
        ]
        # Mapped readers check stamps when they map a file. The others open files at any time.
        self._stamps = [
            (split.path / name, split.stamps.get(name))
            for name, (_, reader) in zip(layouts, self._fields, strict=True)
            if not reader.checks_stamp
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
            A shard is missing, short or damaged, or the split was replaced.
        """
        plan = ReadPlan(ids)
        self._read(lambda reader, array: reader.read_into(plan, array), out)

    def read_box_into(self, plan: BoxPlan, out: Sequence[NDArray[Any] | None]) -> None:
        """Read a box of a case, of each field the same.

        Parameters
        ----------
        plan
            The parts of the box.
        out
            One array per field, of the shape of the box and the field's dtype; strides may be any.
            None for a field that is not read.

        Raises
        ------
        ReadError
            As :meth:`read_into`.
        """
        self._read(lambda reader, array: reader.read_box_into(plan, array), out)

    def _read(
        self, read: Callable[[FieldReader, NDArray[Any]], None], out: Sequence[NDArray[Any] | None]
    ) -> None:
        try:
            for (layout, reader), array in zip(self._fields, out, strict=True):
                if array is None:
                    continue
                try:  # cheaper for every batch than the context manager `enough_memory`
                    read(reader, array)
                except MemoryError as error:
                    raise ReadError(
                        f"{self._path}: there is not enough memory left for chunks of "
                        f"{layout.chunk_shape} {layout.dtype}: use fewer workers, or repack the "
                        "split with smaller chunks"
                        f"{look_up('memory')}"
                    ) from error
        finally:  # if the split was replaced, that explains any other error
            for folder, stamp in self._stamps:
                require_same(folder, stamp)

    def prefetch(self, ids: NDArray[np.int64]) -> None:
        """Ask the kernel to load samples into memory, without waiting and ignoring errors.

        Parameters
        ----------
        ids
            (b,) ids of samples that will be read soon; reading them raises the errors.
        """
        plan = ReadPlan(ids)
        for _, reader in self._fields:
            with suppress(ReadError):
                reader.prefetch(plan)

    @property
    def decode_seconds(self) -> float:
        """Seconds spent in codecs so far."""
        return sum(reader.decode_seconds for _, reader in self._fields)

    def close(self) -> None:
        """Close the files."""
        for _, reader in self._fields:
            reader.close()


class SplitReader:
    """Reads any samples of a split into new arrays.

    Not thread-safe: give every worker its own reader. An opened :class:`Split` can be pickled. Use
    the reader as a context manager, or call :meth:`close`.

    Parameters
    ----------
    split
        An opened split; see :func:`open_split`.
    fields
        Array names; None for the fields that feed a model. Descriptive arrays such as ``key`` can
        be read, too.
    open_files
        Largest number of descriptors to keep open, over all fields.

    Raises
    ------
    StoreError
        A field is missing, or the fields differ in their number of samples.
    ReadError
        zarr-python cannot open an array that zarrfeed cannot read itself.

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
        require_split(split)
        self._layouts = split.select(split.default_fields if fields is None else fields)
        self._reader = BatchReader(split, list(self._layouts), open_files=open_files)
        self._path = split.path

    def __len__(self) -> int:
        """Count the samples."""
        return next(iter(self._layouts.values())).shape[0]

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the arrays that :meth:`read` returns."""
        return tuple(self._layouts)

    def read(self, ids: ArrayLike | range) -> dict[str, NDArray[Any]]:
        """Read samples. Neighbours in the store are cheapest to read together.

        Parameters
        ----------
        ids
            (b,) sample ids in any order, repeated or not; or a ``range``.

        Returns
        -------
        dict of (b, …) arrays
            One new array per field, in the order of :attr:`fields`; C-contiguous and 64-byte
            aligned.

        Raises
        ------
        StoreError
            An id is out of range.
        ReadError
            A shard is missing, short or damaged; the message names file, field and samples.
        """
        each = 8 + sum(layout.sample_nbytes for layout in self._layouts.values())
        if isinstance(ids, range):
            require_memory(self._path, len(ids) * each, f"{len(ids):,} samples")
        with enough_memory(self._path, "the samples asked for"):
            return self._read(ids, each)

    def _read(self, ids: ArrayLike | range, each: int) -> dict[str, NDArray[Any]]:
        if isinstance(ids, range):  # 40 times as fast as asarray
            wanted = np.arange(ids.start, ids.stop, ids.step, dtype=np.int64)
        else:
            wanted = np.asarray(ids, np.int64)
        require_memory(self._path, wanted.size * each, f"{wanted.size:,} samples")
        outside = wanted[(wanted < 0) | (wanted >= len(self))]
        if outside.size:
            raise StoreError(
                f"{self._path}: needed sample ids 0 … {len(self) - 1}, found {outside[0]}"
            )
        # Memory of np.empty begins 16 bytes into a page. Copying to it took twice as long (rows of
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
        """Close the files."""
        self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_samples(split: Split, field: str, ids: Ids) -> NDArray[Any]:
    """Read a few samples of one field into a new array.

    Parameters
    ----------
    split
        An opened split.
    field
        Name of the array.
    ids
        (b,) sample ids.

    Returns
    -------
    (b, …) array of the field's dtype
    """
    with SplitReader(split, [field]) as reader:
        return reader.read(ids)[field]
