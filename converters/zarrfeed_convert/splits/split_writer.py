"""How does a split become visible, all at once or not at all?

Everything is written to ``OUT/SPLIT.partial``; when it is complete, one rename makes it
``OUT/SPLIT``; a split that it replaces stands aside until then. Metadata goes through zarr-python,
so that it is what zarr-python would have written itself.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.errors import SourceError
from zarrfeed.store.schema import ATTRIBUTES, FORMAT_VERSION, MASK, METADATA, PARTIAL
from zarrfeed_convert.atomic_files import atomic_file, remove, sync_entry, sync_tree, writing
from zarrfeed_convert.locks import locked
from zarrfeed_convert.shards.shard_file import blosc_settings
from zarrfeed_convert.splits.target import target_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from numpy.typing import NDArray
    from zarr.core.buffer import Buffer

    from zarrfeed_convert.labels import Labels
    from zarrfeed_convert.shards.field_layout import FieldLayout
    from zarrfeed_convert.source import JSON
    from zarrfeed_convert.splits.target import Target

# Rows per chunk of the arrays that describe samples: some hundred KiB, read whole.
_DESCRIPTIVE_ROWS = 65536
_LOCK_S = 60  # for what takes some file operations
_ROOT = "root.json"  # the dataset's metadata, until the split takes its place


def partial_folder(target: Target) -> Path:
    """Where a split is written until it is complete."""
    return target.folder.with_name(target.split + PARTIAL)


def unfinished_folders(target: Target) -> tuple[Path, Path]:
    """Where a split is before it is complete, or while it is replaced."""
    return partial_folder(target), _aside(target)


def prepare(target: Target, fields: Sequence[str]) -> Path:
    """Make the folder that a split is written to, or clear it of all but the fields' shards."""
    folder = partial_folder(target)
    folder.mkdir(exist_ok=True)
    for entry in folder.iterdir():
        if entry.name in fields:
            (entry / METADATA).unlink(missing_ok=True)
        else:
            remove(entry, must=True)
    return folder


def write_array(folder: Path, layout: FieldLayout, *, samples: int, spatial_axes: int) -> None:
    """Write the metadata of a field whose shards are packed by ourselves, anew where it is."""
    import zarr
    from zarr.codecs import BloscCodec, ZstdCodec

    compressors: tuple[Any, ...] = ()
    if layout.codec == "zstd-1":
        compressors = (ZstdCodec(level=1, checksum=False),)
    elif layout.codec != "raw":
        shuffle = "noshuffle" if layout.dtype.itemsize == 1 else "shuffle"
        settings = {**blosc_settings(layout.codec), "shuffle": shuffle}
        compressors = (BloscCodec(**settings, typesize=layout.dtype.itemsize),)
    with writing(folder / layout.name):
        zarr.create_array(
            str(folder / layout.name),
            shape=(samples, *layout.sample_shape),
            dtype=layout.dtype,
            chunks=(layout.chunk_rows, *layout.sample_shape),
            shards=(layout.shard_rows, *layout.sample_shape),
            compressors=compressors,
            fill_value=0,
            dimension_names=("sample", *_dimensions(layout, spatial_axes)),
        )


def _dimensions(layout: FieldLayout, spatial_axes: int) -> tuple[str, ...]:
    """Name the axes of a sample."""
    last = "class" if layout.name == MASK else "channel"
    names = (*("z", "y", "x")[-spatial_axes:], last)
    return names[: len(layout.sample_shape)]


def write_descriptive(folder: Path, name: str, values: NDArray[Any], *dimensions: str) -> None:
    """Write an array that describes samples rather than feeds a model."""
    import zarr
    from zarr.codecs import Crc32cCodec, ZstdCodec

    with writing(folder / name):
        array = zarr.create_array(
            str(folder / name),
            shape=values.shape,
            dtype=values.dtype,
            chunks=(min(len(values), _DESCRIPTIVE_ROWS), *values.shape[1:]),
            # No digest covers them but this checksum.
            compressors=(ZstdCodec(level=1, checksum=False), Crc32cCodec()),
            fill_value=0,
            dimension_names=dimensions,
            config={"write_empty_chunks": True},  # a file that is missing is then a mistake
        )
        array[:] = values


