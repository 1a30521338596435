"""What does a packing process look at before anything is written?

Tasks of an executor: measure samples, collect mask values, try codecs.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed_convert.planning.decisions import Codec, Trial
from zarrfeed_convert.shards.samples import Recipe, read_samples
from zarrfeed_convert.shards.shard_file import encoder
from zarrfeed_convert.shards.statistics import value_counts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from zarrfeed_convert.executors.executor import TaskRun
    from zarrfeed_convert.shards.rows import Rows
    from zarrfeed_convert.source import Header, Source


def probe_samples(run: TaskRun[Source], items: range) -> list[Header | None]:
    """Measure some of the source's samples; None for those that fail."""
    headers: list[Header | None] = []
    palettes: dict[tuple[int, ...], tuple[int, ...]] = {}  # most often one, sent once
    for item in items:
        header = None
        with run.noting(item):
            header = run.probe(item)
            if header.mask_colors:
                colors = palettes.setdefault(header.mask_colors, header.mask_colors)
                header = replace(header, mask_colors=colors)
        headers.append(header)
        run.tick()
    return headers


def collect_values(run: TaskRun[Source], items: list[int]) -> dict[int, tuple[int, int]]:
    """Collect the values of some masks: value → the first sample that holds it, its pixels."""
    seen: dict[int, tuple[int, int]] = {}
    for item in items:
        with run.noting(item):
            pixels = value_counts(run.read_mask(item))
            for value in np.flatnonzero(pixels).tolist():
                first, before = seen.get(value, (item, 0))
                seen[value] = first, before + int(pixels[value])
        run.tick()
    return seen


def collect_colors(
    run: TaskRun[Source], items: list[int]
) -> tuple[dict[tuple[int, int], int], set[int]]:
    """Collect what indices some masks use, and what they show.

    Returns
    -------
    shown
        An index and its colour → the first sample that shows it.
    several
        Colours that a mask shows at several indices.
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
    """Encode some samples, as one chunk, with the codecs to try for each field."""
    recipe, rows, codecs = job
    samples = [sample for _, sample, _ in read_samples(run, recipe, rows)]
    run.tick()
    return {
        field: _try([sample[field] for sample in samples], some) for field, some in codecs.items()
    }


def _try(values: list[NDArray[Any]], codecs: tuple[Codec, ...]) -> Trial:
    if not values:  # all of them failed
        return Trial(0, dict.fromkeys(codecs, 0))
    chunk = np.stack(values)
    sizes: dict[Codec, int] = {
        codec: len(encoder(codec, chunk.itemsize)(chunk)) for codec in codecs
    }
    return Trial(chunk.nbytes, sizes)
