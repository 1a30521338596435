"""What do samples hold, and are they of one kind?

Tasks that an executor runs before anything is written (measure samples, collect the values and
colours of masks, try codecs), and checks of their results.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.errors import SourceError, look_up
from zarrfeed.spelling import few
from zarrfeed.store.schema import IMAGE, MASK
from zarrfeed_convert.class_counts import value_counts
from zarrfeed_convert.failures import Failed
from zarrfeed_convert.geometry import size_text
from zarrfeed_convert.header import ArrayHeader, Header
from zarrfeed_convert.planning.layout import Trial
from zarrfeed_convert.shards.case_parts import divide_case, largest_part
from zarrfeed_convert.shards.codecs import encoder
from zarrfeed_convert.shards.samples import Recipe, read_rows

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from zarrfeed_convert.executors.executor import Executor, Progress, TaskRun
    from zarrfeed_convert.geometry import Size
    from zarrfeed_convert.shards.codecs import Codec
    from zarrfeed_convert.shards.rows import Rows
    from zarrfeed_convert.source import Mask, Source

_COLORS = {1: "grey", 3: "RGB", 4: "RGBA"}  # channels that --color converts
_PROBED_TOGETHER = 64
_ADVICE_OF_MASKS = "; multi-hot masks have a channel for every class, also where it is empty"


@dataclass(frozen=True, slots=True)
class Measured:
    """The samples that can be measured.

    Attributes
    ----------
    items
        Indices of the samples in the source, ascending.
    headers
        Header of each of these samples.
    """

    items: tuple[int, ...]
    headers: tuple[Header, ...]

    def without(self, failed: Collection[int]) -> Measured:
        """Remove samples.

        Raises
        ------
        SourceError
            No sample is left.
        """
        kept = [
            (item, header)
            for item, header in zip(self.items, self.headers, strict=True)
            if item not in failed
        ]
        if not kept:
            raise SourceError("needed samples that can be packed, found none: all were skipped")
        items, headers = zip(*kept, strict=True)
        return Measured(items, headers)


def probe_all(
    source: Source, executor: Executor, progress: Progress | None, *, of_cases: bool
) -> Measured:
    """Measure every sample, and count those whose arrays differ in size as failed.

    Samples that will be decoded as a whole must not be too large for it: those that are not cases,
    or not read in windows.

    Raises
    ------
    SourceError
        There is no sample, a key is given twice, or samples fail and end the conversion.
    """
    keys = source.keys
    count = len(keys)
    if not count:
        raise SourceError("needed samples to pack, found none")
    if len(set(keys)) != count:
        twice = next(key for key, times in Counter(keys).items() if times > 1)
        raise SourceError(
            f"needed a different key for every sample, found {twice!r} twice{look_up('same-name')}"
        )
    parts = executor.run(
        probe_samples,
        [(items, of_cases) for items in _ranges(count, _PROBED_TOGETHER)],
        progress,
    )
    headers = [header for part in parts for header in part]
    measured = [(item, header) for item, header in enumerate(headers) if header is not None]
    differing, summary = _differing(source, measured)
    executor.failures.add(differing, summary=summary)
    items = tuple(item for item, _ in measured)
    return Measured(items, tuple(header for _, header in measured)).without(executor.failures.items)


def _differing(source: Source, measured: Sequence[tuple[int, Header]]) -> tuple[list[Failed], str]:
    found = []
    for item, header in measured:
        size, axes = header.size, len(header.size)
        other = next((n for n, (shape, _) in header.arrays.items() if shape[:axes] != size), None)
        if other is None:
            continue
        names = dict(zip(header.arrays, source.names(item), strict=True))
        of_other = header.arrays[other].shape[:axes]
        sizes = f"{names[IMAGE]} is {size_text(size)}, {names[other]} is {size_text(of_other)}"
        if header.turned and size[::-1] == of_other:
            sizes += (
                f" (the image was turned, as its EXIF orientation says; if the {other} was drawn "
                "on its pixels as they are stored, save the image without EXIF)"
            )
        what = f"image and {other} differ in size"
        found.append(Failed(item, names[IMAGE], f"{what}: {sizes}"))
    if not found:
        return [], ""
    what, _, sizes = found[0].why.partition(": ")
    others = f" ({len(found)} pairs differ)" if len(found) > 1 else ""
    return found, (
        f"{what}{others}: {sizes}; they must show the same pixels, and --size resizes them "
        "together: resize the files first"
        f"{look_up('mask-size')}"
    )


def require_alike(source: Source, measured: Measured) -> dict[str, ArrayHeader]:
    """Find, for each field, the axes after the spatial ones and the dtype that all samples have.

    Raises
    ------
    SourceError
        They differ: the message says how many images there are of each. Or a dtype is missing.
    """
    _require_one_kind(source, measured)
    found: dict[str, ArrayHeader] = {}
    for item, header in zip(measured.items, measured.headers, strict=True):
        axes = len(header.size)
        for name, (shape, dtype) in header.arrays.items():
            if dtype is None and name != MASK:
                raise SourceError(
                    f"{source.names(item)[0]}: needed the dtype of {name} in its header, found "
                    "None, which only the mask's may be; give it there"
                )
            kind = ArrayHeader(shape[axes:], None if name == MASK else dtype)
            if found.setdefault(name, kind) != kind:
                raise SourceError(
                    f"{source.names(item)[0]}: needed every {name} to be of one kind, "
                    f"{_kind_text(axes, found[name])} as the first, found {_kind_text(axes, kind)}"
                    f"{_ADVICE_OF_MASKS if name == MASK else ''}"
                    f"{look_up('image-kinds')}"
                )
    return found


def _require_one_kind(source: Source, measured: Measured) -> None:
    """Refuse images of several numbers of channels or dtypes; name a file of each."""
    channels = [header.channels for header in measured.headers]
    dtypes = [str(header.image.dtype) for header in measured.headers]
    names = partial(_named_kinds, source, measured.items)
    if len({*channels}) > 1:
        flat = len(measured.headers[0].size) == 2
        colors, words = flat and {*channels} <= _COLORS.keys(), _COLORS if flat else {}
        found = names([words.get(c, f"{c} channel{'s' if c > 1 else ''}") for c in channels])
        advice = "pack those of each kind into a dataset of their own"
        if colors:
            advice = "use --color grey, rgb or rgba to convert them all"
        raise SourceError(
            f"needed images of one kind, found {found}; {advice}{look_up('image-kinds')}"
        )
    if len({*dtypes}) > 1:
        raise SourceError(
            f"needed images of one number type, found {names(dtypes)}; convert the files first"
            f"{look_up('image-kinds')}"
        )


def _named_kinds(source: Source, items: Sequence[int], kinds: Sequence[str]) -> str:
    """Write a count of kinds, each with the first file that is of it."""
    first: dict[str, int] = {}
    for item, kind in zip(items, kinds, strict=True):
        first.setdefault(kind, item)
    ranked = sorted(Counter(kinds).items(), key=lambda entry: (-entry[1], entry[0]))
    return few(f"{count} of {kind}, such as {source.names(first[kind])[0]}"
               for kind, count in ranked)  # fmt: skip


def _kind_text(axes: int, kind: ArrayHeader) -> str:
    spatial = "DHW"[-axes:]
    return f"({', '.join([*spatial, *map(str, kind.shape)])}) {kind.dtype or ''}".rstrip()


def _ranges(count: int, together: int) -> list[range]:
    return [range(at, min(count, at + together)) for at in range(0, count, together)]


def counted(counter: Counter[str]) -> str:
    """Write a count of things: ``90 of 480x360, 10 of 640x480``, most frequent first."""
    ranked = sorted(counter.items(), key=lambda entry: (-entry[1], entry[0]))
    return few(f"{count} of {what}" for what, count in ranked)


def probe_samples(run: TaskRun[Source], job: tuple[range, bool]) -> list[Header | None]:
    """Measure some of the source's samples, cases or not; None for those that fail."""
    items, of_cases = job
    headers: list[Header | None] = []
    known: dict[tuple[Any, ...], Header] = {}  # usually one, which is then pickled once
    for item in items:
        header = None
        with run.noting(item):
            found = run.probe(item)
            if not (of_cases and run.context.reads_windows(item)):
                run.require_whole(item, found)
            kind = (
                *found.arrays.items(),
                found.mask_colors,
                found.turned,
                found.nodata,
                found.affine,
                found.crs,
                found.oriented,
            )
            header = known.setdefault(kind, found)
        headers.append(header)
        run.tick()
    return headers


