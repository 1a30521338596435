"""How does a sample of the source become one of the store?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import xxhash

from zarrfeed.errors import SourceError, look_up
from zarrfeed.store.schema import IMAGE, MASK
from zarrfeed_convert.geometry import size_text
from zarrfeed_convert.shards.case_parts import CasePart, divide_tiles
from zarrfeed_convert.source import whole_window, window_size

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from zarrfeed_convert.executors.executor import TaskRun
    from zarrfeed_convert.geometry import Geometry, Size
    from zarrfeed_convert.labels import Labels
    from zarrfeed_convert.shards.rows import Numbers, Rows
    from zarrfeed_convert.source import Sample, Source, Window


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a sample of the source becomes a sample of the store.

    Attributes
    ----------
    geometry, labels
        How it gets its size, and the ids that its mask may hold.
    floats
        Fields that are converted to float32 first. Stores from before other dtypes were kept have
        such fields.
    """

    geometry: Geometry
    labels: Labels
    floats: frozenset[str] = frozenset()


class StoredSample(NamedTuple):
    """A sample as it is stored.

    Attributes
    ----------
    row
        Its row, among those that were asked for.
    arrays
        Its arrays by field.
    pixels
        (K,) number of pixels of each class in its mask; none without masks. Those of a tile are
        counted without padding.
    own_part
        The part of a tile that is not padded; empty, which selects all, for whole samples.
    """

    row: int
    arrays: Sample
    pixels: Numbers
    own_part: Window = ()

    @property
    def own(self) -> Sample:
        """The arrays without the padding of tiles of cases."""
        return {name: values[self.own_part] for name, values in self.arrays.items()}


def read_rows(run: TaskRun[Source], recipe: Recipe, rows: Rows) -> Iterator[StoredSample]:
    """Read samples, each once, and bring them to size; all tiles of an image follow each other.

    Cases are read in parts, where their source can do so. Samples that fail are noted and skipped.
    """
    origins: list[list[int]] = rows.origin.tolist()
    for item, places in _visits(rows).items():
        parts: Iterable[CasePart] = ()
        with run.noting(item):
            parts = _parts(run, recipe, rows.part(np.array(places)), item, places)
        for part in parts:
            sample: Sample | None = None
            with run.noting(item):
                sample = _read(run, recipe, item, part.window)
            if sample is None:
                break
            for row in part.rows:
                stored: StoredSample | None = None
                with run.noting(item):
                    origin = tuple(origins[row])
                    stored = _stored(run.context, recipe, item, sample, row, origin, part.origin)
                if stored is not None:
                    yield stored
                del stored  # it may be all of the sample, and the next one is decoded now


def _visits(rows: Rows) -> dict[int, list[int]]:
    """Group rows by their sample of the source, in the order of first appearance."""
    visits: dict[int, list[int]] = {}
    for row, item in enumerate(rows.item.tolist()):
        visits.setdefault(item, []).append(row)
    return visits


def _parts(
    run: TaskRun[Source], recipe: Recipe, rows: Rows, item: int, places: list[int]
) -> Iterable[CasePart]:
    """Choose the parts in which a sample is decoded; an empty window stands for all of it."""
    if rows.size is None:
        return [CasePart((), places)]
    size: Size = tuple(rows.size[0].tolist())
    header = run.probe(item)
    if header.size != size:
        raise SourceError(
            f"{run.context.names(item)[0]}: needed {size_text(size)}, as when it was measured, "
            f"found {size_text(header.size)}; restore it, or convert again with --restart"
        )
    if not run.context.reads_windows(item):
        return [CasePart(whole_window(size), places)]
    origins = [tuple(origin) for origin in rows.origin.tolist()]
    tile, nbytes = recipe.geometry.size, header.pixel_nbytes
    chunk = run.context.decoded_together(item)
    return divide_tiles(places, origins, size=size, tile=tile, pixel_nbytes=nbytes, chunk=chunk)