def names_array(keys: Sequence[str]) -> NDArray[np.uint8]:
    """Write names as an array: (N, L) UTF-8, padded with zeros."""
    # NumPy pads; file names that are no UTF-8 keep their bytes.
    names = np.array([key.encode(errors="surrogateescape") for key in keys])
    return names.view(np.uint8).reshape(len(keys), -1)


def prune(folder: Path, name: str, shards: Collection[Path]) -> None:
    """Remove what killed runs left of a field: unfinished files, and shards that are no more."""
    for parent, folders, names in os.walk(folder / name, topdown=False):
        for file in (Path(parent, name) for name in names):
            if file not in shards:
                file.unlink(missing_ok=True)
        for below in (Path(parent, name) for name in folders):
            with suppress(OSError):  # it holds shards
                below.rmdir()


def finish(target: Target, folder: Path, *, labels: Labels, description: JSON) -> None:
    """Complete a split, and let it be seen.

    Parameters
    ----------
    target, folder
        Where it goes, and where it was written.
    labels
        Go to the root, unless they are bound to be those that it has.
    description
        The split's ``attributes.zarrfeed``.
    """
    import zarr

    sync_tree(folder)
    with _dataset_locked(target):
        now = target_of(target.out, target.split)  # another split may have been packed meanwhile
        now.require_same_labels(labels)
        if now.binding is None:
            with atomic_file(folder / _ROOT) as file, writing(folder / _ROOT):
                file.write(_root_metadata(labels))
        # Last, for only with it the folder is a group: what a kill leaves before has none.
        with writing(folder / METADATA):
            zarr.create_group(str(folder), attributes={ATTRIBUTES: description})
        sync_entry(folder / METADATA)
        sync_entry(folder)
        _exchange(target, folder)
    remove(_aside(target))


def recover(target: Target) -> None:
    """Complete what a killed run had begun to put in place, or undo it."""
    folder, aside = partial_folder(target), _aside(target)
    if target.folder.exists():
        remove(aside)
    if not aside.exists():
        return
    with _dataset_locked(target):
        if (folder / METADATA).exists():
            _put_in_place(target, folder)
        else:
            aside.rename(target.folder)


@contextmanager
def _dataset_locked(target: Target) -> Iterator[None]:
    """Let one split of a dataset at a time take its place."""
    try:
        with locked(target.out.resolve(), wait_s=_LOCK_S):
            yield
    except BlockingIOError:
        raise SourceError(
            f"{target.out}: another run has been putting a split in place for {_LOCK_S} s; stop "
            "it, and repeat this command"
        ) from None


def _root_metadata(labels: Labels) -> bytes:
    """Compose the dataset's own metadata as zarr-python writes it."""
    import zarr
    from zarr.storage import MemoryStore

    root = {"format": FORMAT_VERSION, "classes": list(labels.classes), "ignore": labels.ignore}
    written: dict[str, Buffer] = {}
    zarr.create_group(MemoryStore(written), attributes={ATTRIBUTES: root})
    return written[METADATA].to_bytes()


def _exchange(target: Target, folder: Path) -> None:
    """Put the new split in the place of the old one, and its classes into the root, or neither."""
    metadata, aside = target.out / METADATA, _aside(target)
    before = metadata.read_bytes() if metadata.exists() else None
    replaces = target.folder.exists()
    if replaces and aside.exists():  # a killed run was about to remove it
        remove(aside, must=True)
    try:
        if replaces:
            target.folder.rename(aside)
        _put_in_place(target, folder)
    except BaseException:
        if not folder.exists():
            target.folder.rename(folder)
        if replaces and not target.folder.exists():
            aside.rename(target.folder)
        _restore(metadata, before)
        raise


def _put_in_place(target: Target, folder: Path) -> None:
    if (folder / _ROOT).exists():
        (folder / _ROOT).replace(target.out / METADATA)
    folder.rename(target.folder)
    sync_entry(target.out)


def _restore(metadata: Path, before: bytes | None) -> None:
    if before is None:
        metadata.unlink(missing_ok=True)
    elif metadata.read_bytes() != before:
        with atomic_file(metadata) as file, writing(metadata):
            file.write(before)


def _aside(target: Target) -> Path:
    """Where a split waits for its replacement; no split's name has a tilde."""
    return target.folder.with_name(f"{target.split}~old{PARTIAL}")
