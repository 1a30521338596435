"""How does a split become visible, all at once or not at all?

Everything is written to ``OUT/SPLIT.partial``; when it is complete, one rename makes it
``OUT/SPLIT``; a split that it replaces stands aside until then. On any failure OUT is again what
it was. Metadata goes through zarr-python, so that it is what zarr-python would have written itself.
"""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.schema import ATTRIBUTES, CLASS_PIXELS, DIGEST, FORMAT_VERSION, KEY, METADATA, PARTIAL
from zarrfeed_convert.shard_file import blosc_settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from zarr.core.buffer import Buffer

    from zarrfeed_convert.decisions import FieldLayout
    from zarrfeed_convert.labels import Labels
    from zarrfeed_convert.source import JSON
    from zarrfeed_convert.target import Target

# Rows per chunk of the arrays that describe samples: some hundred KiB, read whole.
_DESCRIPTIVE_ROWS = 65536
_ROOT = "root.json"  # the dataset's metadata, until the split takes its place


@contextmanager
def partial_split(target: Target) -> Iterator[Path]:
    """Make the folder that a split is written to, and leave no trace of it on failure.

    Inside the block, the folder ``OUT/SPLIT.partial`` is filled; :func:`finish` ends the work.
    """
    made: list[Path] = []
    folder = target.folder.with_name(target.split + PARTIAL)
    try:
        for parent in [*reversed(target.out.parents), target.out]:
            if not parent.exists():
                parent.mkdir()
                made.append(parent)
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir()
        yield folder
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        for parent in reversed(made):
            with suppress(OSError):  # somebody else has put something there since
                parent.rmdir()
        raise


def write_array(folder: Path, layout: FieldLayout, *, samples: int) -> None:
    """Write the metadata of a field whose shards are packed by ourselves."""
    import zarr
    from zarr.codecs import BloscCodec, ZstdCodec

    compressors: tuple[Any, ...] = ()
    if layout.codec == "zstd-1":
        compressors = (ZstdCodec(level=1, checksum=False),)
    elif layout.codec != "raw":
        shuffle = "noshuffle" if layout.dtype.itemsize == 1 else "shuffle"
        settings = {**blosc_settings(layout.codec), "shuffle": shuffle}
        compressors = (BloscCodec(**settings, typesize=layout.dtype.itemsize),)
    zarr.create_array(
        str(folder / layout.name),
        shape=(samples, *layout.sample_shape),
        dtype=layout.dtype,
        chunks=(layout.chunk_rows, *layout.sample_shape),
        shards=(layout.shard_rows, *layout.sample_shape),
        compressors=compressors,
        fill_value=0,
        dimension_names=("sample", "y", "x", "channel")[: len(layout.sample_shape) + 1],
    )


def write_descriptions(
    folder: Path,
    *,
    keys: Sequence[str],
    digest: NDArray[np.uint64],
    class_pixels: NDArray[np.int64],
) -> None:
    """Write the arrays that describe samples rather than feed a model."""
    # NumPy pads with zeros; file names that are no UTF-8 keep their bytes.
    names = np.array([key.encode(errors="surrogateescape") for key in keys])
    key = names.view(np.uint8).reshape(len(keys), -1)
    narrow = class_pixels.astype(np.uint32 if class_pixels.max() < 2**32 else np.uint64)
    for name, values, dimensions in (
        (KEY, key, ("sample", "byte")),
        (DIGEST, digest, ("sample",)),
        (CLASS_PIXELS, narrow, ("sample", "class")),
    ):
        _write_small(folder / name, values, dimensions)


def _write_small(path: Path, values: NDArray[Any], dimensions: tuple[str, ...]) -> None:
    import zarr
    from zarr.codecs import ZstdCodec

    array = zarr.create_array(
        str(path),
        shape=values.shape,
        dtype=values.dtype,
        chunks=(min(len(values), _DESCRIPTIVE_ROWS), *values.shape[1:]),
        compressors=(ZstdCodec(level=1, checksum=False),),
        fill_value=0,
        dimension_names=dimensions,
    )
    array[:] = values


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

    zarr.create_group(str(folder), attributes={ATTRIBUTES: description})
    root = _root_metadata(labels) if target.binding is None else None
    if root is not None:
        (folder / _ROOT).write_bytes(root)
    _sync(folder)
    _exchange(target, folder)
    shutil.rmtree(_aside(target), ignore_errors=True)


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
        shutil.rmtree(aside)
    try:
        if replaces:
            target.folder.rename(aside)
        if (folder / _ROOT).exists():
            (folder / _ROOT).replace(metadata)
        folder.rename(target.folder)
        _sync_entry(target.out)
    except BaseException:
        if not folder.exists():
            target.folder.rename(folder)
        if replaces and not target.folder.exists():
            aside.rename(target.folder)
        _restore(metadata, before, folder / _ROOT)
        raise


def _restore(metadata: Path, before: bytes | None, by_way_of: Path) -> None:
    if before is None:
        metadata.unlink(missing_ok=True)
    elif metadata.read_bytes() != before:
        by_way_of.write_bytes(before)
        by_way_of.replace(metadata)


def _aside(target: Target) -> Path:
    """Where a split waits for its replacement; no split's name has a tilde."""
    return target.folder.with_name(f"{target.split}~old{PARTIAL}")


def _sync(folder: Path) -> None:
    """Bring what others wrote, and every folder, to the disk: a rename must not overtake it."""
    for parent, _, names in os.walk(folder):
        for name in names:
            _sync_entry(Path(parent, name))
        _sync_entry(Path(parent))


def _sync_entry(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