def has_class_axis(sample: Sample) -> bool:
    """Tell whether a sample's mask is multi-hot: it has as many axes as its image."""
    return MASK in sample and sample[MASK].ndim == sample[IMAGE].ndim


def digest_method(fields: Iterable[str]) -> str:
    """Describe how the digest of a sample is computed, as the store records it.

    Examples
    --------
    >>> digest_method(["image", "mask"])
    "xxh3_64 of the image's bytes, then the mask's, in C order, little-endian"
    """
    first, *others = fields
    then = "".join(f", then the {name}'s" for name in others)
    return f"xxh3_64 of the {first}'s bytes{then}, in C order, little-endian"


def sample_digest(sample: Sample) -> int:
    """Compute the digest of a decoded sample as :func:`digest_method` describes it."""
    digest = xxhash.xxh3_64()
    for values in sample.values():
        flat = np.ascontiguousarray(values, values.dtype.newbyteorder("<")).reshape(-1)
        digest.update(flat.view(np.uint8).data)
    return digest.intdigest()


_NO_CLASSES = np.zeros(0, np.int64)


def _stored(
    source: Source,
    recipe: Recipe,
    item: int,
    sample: Sample,
    row: int,
    origin: Size,
    part_origin: Size,
) -> StoredSample:
    """Bring a sample, or the part of a case that begins at `part_origin`, to its stored form."""
    names, geometry, labels = source.names(item), recipe.geometry, recipe.labels
    size = sample[IMAGE].shape[:-1]
    own_part: Window = ()
    if part_origin:
        size = tuple(map(int.__add__, part_origin, size))
        own_part = geometry.own_part(origin, size)
    else:
        geometry.check_origin(size, origin, name=names[0])
    try:
        cut = geometry.apply(
            sample, source.fields, origin=origin, ignore=labels.ignore, part_origin=part_origin
        )
    except SourceError as error:  # the geometry knows no files
        raise SourceError(f"{names[0]}: {error}") from error
    pixels = _NO_CLASSES
    if MASK in cut:
        cut[MASK], pixels = labels.validate(cut[MASK], name=names[1])
        fill = labels.ignore or 0
        if own_part and fill < pixels.size and not labels.multi_hot:
            own = math.prod(along.stop for along in own_part)
            pixels[fill] -= math.prod(geometry.size) - own
    return StoredSample(row, cut, pixels, own_part)


def _read(run: TaskRun[Source], recipe: Recipe, item: int, window: Window) -> Sample:
    fields = run.context.fields
    whole = not window or not run.context.reads_windows(item)
    arrays = run.read(item) if whole else run.read_window(item, window)
    sample = {field.name: values for field, values in zip(fields, arrays, strict=True)}
    for name in recipe.floats & sample.keys():
        with np.errstate(over="ignore"):
            sample[name] = sample[name].astype(np.float32, copy=False)
    image, names = sample[IMAGE], run.context.names(item)
    if image.ndim not in (3, 4):
        raise SourceError(
            f"{names[0]}: needed an image (H, W, C) or a volume (D, H, W, C), found {image.shape}"
        )
    size = image.shape[:-1]
    needed = window_size(window)
    if window and size != needed:
        raise SourceError(
            f"{names[0]}: needed {size_text(needed)}, as its header says, found "
            f"{size_text(size)}; restore it, or take it out"
        )
    for field, name in zip(fields, names, strict=True):
        values = sample[field.name]
        ids = field.name == MASK and not recipe.labels.multi_hot
        if values.shape[: len(size)] != size or (ids and values.ndim > len(size)):
            axes = ", ".join("DHW"[-len(size) :])
            rest = "" if ids else ", …"
            raise SourceError(
                f"{names[0]}: needed an image ({axes}, C) and a {field.name} ({axes}{rest}) of one "
                f"size, found {image.shape} and {values.shape} ({name})"
                f"{look_up('mask-size')}"
            )
    return sample
