"""What size and order do samples get, given their headers?

What cannot be packed is refused here, before anything is written.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from zarrfeed.errors import SourceError, look_up
from zarrfeed.machine_memory import total_memory
from zarrfeed.order.shuffle import permutation
from zarrfeed.store.schema import MASK
from zarrfeed.store.tile_arrays import count_tiles
from zarrfeed_convert.failures import Failed
from zarrfeed_convert.geometry import GRID, Geometry, Size, size_text
from zarrfeed_convert.planning.layout import Decision, text_of_bytes
from zarrfeed_convert.planning.survey_tasks import counted
from zarrfeed_convert.planning.tile_choice import KnownTiles
from zarrfeed_convert.shards.cases import Cases
from zarrfeed_convert.shards.rows import Rows

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from zarrfeed_convert.header import ArrayHeader
    from zarrfeed_convert.planning.plan import Settings
    from zarrfeed_convert.planning.survey_tasks import Measured
    from zarrfeed_convert.source import Field

_ROW_ARRAYS = 3  # of numbers of every tile that are in memory while rows are computed


def decide_geometry(
    measured: Measured,
    settings: Settings,
    *,
    ignore: int | None,
    names: Callable[[int], tuple[str, ...]],
    known: KnownTiles | None = None,
) -> tuple[Geometry, Decision, list[Failed]]:
    """Decide how all samples get the same size, or how cases are cut into tiles.

    Parameters
    ----------
    measured
        The samples and their headers.
    settings
        The user's settings.
    ignore
        Id for padded pixels of masks; None if there is none.
    names
        Function that returns the names of a sample's files, for errors.
    known
        Tiles that the tile ``auto`` takes instead of choosing one; None if there are none.

    Returns
    -------
    geometry, decision, failed
        `failed` lists the samples that cannot get this size.

    Raises
    ------
    SourceError
        Sizes differ and no fit was chosen, or masks need padding and there is no `ignore`.
    """
    if settings.tile is not None:
        return _decide_grid(measured, settings, names, known or KnownTiles())
    size, fit, headers = settings.size, settings.fit, measured.headers
    sizes = Counter(header.size for header in headers)
    letters = {2: "HxW", 3: "DxHxW"}
    form = " or ".join(letters[axes] for axes in sorted({len(size) for size in sizes}))
    if fit is not None and size is None:
        raise SourceError(f"--fit {fit} needs a --size {form} to fit to")
    only = next(iter(sizes)) if len(sizes) == 1 else None
    if fit is None:
        if only is None or size not in (None, only):
            wanted = f" {size_text(size)}" if size else ""
            fits = f"{'' if size else f'--size {form} '}--fit resize, crop or pad"
            keeping = f"{form} instead of --size" if size else f"{form}, which keeps all sizes"
            raise SourceError(
                f"needed samples of one size{wanted}, found {counted(_by_text(sizes))}; use "
                f"{fits}, or --tile {keeping}"
                f"{look_up('sizes-differ')}"
            )
        return (
            Geometry(only, None),
            Decision("size", size_text(only), "every sample has it already"),
            [],
        )
    assert size is not None
    geometry = Geometry(size, fit, settings.pad_value or 0)
    of_these_axes = [one for one in sizes if len(one) == len(size)]
    extents = [tuple(map(end, zip(*of_these_axes, strict=True))) for end in (min, max)]
    failed = []
    for item, header in zip(measured.items, headers, strict=True):
        name = names(item)[0]
        try:
            geometry.check(header.size, name=name, others=[one for one in extents if one])
        except SourceError as error:
            failed.append(Failed(item, name, str(error)))
            continue
        if ignore is None and header.mask and geometry.pads(header.size):
            raise SourceError(
                f"{name}: is {size_text(header.size)} and must be padded to "
                f"{size_text(size)}; name the id that padded mask pixels get with --ignore"
                f"{look_up('padding')}"
            )
    reason = f"asked for; the samples are {counted(_by_text(sizes))}"
    return geometry, Decision("size", f"{size_text(size)} by {fit}", reason), failed


def _decide_grid(
    measured: Measured,
    settings: Settings,
    names: Callable[[int], tuple[str, ...]],
    known: KnownTiles,
) -> tuple[Geometry, Decision, list[Failed]]:
    """Decide the tiles of cases, which may have any size but as many axes as tiles."""
    assert settings.tile is not None
    sizes = [header.size for header in measured.headers]
    asked = settings.tile
    # Cases of other axes cannot be packed together.
    axes = Counter(map(len, sizes)).most_common(1)[0][0] if asked == "auto" else len(asked)
    tile, decision = known.decide(asked, [size for size in sizes if len(size) == axes])
    geometry = Geometry(tile, GRID, settings.pad_value or 0)
    failed = []
    for item, size in zip(measured.items, sizes, strict=True):
        name = names(item)[0]
        try:
            geometry.check(size, name=name)
        except SourceError as error:
            failed.append(Failed(item, name, str(error)))
    fitting = [place for place, size in enumerate(sizes) if len(size) == len(geometry.size)]
    _require_countable(
        [names(measured.items[place])[0] for place in fitting],
        [sizes[place] for place in fitting],
        geometry.size,
    )
    return geometry, decision, failed


def require_ignored_id(
    fields: Sequence[Field],
    kinds: Mapping[str, ArrayHeader],
    measured: Measured,
    geometry: Geometry,
    ignore: int | None,
) -> None:
    """Refuse an ignored id that the dtype of a further mask, which needs padding, cannot hold.

    Parameters
    ----------
    fields, kinds
        Fields of the samples, and the dtype of each by name.
    measured
        The samples and their headers.
    geometry, ignore
        How samples get their size, and the id for padded pixels.
    """
    if ignore is None or not any(geometry.pads(header.size) for header in measured.headers):
        return
    for name in (field.name for field in fields if field.role == "mask" and field.name != MASK):
        dtype = str(kinds[name].dtype)
        if ignore > np.iinfo(dtype).max:
            raise SourceError(
                f"field {name}: needed an ignored id that {dtype} holds, to pad with, found "
                f"{ignore}; choose another one with --ignore, or give the field the role target, "
                "which is padded with 0"
                f"{look_up('padding')}"
            )


def lay_out(
    keys: Sequence[str], measured: Measured, geometry: Geometry, *, shuffled: bool, seed: int
) -> Rows:
    """Put samples in the order of the store; the tiles of a case follow each other.

    Parameters
    ----------
    keys
        Keys of all samples of the source.
    measured
        The samples to pack.
    geometry
        How they get their size; it may cut one into several tiles.
    shuffled
        Whether to permute the samples after sorting them by key, so that reading in storage order
        is a random order, too.
    seed
        Seed of the permutation.
    """
    by_key = sorted(
        zip(measured.items, measured.headers, strict=True), key=lambda pair: keys[pair[0]]
    )
    count = len(by_key)
    order = permutation(count, seed=seed, epoch=0) if shuffled else np.arange(count)
    ordered = [by_key[place] for place in order.tolist()]
    items = np.array([item for item, _ in ordered], np.int64)
    if geometry.fit != GRID:
        return Rows(items, np.zeros((count, len(geometry.size)), np.int64))
    names = [keys[item] for item, _ in ordered]
    sizes = [header.size for _, header in ordered]
    case_sizes = np.array(sizes, np.int64)
    counts = count_tiles(case_sizes, geometry.size)
    rows = Cases(names, case_sizes, np.cumsum(counts) - counts, None).rows(geometry.size)
    return replace(rows, item=items[rows.item])


def _require_countable(names: Sequence[str], sizes: Sequence[Size], tile: Size) -> None:
    """Refuse claimed sizes of cases whose tiles memory could not even list."""
    counts = [
        math.prod(-(-old // new) for old, new in zip(size, tile, strict=True)) for size in sizes
    ]
    nbytes = sum(counts) * _ROW_ARRAYS * (1 + 2 * len(tile)) * np.dtype(np.int64).itemsize
    most = total_memory()
    if nbytes > most:
        largest = max(range(len(counts)), key=counts.__getitem__)
        raise SourceError(
            f"{names[largest]}: needed cases whose tiles can be listed in {text_of_bytes(most)} of "
            f"memory, found {sum(counts):,} tiles of {size_text(tile)}, {counts[largest]:,} "
            f"of them of this case of {size_text(sizes[largest])}; choose larger tiles"
        )


def about_order(settings: Settings) -> Decision:
    """Say in which order samples are stored."""
    if settings.order == "source":
        reason = "asked for: sorted by key"
    elif settings.tile is not None:
        reason = f"cases by seed {settings.seed}; tiles of a case follow each other"
    else:
        reason = f"by seed {settings.seed}"
    return Decision("order", settings.order, reason)


def _by_text(sizes: Counter[Size]) -> Counter[str]:
    return Counter({size_text(size): count for size, count in sizes.items()})
