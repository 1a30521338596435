"""How does a split become visible, all at once or not at all?

Everything is written to ``OUT/SPLIT.partial``. When it is complete, it is renamed to ``OUT/SPLIT``;
a split that it replaces is moved aside and then removed. zarr-python writes the metadata, so that
they are as it expects.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from zarrfeed.errors import SourceError, look_up
from zarrfeed.store.schema import ATTRIBUTES, FORMAT_VERSION, MASK, METADATA, PARTIAL
from zarrfeed_convert.atomic_files import atomic_file, remove, sync_entry, sync_tree, writing
from zarrfeed_convert.locks import locked
from zarrfeed_convert.shards.codecs import zarr_compressors
from zarrfeed_convert.splits.destination import destination_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from zarr.core.buffer import Buffer

    from zarrfeed_convert.labels import Labels
    from zarrfeed_convert.shards.field_layout import FieldLayout
    from zarrfeed_convert.source import JSON
    from zarrfeed_convert.splits.destination import Destination

_LOCK_S = 60  # far more than the file operations under the lock take
_ROOT = "root.json"  # metadata of the dataset, until the split is put in place


def partial_folder(destination: Destination) -> Path:
    """Return the folder to which a split is written until it is complete."""
    return destination.folder.with_name(destination.split + PARTIAL)


def unfinished_folders(destination: Destination) -> tuple[Path, Path]:
    """Return the folders of a split while it is unfinished, and while it is being replaced."""
    return partial_folder(destination), _aside(destination)


def prepare(destination: Destination, fields: Sequence[str]) -> Path:
    """Create the folder to which a split is written, or remove all but the shards of `fields`."""
    folder = partial_folder(destination)
    folder.mkdir(exist_ok=True)
    for entry in folder.iterdir():
        if entry.name in fields:
            (entry / METADATA).unlink(missing_ok=True)
        else:
            remove(entry, must=True)
    return folder


def write_array(folder: Path, layout: FieldLayout, *, samples: int, spatial_axes: int) -> None:
    """Write the metadata of a field.

    Parameters
    ----------
    folder
        Folder of the split.
    layout
        How the field is stored.
    samples
        Number of samples.
    spatial_axes
        Number of spatial axes, 2 or 3.
    """
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
    """Return the names of the axes of a sample."""
    last = "class" if layout.name == MASK else "channel"
    names = (*("z", "y", "x")[-spatial_axes:], last)
    return names[: len(layout.sample_shape)]


def prune(folder: Path, name: str, shards: Collection[Path]) -> None:
    """Remove the files of a field that are not among its shards, as killed runs leave them.

    Parameters
    ----------
    folder, name
        Folder of the split, and name of the field.
    shards
        Files to keep.
    """
    for parent, folders, names in os.walk(folder / name, topdown=False):
        for file in (Path(parent, name) for name in names):
            if file not in shards:
                file.unlink(missing_ok=True)
        for below in (Path(parent, name) for name in folders):
            with suppress(OSError):  # it holds shards
                below.rmdir()


def commit(destination: Destination, folder: Path, *, labels: Labels, description: JSON) -> None:
    """Complete a split and make it visible.

    Parameters
    ----------
    destination, folder
        The split, and the folder to which it was written.
    labels
        Classes and ignored id. They are written to the dataset unless other splits have set them.
    description
        The split's ``attributes.zarrfeed``.

    Raises
    ------
    SourceError
        Another run was putting a split in place for 60 s, or has set other labels.
    """
    root = {"format": FORMAT_VERSION, "classes": list(labels.classes), "ignore": labels.ignore}
    commit_copy(
        destination,
        folder,
        labels=labels,
        dataset=_group_metadata(root),
        metadata=_group_metadata(description),
    )


def commit_copy(
    destination: Destination, folder: Path, *, labels: Labels, dataset: bytes, metadata: bytes
) -> None:
    """Complete a split whose metadata exist, and make it visible; raises as :func:`commit`.

    Parameters
    ----------
    destination, folder, labels
        As for :func:`commit`.
    dataset, metadata
        Contents of the metadata of the dataset and of the split.
    """
    sync_tree(folder)
    with _dataset_locked(destination):
        now = destination_of(
            destination.out, destination.split
        )  # another split may have been packed meanwhile
        now.require_same_labels(labels)
        if now.binding is None:
            with atomic_file(folder / _ROOT) as file, writing(folder / _ROOT):
                file.write(dataset)
        # Written last: without these metadata, the folder of a killed run is not a group.
        with atomic_file(folder / METADATA) as file, writing(folder / METADATA):
            file.write(metadata)
        sync_entry(folder)
        _exchange(destination, folder)
    remove(_aside(destination))


def recover(destination: Destination) -> None:
    """Complete or undo the commit of a run that was killed during it."""
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
    """Lock a dataset, so that its splits are put in place one after the other."""
    try:
        with locked(destination.out.resolve(), wait_s=_LOCK_S):
            yield
    except BlockingIOError:
        raise SourceError(
            f"{destination.out}: another run has been putting a split in place for {_LOCK_S} s; "
            "stop it, and repeat this command"
            f"{look_up('another-run')}"
        ) from None


def _group_metadata(attributes: JSON) -> bytes:
    """Return the metadata of a group, as zarr-python writes them."""
    import zarr
    from zarr.storage import MemoryStore

    written: dict[str, Buffer] = {}
    zarr.create_group(MemoryStore(written), attributes={ATTRIBUTES: attributes})
    return written[METADATA].to_bytes()


def _exchange(destination: Destination, folder: Path) -> None:
    """Replace the old split by the new one and write the classes to the dataset, or do neither."""
    metadata, aside = destination.out / METADATA, _aside(destination)
    before = metadata.read_bytes() if metadata.exists() else None
    replaces = destination.folder.exists()
    if replaces and aside.exists():  # left by a run that was killed before it removed the folder
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
    """Return the folder of a split while it is replaced. Names of splits contain no tilde."""
    return destination.folder.with_name(f"{destination.split}~old{PARTIAL}")
