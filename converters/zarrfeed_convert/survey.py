"""What does the source hold, and what follows from it?

Everything that can be refused is refused here, before anything is written.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.errors import SourceError
from zarrfeed.order import permutation
from zarrfeed_convert.decisions import (
    CodecChoice,
    Decision,
    Trial,
    codecs_to_try,
    spread,
)
from zarrfeed_convert.geometry import Fit, Geometry, Size
from zarrfeed_convert.labels import Labels, labels_of_values
from zarrfeed_convert.packing import Recipe, Rows, collect_values, probe_samples, try_codecs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from zarrfeed_convert.crew import Crew, Progress
    from zarrfeed_convert.source import Header, Source

_SHOWN = 10
_PROBED_TOGETHER, _SURVEYED_TOGETHER = 64, 16


def probe_all(source: Source, crew: Crew, progress: Progress | None) -> list[Header]:
    """Measure every sample, and refuse those whose image and mask differ in size.

    Raises
    ------
    SourceError
        There is no sample, a key is given twice, or a pair's sizes differ.
    """
    count = len(source.keys)
    if not count or len(set(source.keys)) != count:
        raise SourceError(f"needed samples with different keys, found {count} samples")
    headers = [
        header
        for part in crew.run(probe_samples, _ranges(count, _PROBED_TOGETHER), progress)
        for header in part
    ]
    differing = [
        item
        for item, header in enumerate(headers)
        if (header.height, header.width) != (header.mask_height, header.mask_width)
    ]
    if differing:
        header = headers[differing[0]]
        image, mask = source.names(differing[0])
        others = f" ({len(differing)} pairs differ)" if len(differing) > 1 else ""
        raise SourceError(
            f"image and mask differ in size{others}: {image} is {header.height}x{header.width}, "
            f"{mask} is {header.mask_height}x{header.mask_width}; they must show the same pixels"
        )
    return headers


def decide_geometry(
    headers: Sequence[Header],
    *,
    size: Size | None,
    fit: Fit | None,
    ignore: int | None,
    names: Callable[[int], tuple[str, str]],
) -> tuple[Geometry, Decision]:
    """Decide how samples get their common size.

    Parameters
    ----------
    headers
        Of all samples.
    size, fit
        What the user asked for.
    ignore
        What padded mask pixels would be.
    names
        Names the files of a sample, for errors.

    Raises
    ------
    SourceError
        Sizes differ and there is no fit, or the fit cannot bring a sample to size.
    """
    sizes = Counter((header.height, header.width) for header in headers)
    if fit is not None and size is None:
        raise SourceError(f"--fit {fit} needs a --size HxW to fit to")
    only = next(iter(sizes)) if len(sizes) == 1 else None
    if fit is None:
        if only is None or size not in (None, only):
            wanted = f" {size[0]}x{size[1]}" if size else ""
            raise SourceError(
                f"needed samples of one size{wanted}, found {_counted(_by_text(sizes))}; use "
                f"{'' if size else '--size HxW '}--fit resize, crop, pad or tile"
            )
        text = f"{only[0]}x{only[1]}"
        return Geometry(only, None), Decision("size", text, "every sample has it already")
    assert size is not None
    geometry = Geometry(size, fit)
    for item, header in enumerate(headers):
        geometry.check(header.height, header.width, name=names(item)[0])
        if ignore is None and geometry.pads(header.height, header.width):
            raise SourceError(
                f"{names(item)[0]}: is {header.height}x{header.width} and must be padded to "
                f"{size[0]}x{size[1]}; name the id that padded mask pixels get with --ignore"
            )
    reason = f"asked for; the samples are {_counted(_by_text(sizes))}"
    return geometry, Decision("size", f"{size[0]}x{size[1]} by {fit}", reason)


def require_one_kind(headers: Sequence[Header]) -> tuple[int, np.dtype[Any]]:
    """Find the channels and the dtype that all images have.

    Raises
    ------
    SourceError
        They differ: the message says how many there are of each.
    """
    channels = Counter(header.channels for header in headers)
    dtypes = Counter(header.dtype for header in headers)
    if len(channels) > 1:
        words = {1: "grey", 3: "RGB", 4: "RGBA"}
        counted = Counter({words.get(c, f"{c} channels"): n for c, n in channels.items()})
        raise SourceError(
            f"needed images of one kind, found {_counted(counted)}; "
            "use --color grey, rgb or rgba to convert them all"
        )
    if len(dtypes) > 1:
        raise SourceError(
            f"needed images of one number type, found {_counted(dtypes)}; convert the files first"
        )
    return headers[0].channels, np.dtype(headers[0].dtype)


def survey_labels(
    source: Source,
    crew: Crew,
    *,
    known: Labels | None,
    ignore: int | None,
    progress: Progress | None,
) -> tuple[Labels, Decision, dict[int, int]]:
    """Find the classes by looking at every mask; count the pixels of every id besides.

    Parameters
    ----------
    source, crew, progress
        What is read, who reads, who is told.
    known
        Classes and ignored id of the dataset's other splits; None where there are none.
    ignore
        The id to leave out, if the user named one.

    Raises
    ------
    SourceError
        The values leave open what the classes are.
    """
    first: dict[int, int] = {}
    pixels = Counter[int]()
    for part in crew.run(collect_values, _ranges(len(source.keys), _SURVEYED_TOGETHER), progress):
        for value, (item, count) in part.items():
            first.setdefault(value, item)
            pixels[value] += count
    binary = 255 in first and first.keys() <= {0, 255}
    said = ", ".join(map(str, sorted(first)[:_SHOWN])) + (" …" if len(first) > _SHOWN else "")
    as_one = " and 255 means 1 (foreground)"
    if known is not None:
        binary = binary and known.ignore is None and len(known.classes) == 2
        reason = f"those of the dataset's other splits; the masks hold {said}"
        labels = Labels(known.classes, known.ignore if ignore is None else ignore, binary)
        reason += f",{as_one}" if binary else ""
        return labels, _classes(labels, reason), _ids(pixels, labels)
    seen = {value: source.names(item)[1] for value, item in first.items()}
    labels = labels_of_values(seen, ignore=ignore)
    reason = f"no --classes: all masks together hold {said}"
    if labels.binary:
        reason = f"no --classes: the masks are binary, they hold {said},{as_one}"
    return labels, _classes(labels, reason), _ids(pixels, labels)


def _ids(pixels: Mapping[int, int], labels: Labels) -> dict[int, int]:
    """Count the pixels of ids, from those of values."""
    return {1 if labels.binary and value == 255 else value: n for value, n in pixels.items()}


def given_labels(classes: tuple[str, ...], ignore: int | None) -> tuple[Labels, Decision]:
    """Take the classes that the user named."""
    labels = Labels(classes, ignore)
    return labels, _classes(labels, "asked for")


def _classes(labels: Labels, reason: str) -> Decision:
    shown = ", ".join(labels.classes[:_SHOWN]) + (" …" if len(labels.classes) > _SHOWN else "")
    ignored = "" if labels.ignore is None else f"; {labels.ignore} is ignored"
    return Decision("classes", f"{len(labels.classes)} ({shown}){ignored}", reason)


def lay_out(
    keys: Sequence[str], headers: Sequence[Header], geometry: Geometry, *, shuffled: bool, seed: int
) -> tuple[Rows, list[str]]:
    """Put samples in the order of the store.

    Parameters
    ----------
    keys, headers
        Of the source's samples.
    geometry
        Says how many samples of the store each becomes.
    shuffled
        Permute the sorted keys, so that reading in storage order is a fair order too.
    seed
        Of the permutation.

    Returns
    -------
    rows, names
        The samples, and their keys: ``KEY``, or ``KEY#y,x`` of a tile.
    """
    items: list[int] = []
    windows: list[Size] = []
    for item in sorted(range(len(keys)), key=keys.__getitem__):
        cut = geometry.windows(headers[item].height, headers[item].width)
        items += [item] * len(cut)
        windows += cut
    count = len(items)
    order = permutation(count, seed=seed, epoch=0) if shuffled else np.arange(count)
    rows = Rows(np.array(items, np.int64), np.array(windows, np.int64)).part(order)
    if geometry.fit != "tile":
        return rows, [keys[int(item)] for item in rows.item]
    return rows, [
        f"{keys[item]}#{y},{x}"
        for item, (y, x) in zip(rows.item.tolist(), rows.window.tolist(), strict=True)
    ]


def try_samples(
    crew: Crew, recipe: Recipe, rows: Rows, *, codec: CodecChoice, chunk_rows: int
) -> tuple[Trial, Trial]:
    """Encode some evenly spaced samples of images and masks, in chunks as they will be stored."""
    image_codecs, mask_codecs = codecs_to_try(codec)
    if not image_codecs:
        return Trial(0, {}), Trial(0, {})
    picked = np.array(spread(len(rows)))
    jobs = [
        (recipe, rows.part(picked[at : at + chunk_rows]), image_codecs, mask_codecs)
        for at in range(0, picked.size, chunk_rows)
    ]
    images, masks = zip(*crew.run(try_codecs, jobs), strict=True)
    return _added(images), _added(masks)


def _added(trials: Iterable[Trial]) -> Trial:
    trials = list(trials)
    codecs = trials[0].encoded
    return Trial(
        sum(trial.decoded for trial in trials),
        {codec: sum(trial.encoded[codec] for trial in trials) for codec in codecs},
    )


def _ranges(count: int, together: int) -> list[range]:
    return [range(at, min(count, at + together)) for at in range(0, count, together)]


def _by_text(sizes: Counter[Size]) -> Counter[str]:
    return Counter({f"{height}x{width}": count for (height, width), count in sizes.items()})


def _counted(counter: Counter[str]) -> str:
    """Write ``90 of 480x360, 10 of 640x480``, most frequent first."""
    ranked = sorted(counter.items(), key=lambda entry: (-entry[1], entry[0]))
    shown = ", ".join(f"{count} of {what}" for what, count in ranked[:_SHOWN])
    return shown + (f" and {len(ranked) - _SHOWN} more" if len(ranked) > _SHOWN else "")
