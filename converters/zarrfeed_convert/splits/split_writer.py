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
from zarrfeed_convert.shards.codecs import zarr_compressors
from zarrfeed_convert.splits.destination import destination_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from numpy.typing import NDArray
    from zarr.core.buffer import Buffer

    from zarrfeed_convert.labels import Labels
    from zarrfeed_convert.shards.field_layout import FieldLayout
    from zarrfeed_convert.source import JSON
    from zarrfeed_convert.splits.destination import Destination

# Rows per chunk of the arrays that describe samples: some hundred KiB, read whole.
_DESCRIPTIVE_ROWS = 65536
_LOCK_S = 60  # for what takes some file operations
_ROOT = "root.json"  # the dataset's metadata, until the split takes its place


def partial_folder(destination: Destination) -> Path:
    """Where a split is written until it is complete."""
    return destination.folder.with_name(destination.split + PARTIAL)


def unfinished_folders(destination: Destination) -> tuple[Path, Path]:
    """Where a split is before it is complete, or while it is replaced."""
    return partial_folder(destination), _aside(destination)


def prepare(destination: Destination, fields: Sequence[str]) -> Path:
    """Make the folder that a split is written to, or clear it of all but the fields' shards."""
    folder = partial_folder(destination)
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

    with writing(folder / layout.name):
        zarr.create_array(
            str(folder / layout.name),
            shape=(samples, *layout.sample_shape),
            dtype=layout.dtype,
            chunks=(layout.chunk_rows, *layout.sample_shape),
            shards=(layout.shard_rows, *layout.sample_shape),
            compressors=zarr_compressors(layout.codec, layout.dtype.itemsize),
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


def commit(destination: Destination, folder: Path, *, labels: Labels, description: JSON) -> None:
    """Complete a split, and let it be seen.

    Parameters
    ----------
    destination, folder
        Where it goes, and where it was written.
    labels
        Go to the root, unless they are bound to be those that it has.
    description
        The split's ``attributes.zarrfeed``.
    """
    import zarr

    sync_tree(folder)
    with _dataset_locked(destination):
        now = destination_of(
            destination.out, destination.split
        )  # another split may have been packed meanwhile
        now.require_same_labels(labels)
        if now.binding is None:
            with atomic_file(folder / _ROOT) as file, writing(folder / _ROOT):
                file.write(_root_metadata(labels))
        # Last, for only with it the folder is a group: what a kill leaves before has none.
        with writing(folder / METADATA):
            zarr.create_group(str(folder), attributes={ATTRIBUTES: description})
        sync_entry(folder / METADATA)
        sync_entry(folder)
        _exchange(destination, folder)
    remove(_aside(destination))


def recover(destination: Destination) -> None:
    """Complete what a killed run had begun to put in place, or undo it."""
    folder, aside = partial_folder(destination), _aside(destination)
    if destination.folder.exists():
        remove(aside)
    if not aside.exists():
        return
    with _dataset_locked(destination):
        if (folder / METADATA).exists():
            _put_in_place(destination, folder)
        else:
            aside.rename(destination.folder)


@contextmanager
def _dataset_locked(destination: Destination) -> Iterator[None]:
    """Let one split of a dataset at a time take its place."""
    try:
        with locked(destination.out.resolve(), wait_s=_LOCK_S):
            yield
    except BlockingIOError:
        raise SourceError(
            f"{destination.out}: another run has been putting a split in place for {_LOCK_S} s; "
            "stop it, and repeat this command"
        ) from None


def _root_metadata(labels: Labels) -> bytes:
    """Compose the dataset's own metadata as zarr-python writes it."""
    import zarr
    from zarr.storage import MemoryStore

    root = {"format": FORMAT_VERSION, "classes": list(labels.classes), "ignore": labels.ignore}
    written: dict[str, Buffer] = {}
    zarr.create_group(MemoryStore(written), attributes={ATTRIBUTES: root})
    return written[METADATA].to_bytes()


def _exchange(destination: Destination, folder: Path) -> None:
    """Put the new split in the place of the old one, and its classes into the root, or neither."""
    metadata, aside = destination.out / METADATA, _aside(destination)
    before = metadata.read_bytes() if metadata.exists() else None
    replaces = destination.folder.exists()
    if replaces and aside.exists():  # a killed run was about to remove it
        remove(aside, must=True)
    try:
        if replaces:
            destination.folder.rename(aside)
        _put_in_place(destination, folder)
    except BaseException:
        if not folder.exists():
            destination.folder.rename(folder)
        if replaces and not destination.folder.exists():
            aside.rename(destination.folder)
        _restore(metadata, before)
        raise


def _put_in_place(destination: Destination, folder: Path) -> None:
    if (folder / _ROOT).exists():
        (folder / _ROOT).replace(destination.out / METADATA)
    folder.rename(destination.folder)
    sync_entry(destination.out)


def _restore(metadata: Path, before: bytes | None) -> None:
    if before is None:
        metadata.unlink(missing_ok=True)
    elif metadata.read_bytes() != before:
        with atomic_file(metadata) as file, writing(metadata):
            file.write(before)


def _aside(destination: Destination) -> Path:
    """Where a split waits for its replacement; no split's name has a tilde."""
    return destination.folder.with_name(f"{destination.split}~old{PARTIAL}")
