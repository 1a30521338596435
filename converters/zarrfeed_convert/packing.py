"""What does a packing process do with its share?

Tasks for a :class:`~zarrfeed_convert.crew.Crew`: measure samples, collect mask values, try codecs,
and pack one shard of every field. They stream: at most one decoded sample and one chunk of each
field are in memory, and only small arrays come back.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import xxhash
from numpy.typing import NDArray

from zarrfeed.errors import SourceError
from zarrfeed_convert.decisions import Codec, FieldLayout, Trial
from zarrfeed_convert.failures import Failures
from zarrfeed_convert.shard_file import ShardFile, encoder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from zarrfeed_convert.crew import Tick
    from zarrfeed_convert.geometry import Geometry
    from zarrfeed_convert.labels import Labels
    from zarrfeed_convert.source import Header, Image, Mask, Source

DIGEST_METHOD = "xxh3_64 of the image's bytes, then the mask's, in C order, little-endian"

Numbers: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Rows:
    """Samples in the order of the store.

    Attributes
    ----------
    item
        (n,) which of the source's samples.
    window
        (n, 2) the (y, x) origin of what is cut from it.
    """

    item: Numbers
    window: Numbers

    def __len__(self) -> int:
        """Count the samples."""
        return self.item.size

    def part(self, which: slice | Numbers) -> Rows:
        """Take some of the samples."""
        return Rows(self.item[which], self.window[which])


@dataclass(frozen=True, slots=True)
class Recipe:
    """What is done to a sample between the source and the store."""

    geometry: Geometry
    labels: Labels


@dataclass(frozen=True, slots=True)
class ShardTask:
    """One shard of every field.

    Attributes
    ----------
    folder
        Of the split; a field's shard is ``FIELD/c/NUMBER/0/…`` in it.
    number
        Which shard, along axis 0.
    recipe
        What is done to samples.
    image, mask
        The fields' layouts.
    rows
        The shard's samples; the last shard may have fewer than it has room for.
    """

    folder: Path
    number: int
    recipe: Recipe
    image: FieldLayout
    mask: FieldLayout
    rows: Rows


@dataclass(frozen=True, slots=True)
class ShardDone:
    """What is known of a shard's samples once it is packed.

    Attributes
    ----------
    digest
        (n,) uint64: see `DIGEST_METHOD`.
    class_pixels
        (n, K) int64.
    """

    digest: NDArray[np.uint64]
    class_pixels: Numbers


def probe_samples(source: Source, tick: Tick, items: range) -> list[Header]:
    """Measure some of the source's samples."""
    headers = []
    failures = Failures()
    for item in items:
        with failures.noted(source.names(item)):
            headers.append(source.probe(item))
        tick()
    failures.raise_any()
    return headers


def collect_values(source: Source, tick: Tick, items: range) -> dict[int, tuple[int, int]]:
    """Collect the values of some masks: value → the first sample that holds it, its pixels."""
    seen: dict[int, tuple[int, int]] = {}
    failures = Failures()
    for item in items:
        with failures.noted(source.names(item)):
            mask = source.read_mask(item)
            pixels = np.bincount(mask.ravel())
            for value in np.flatnonzero(pixels).tolist():
                first, before = seen.get(value, (item, 0))
                seen[value] = first, before + int(pixels[value])
        tick()
    failures.raise_any()
    return seen


def try_codecs(
    source: Source, tick: Tick, job: tuple[Recipe, Rows, tuple[Codec, ...], tuple[Codec, ...]]
) -> tuple[Trial, Trial]:
    """Encode some samples, as one chunk, with the codecs to try for images and for masks."""
    recipe, rows, image_codecs, mask_codecs = job
    failures = Failures()
    samples = list(_samples(source, recipe, rows, failures))
    failures.raise_any()
    tick()
    image = np.stack([image for _, image, _, _ in samples])
    mask = np.stack([mask for _, _, mask, _ in samples])
    return _try(image, image_codecs), _try(mask, mask_codecs)


def _try(chunk: NDArray[Any], codecs: tuple[Codec, ...]) -> Trial:
    sizes: dict[Codec, int] = {
        codec: len(encoder(codec, chunk.itemsize)(chunk)) for codec in codecs
    }
    return Trial(chunk.nbytes, sizes)


