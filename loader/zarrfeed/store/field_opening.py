"""Which reader reads an array? The fastest that its layout allows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zarrfeed.machine_memory import enough_memory
from zarrfeed.store.chunk_reader import ChunkReader
from zarrfeed.store.chunk_table import ENTRY_NBYTES
from zarrfeed.store.codecs import CHECKSUM_NBYTES
from zarrfeed.store.decoding_reader import DecodingReader
from zarrfeed.store.mapped_shards import MappedShards
from zarrfeed.store.mirror.mirrored_reader import MirroredReader
from zarrfeed.store.mirror.whole_arrays import fetch_whole
from zarrfeed.store.raw_reader import GatheringReader, RowReader
from zarrfeed.store.shard_files import ShardFiles
from zarrfeed.store.zarr_python_reader import ZarrPythonReader

if TYPE_CHECKING:
    from pathlib import Path

    from zarrfeed.store.field_reader import FieldReader
    from zarrfeed.store.files import Stamp
    from zarrfeed.store.mapped_reader import MappedReader
    from zarrfeed.store.schema import ArrayLayout
    from zarrfeed.store.split import Split


def open_field(
    split: Split, name: str, layout: ArrayLayout, *, open_files: int, cache_nbytes: int = 0
) -> FieldReader:
    """Open the fastest reader that the array's layout allows; zarr-python's is the last resort.

    Parameters
    ----------
    split, name, layout
        The array.
    open_files
        Largest number of descriptors to keep open.
    cache_nbytes
        Bytes of decoded chunks to keep, of readers that decode.
    """
    if name in split.sources:
        return split.sources[name].open(open_files=open_files, cache_nbytes=cache_nbytes)
    folder, origin = split.path / name, split.origin
    by_block = origin is not None and origin.has_blocks_of(name)
    if origin is not None and not by_block:
        fetch_whole(split, name)
    if layout.indirect is None:
        with enough_memory(folder, f"the indexes of its {layout.shape[0]:,} samples"):
            mapped = _map(
                folder,
                layout,
                required=split.packed,
                stamp=split.stamps.get(name),
                open_files=open_files,
                cache_nbytes=cache_nbytes,
            )
        if origin is not None and by_block:
            return MirroredReader(mapped, split.path, name, origin)
        return mapped
    if not layout.foreign:
        return ChunkReader(
            folder,
            layout,
            required=split.packed,
            stamp=split.stamps.get(name),
            open_files=open_files,
        )
    return ZarrPythonReader(folder)


def _map(
    folder: Path,
    layout: ArrayLayout,
    *,
    required: bool,
    stamp: Stamp | None,
    open_files: int,
    cache_nbytes: int,
) -> MappedReader:
    """Open an array whose ``layout.indirect`` is None."""
    files = ShardFiles(
        folder,
        layout,
        required=required,
        stamp=stamp,
        open_files=open_files,
        mapped_shards=reserve_shards(layout, open_files),
    )
    return read_mapped(files, cache_nbytes=cache_nbytes)


def read_mapped(files: ShardFiles, *, cache_nbytes: int) -> MappedReader:
    """Return the fastest reader of mapped shards."""
    if not files.layout.raw:
        return DecodingReader(files, cache_nbytes=cache_nbytes)
    return RowReader(files) if files.mapped_shards is None else GatheringReader(files)


def reserve_shards(layout: ArrayLayout, open_files: int) -> MappedShards | None:
    """Reserve one range of addresses for all files of a raw array.

    Returns
    -------
    MappedShards or None
        None if the array is not raw, has more files than may be open, or the system has no such
        range.
    """
    if not layout.raw or layout.shards > open_files:
        return None
    index = layout.chunks_per_shard * ENTRY_NBYTES + CHECKSUM_NBYTES
    try:
        return MappedShards(
            layout.shards,
            layout.chunks_in_use,
            layout.chunk_rows,
            layout.shard_rows * layout.sample_nbytes + index,
            layout.sample_nbytes,
        )
    except OSError:
        return None
