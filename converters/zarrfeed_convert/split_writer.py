"""How does a split become visible, all at once or not at all?

Everything is written to ``OUT/SPLIT.partial``; when it is complete, one rename makes it
``OUT/SPLIT``. On any failure OUT is again what it was. Metadata goes through zarr-python, so that
it is what zarr-python would have written itself.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.errors import SourceError
from zarrfeed.schema import ATTRIBUTES, CLASS_PIXELS, DIGEST, FORMAT_VERSION, KEY, METADATA, PARTIAL
from zarrfeed_convert.shard_file import blosc_settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from zarrfeed_convert.decisions import FieldLayout
    from zarrfeed_convert.labels import Labels
    from zarrfeed_convert.source import JSON

# Rows per chunk of the arrays that describe samples: some hundred KiB, read whole.
_DESCRIPTIVE_ROWS = 65536


@dataclass(frozen=True, slots=True)
class Target:
    """Where a split goes.

    Attributes
    ----------
    out
        The dataset.
    split
        The split's name in it.
    classes, ignore
        Those of the dataset; None for classes where there is no dataset yet.
    """

    out: Path
    split: str
    classes: tuple[str, ...] | None
    ignore: int | None

    @property
    def folder(self) -> Path:
        """The split's folder."""
        return self.out / self.split

    def packed(self) -> JSON | None:
        """Read what the split says of itself, if it is there already."""
        if not self.folder.exists():
            return None
        return _attributes(self.folder) or {}

    def require_same_labels(self, labels: Labels) -> None:
        """Refuse a split whose ids would mean something else than in the other splits.

        Raises
        ------
        SourceError
            Its classes or its ignored id are not those of the dataset.
        """
        if self.classes is None:
            return
        if labels.classes != self.classes:
            raise SourceError(
                f"{self.out}: needed the classes of its other splits, {_listed(self.classes)}; "
                f"found {_listed(labels.classes)}; leave --classes out to use the dataset's"
            )
        if labels.ignore != self.ignore:
            raise SourceError(
                f"{self.out}: needed the ignored id of its other splits, {_said(self.ignore)}; "
                f"found {_said(labels.ignore)}"
            )


def target_of(out: Path, split: str) -> Target:
    """Look at where a split shall go.

    Raises
    ------
    SourceError
        The split's name is no plain name, or OUT holds something that is not ours.
    """
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", split) or split.endswith(
        (PARTIAL, METADATA)
    ):
        raise SourceError(
            f"split: needed a plain name like 'train' (letters, digits, _ . -), found {split!r}"
        )
    if not out.exists() or (out.is_dir() and _holds_only_partials(out)):
        return Target(out, split, None, None)
    attributes = _attributes(out) if out.is_dir() else None
    if not attributes or "classes" not in attributes:
        raise SourceError(
            f"{out}: exists and is not a zarrfeed dataset; it was left as it is: "
            "choose another name for OUT"
        )
    if attributes.get("format") != FORMAT_VERSION:
        raise SourceError(
            f"{out}: needed a dataset of format {FORMAT_VERSION}, "
            f"found {attributes.get('format')!r}; pack it anew, or use another zarrfeed"
        )
    return Target(out, split, tuple(attributes["classes"]), attributes.get("ignore"))


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
        if target.classes is None and not target.folder.exists():
            (target.out / METADATA).unlink(missing_ok=True)
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
        Go to the root, if this is the dataset's first split.
    description
        The split's ``attributes.zarrfeed``.
    """
    import zarr

    zarr.create_group(str(folder), attributes={ATTRIBUTES: description})
    _sync(folder)
    if target.classes is None:
        root = {
            "format": FORMAT_VERSION,
            "classes": list(labels.classes),
            "ignore": labels.ignore,
        }
        zarr.create_group(str(target.out), attributes={ATTRIBUTES: root})
    folder.rename(target.folder)
    _sync_entry(target.out)


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


def _attributes(folder: Path) -> JSON | None:
    """Read a group's ``attributes.zarrfeed``; None where it has none."""
    try:
        metadata = json.loads((folder / METADATA).read_text(encoding="utf-8"))
        attributes = metadata["attributes"][ATTRIBUTES]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return attributes if isinstance(attributes, dict) else None


def _holds_only_partials(out: Path) -> bool:
    """Tell whether OUT is empty but for what a killed run left."""
    return all(entry.is_dir() and entry.name.endswith(PARTIAL) for entry in out.iterdir())


def _listed(classes: Sequence[str]) -> str:
    shown = ", ".join(classes[:10]) + (" …" if len(classes) > 10 else "")
    return f"{len(classes)} ({shown})"


def _said(ignore: int | None) -> str:
    return "none" if ignore is None else str(ignore)