def collect_values(
    run: TaskRun[Source], masks: list[tuple[int, bool]]
) -> dict[int, tuple[int, int]]:
    """Collect the values of some masks: value → the first sample that holds it, its pixels.

    A mask is given by its sample, and whether that is large.
    """
    seen: dict[int, tuple[int, int]] = {}
    for item, large in masks:
        with run.noting(item):
            for mask in _mask_parts(run, item) if large else [run.read_mask(item)]:
                pixels = value_counts(mask)
                for value in np.flatnonzero(pixels).tolist():
                    first, before = seen.get(value, (item, 0))
                    seen[value] = first, before + int(pixels[value])
        run.tick()
    return seen


def _mask_parts(run: TaskRun[Source], item: int) -> Iterator[Mask]:
    """Read a large mask, in parts if its source can do so."""
    if run.context.reads_windows(item):
        header, chunk = run.probe(item), run.context.decoded_together(item)
        for window in divide_case(header.size, header.pixel_nbytes, chunk=chunk):
            yield run.read_mask_window(item, window)
    else:
        yield run.read_mask(item)


def measure_part(run: TaskRun[Source], job: tuple[int, Size]) -> tuple[int, bool]:
    """Return the bytes of the largest part of a case that is decoded at once; whether it is all."""
    item, tile = job
    nbytes, whole = 0, False
    with run.noting(item):
        header = run.probe(item)
        nbytes, whole = header.nbytes, not run.context.reads_windows(item)
        if not whole:
            each, chunk = header.pixel_nbytes, run.context.decoded_together(item)
            nbytes = largest_part(header.size, tile, pixel_nbytes=each, chunk=chunk)
    run.tick()
    return nbytes, whole