def pack_shard(source: Source, tick: Tick, task: ShardTask) -> ShardDone:
    """Pack one shard of every field, from decoding to its final name.

    After a sample that cannot be packed, the rest is only read: the error names all such samples.
    """
    failures = Failures()
    digest = np.empty(len(task.rows), np.uint64)
    class_pixels = np.empty((len(task.rows), len(task.recipe.labels.classes)), np.int64)
    with ExitStack() as files:
        image_chunks, mask_chunks = (
            _Chunks(files.enter_context(_shard_file(task, layout)), layout)
            for layout in (task.image, task.mask)
        )
        samples = _samples(source, task.recipe, task.rows, failures)
        for row, image, mask, pixels in samples:
            tick()
            if failures:
                continue
            _require_fit(image, mask, task, name=source.names(int(task.rows.item[row]))[0])
            digest[row] = sample_digest(image, mask)
            class_pixels[row] = pixels
            image_chunks.append(image)
            mask_chunks.append(mask)
        failures.raise_any()
        image_chunks.finish()
        mask_chunks.finish()
    return ShardDone(digest, class_pixels)


def sample_digest(image: Image, mask: Mask) -> int:
    """Digest a decoded sample, by `DIGEST_METHOD`."""
    digest = xxhash.xxh3_64()
    for values in (image, mask):
        flat = np.ascontiguousarray(values, values.dtype.newbyteorder("<")).reshape(-1)
        digest.update(flat.view(np.uint8).data)
    return digest.intdigest()


def _samples(
    source: Source, recipe: Recipe, rows: Rows, failures: Failures
) -> Iterator[tuple[int, Image, Mask, Numbers]]:
    """Read samples and bring them to size; a run of tiles of one image decodes it once.

    Gives a row's number, image, mask and class pixels; rows that fail are noted and left out.
    """
    last: int | None = None
    pair: tuple[Image, Mask] | None = None
    ignore = recipe.labels.ignore
    for row, (item, window) in enumerate(
        zip(rows.item.tolist(), rows.window.tolist(), strict=True)
    ):
        names = source.names(item)
        if item != last:
            last, pair = item, None
            with failures.noted(names):
                pair = _read(source, item)
        if pair is None:
            continue
        settled: tuple[Mask, Numbers] | None = None
        cut, ids = recipe.geometry.apply(*pair, window=tuple(window), ignore=ignore)
        with failures.noted(names):
            settled = recipe.labels.settle(ids, name=names[1])
        if settled is not None:
            yield row, cut, *settled


def _read(source: Source, item: int) -> tuple[Image, Mask]:
    image, mask = source.read(item)
    if image.ndim != 3 or image.shape[:2] != mask.shape:
        one, other = source.names(item)
        raise SourceError(
            f"{one}: needed an image (H, W, C) and a mask (H, W) of one size, "
            f"found {image.shape} and {mask.shape} ({other})"
        )
    return image, mask


def _shard_file(task: ShardTask, layout: FieldLayout) -> ShardFile:
    place = [str(task.number), *("0" for _ in layout.sample_shape)]
    return ShardFile(
        task.folder.joinpath(layout.name, "c", *place),
        chunks=layout.chunks_per_shard,
        encode=encoder(layout.codec, layout.dtype.itemsize),
    )


def _require_fit(image: Image, mask: Mask, task: ShardTask, *, name: str) -> None:
    """Catch a source whose :meth:`read` does not give what its :meth:`probe` promised."""
    for values, layout in ((image, task.image), (mask, task.mask)):
        if values.shape != layout.sample_shape or values.dtype != layout.dtype:
            raise SourceError(
                f"{name}: its header promised a {layout.name} {layout.sample_shape} "
                f"{layout.dtype}, it decoded to {values.shape} {values.dtype}"
            )


class _Chunks:
    """Gathers samples into chunks; zeros fill up the last one."""

    def __init__(self, file: ShardFile, layout: FieldLayout) -> None:
        self._file = file
        self._dtype = layout.dtype.newbyteorder("<")
        self._rows = layout.chunk_rows
        self._chunk = np.zeros((self._rows, *layout.sample_shape), self._dtype)
        self._count = 0

    def append(self, sample: NDArray[Any]) -> None:
        if self._rows == 1:
            self._file.append(np.ascontiguousarray(sample, self._dtype))
            return
        self._chunk[self._count] = sample
        self._count += 1
        if self._count == self._rows:
            self._file.append(self._chunk)
            self._count = 0

    def finish(self) -> None:
        if self._count:
            self._chunk[self._count :] = 0
            self._file.append(self._chunk)
            self._count = 0
