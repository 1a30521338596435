"""How does a sample of the source become one of the store?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import xxhash

from zarrfeed.errors import SourceError
from zarrfeed.store.schema import IMAGE, MASK

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from zarrfeed_convert.executors.executor import TaskRun
    from zarrfeed_convert.geometry import Geometry, Size
    from zarrfeed_convert.labels import Labels
    from zarrfeed_convert.shards.rows import Numbers, Rows
    from zarrfeed_convert.source import Sample, Source


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


def read_rows(
    run: TaskRun[Source], recipe: Recipe, rows: Rows
) -> Iterator[tuple[int, Sample, Numbers]]:
    """Read samples, each once, and bring them to size; all tiles of an image follow each other.

    Yields the index of a row, its sample, and the (K,) number of pixels of each class in its mask,
    if there is one. Samples that fail are noted and skipped.
    """
    windows: list[list[int]] = rows.window.tolist()
    for item, places in _visits(rows).items():
        sample: Sample | None = None
        with run.noting(item):
            sample = _read(run, recipe, item)
        if sample is None:
            continue
        for row in places:
            validated: tuple[Sample, Numbers] | None = None
            with run.noting(item):
                validated = _validated(run.context, recipe, item, sample, tuple(windows[row]))
            if validated is not None:
                yield row, *validated


def _visits(rows: Rows) -> dict[int, list[int]]:
    """Group rows by their sample of the source, in the order of first appearance."""
    visits: dict[int, list[int]] = {}
    for row, item in enumerate(rows.item.tolist()):
        visits.setdefault(item, []).append(row)
    return visits


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


def _validated(
    source: Source, recipe: Recipe, item: int, sample: Sample, window: Size
) -> tuple[Sample, Numbers]:
    names = source.names(item)
    recipe.geometry.check_window(sample[IMAGE].shape[:-1], window, name=names[0])
    try:
        cut = recipe.geometry.apply(
            sample, source.fields, window=window, ignore=recipe.labels.ignore
        )
    except SourceError as error:  # the geometry knows no files
        raise SourceError(f"{names[0]}: {error}") from error
    pixels = _NO_CLASSES
    if MASK in cut:
        cut[MASK], pixels = recipe.labels.validate(cut[MASK], name=names[1])
    return cut, pixels


def _read(run: TaskRun[Source], recipe: Recipe, item: int) -> Sample:
    fields = run.context.fields
    sample = {field.name: values for field, values in zip(fields, run.read(item), strict=True)}
    for name in recipe.floats & sample.keys():
        with np.errstate(over="ignore"):
            sample[name] = sample[name].astype(np.float32, copy=False)
    image, names = sample[IMAGE], run.context.names(item)
    if image.ndim not in (3, 4):
        raise SourceError(
            f"{names[0]}: needed an image (H, W, C) or a volume (D, H, W, C), found {image.shape}"
        )
    size = image.shape[:-1]
    for field, name in zip(fields, names, strict=True):
        values = sample[field.name]
        ids = field.name == MASK and not recipe.labels.multi_hot
        if values.shape[: len(size)] != size or (ids and values.ndim > len(size)):
            axes = ", ".join("DHW"[-len(size) :])
            rest = "" if ids else ", …"
            raise SourceError(
                f"{names[0]}: needed an image ({axes}, C) and a {field.name} ({axes}{rest}) of one "
                f"size, found {image.shape} and {values.shape} ({name})"
            )
    return sample