def collect_colors(
    run: TaskRun[Source], items: list[int]
) -> tuple[dict[tuple[int, int], int], set[int]]:
    """Collect the palette entries that some masks use.

    Returns
    -------
    shown
        An index and its colour → the first sample that has them.
    several
        Colours that one mask has at several indices.
    """
    shown: dict[tuple[int, int], int] = {}
    several: set[int] = set()
    for item in items:
        with run.noting(item):
            colors = run.shown_colors(item)
            several |= {color for color, times in Counter(colors.values()).items() if times > 1}
            for pair in colors.items():
                shown.setdefault(pair, item)
        run.tick()
    return shown, several


def try_codecs(
    run: TaskRun[Source], job: tuple[Recipe, Rows, Mapping[str, tuple[Codec, ...]]]
) -> dict[str, Trial]:
    """Encode some samples, as one chunk or one chunk a tile, with the codecs for each field."""
    recipe, rows, codecs = job
    samples = [stored.arrays for stored in read_rows(run, recipe, rows)]
    run.tick()
    chunks = [samples] if rows.size is None else [[sample] for sample in samples]
    return {
        field: added([_try([sample[field] for sample in chunk], some) for chunk in chunks], some)
        for field, some in codecs.items()
    }


def added(trials: Sequence[Trial], codecs: Iterable[Codec]) -> Trial:
    """Add the sizes of trials of the same codecs."""
    return Trial(
        sum(trial.decoded for trial in trials),
        {codec: sum(trial.encoded[codec] for trial in trials) for codec in codecs},
    )


def _try(values: list[NDArray[Any]], codecs: tuple[Codec, ...]) -> Trial:
    if not values:  # all of them failed
        return Trial(0, dict.fromkeys(codecs, 0))
    chunk = np.stack(values)
    sizes: dict[Codec, int] = {
        codec: len(encoder(codec, chunk.itemsize)(chunk)) for codec in codecs
    }
    return Trial(chunk.nbytes, sizes)
