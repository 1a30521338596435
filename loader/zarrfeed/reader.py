"""Read a batch of a split into given arrays.

One verb, :meth:`BatchReader.read_into`: plan the reads on each chunk grid, then let every field's
own reader fill its array. What a batch holds depends on the ids alone.
"""

from __future__ import annotations

import warnings
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from zarrfeed.codecs import use_one_thread_per_decode
from zarrfeed.direct import DirectField
from zarrfeed.errors import ReadError
from zarrfeed.indirect import IndirectField
from zarrfeed.plan import Reads, plan_reads
from zarrfeed.schema import CLASS_PIXELS, KEY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from zarrfeed.schema import ArrayLayout
    from zarrfeed.store import Split


class FieldReader(Protocol):
    """Reads the samples of one array.

    Attributes
    ----------
    decode_seconds
        Spent in codecs so far, where that can be told from reading.
    """

    decode_seconds: float

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
        layouts = split.select(fields)
        each = max(1, open_files // len(layouts))
        self._fields = [
            (layout, open_field(split, name, layout, open_files=each))
            for name, layout in layouts.items()
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
            A shard is missing, short or damaged.
        """
        plans: dict[tuple[int, int], Reads] = {}
        for (layout, reader), array in zip(self._fields, out, strict=True):
            grid = layout.chunk_rows, layout.shard_rows
            if grid not in plans:
                plans[grid] = plan_reads(ids, chunk_rows=grid[0], shard_rows=grid[1])
            reader.read_into(plans[grid], array)

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


def open_field(split: Split, name: str, layout: ArrayLayout, *, open_files: int) -> FieldReader:
    """Choose the direct reader where the array's layout allows it, zarr-python where not."""
    folder = split.path / name
    if layout.indirect is None:
        return DirectField(folder, layout, required=split.packed, open_files=open_files)
    return IndirectField(folder)


def warn_if_indirect(split: Split, fields: Sequence[str]) -> None:
    """Say once, at warning level, which fields are read the slow way, and why."""
    for name, layout in split.select(fields).items():
        if layout.indirect is not None:
            warnings.warn(
                f"{split.path / name}: read through zarr-python, which is slower "
                f"({layout.indirect}); `zarrfeed convert` writes stores that are read directly",
                stacklevel=4,  # the line that made the sequence
            )


def read_samples(split: Split, field: str, ids: NDArray[np.int64]) -> NDArray[Any]:
    """Read a few samples of one field into fresh memory.

    Returns
    -------
    (b, *sample_shape)
    """
    layout = split.select([field])[field]
    out = np.empty((ids.size, *layout.sample_shape), layout.dtype)
    reader = BatchReader(split, [field])
    try:
        reader.read_into(ids, [out])
    finally:
        reader.close()
    return out


def class_pixels(split: Split, ids: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """Sum the pixels of each class over samples.

    Returns
    -------
    (classes,) int64, or None where the store does not count them.
    """
    if CLASS_PIXELS not in split.layouts:
        return None
    return np.asarray(read_samples(split, CLASS_PIXELS, ids).sum(axis=0, dtype=np.int64))


def sample_names(split: Split, ids: NDArray[np.int64]) -> list[str]:
    """Name samples by their key, or by their id where the store has no keys."""
    if KEY not in split.layouts:
        return [f"sample {sample}" for sample in ids.tolist()]
    keys = read_samples(split, KEY, ids)
    return [bytes(key).rstrip(b"\0").decode("utf-8", "replace") for key in keys]
