"""How are predictions of tiles combined into predictions of whole images?

Tiles of cases do not overlap, and are put side by side. Those of older splits (``--fit tile``) may.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.errors import StoreError
from zarrfeed.store.case_reading import read_case_keys, read_case_table
from zarrfeed.store.mirror.origin import Remote
from zarrfeed.store.names import decode_names
from zarrfeed.store.reader import read_samples
from zarrfeed.store.schema import IMAGE, TILE, TILE_SIZE, TILE_SOURCE
from zarrfeed.store.split import Split
from zarrfeed.store.split_opening import open_split_at

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray

    from zarrfeed.store.case_table import CaseTable
    from zarrfeed.store.mirror.origin import StorageOptions


def stitch(
    split: Split | str | os.PathLike[str],
    predictions: ArrayLike,
    *,
    cache: str | os.PathLike[str] | None = None,
    cache_limit: int | str | None = None,
    storage_options: StorageOptions | None = None,
) -> Iterator[tuple[str, NDArray[Any]]]:
    """Combine predictions of tiles into predictions of images or volumes, one at a time.

    Parameters
    ----------
    split
        A split of cases (``zarrfeed convert --tile``), or one of overlapping tiles that an older
        version packed with ``--fit tile``; or its path or address.
    predictions
        (N, h, w) or (N, h, w, K) floats or integers, for volumes (N, d, h, w) or (N, d, h, w, K):
        one row per tile **in the order of the store**, as from
        ``model.predict(ZarrSequence(path, 32, shuffle=False, fields="image"))``. Tiles of cases are
        put side by side. Where older tiles overlap, floats are averaged; integers, which are class
        ids, are taken from the tile whose centre is nearest.
    cache, cache_limit, storage_options
        How an address is read, as for :class:`zarrfeed.ZarrSequence`.

    Returns
    -------
    iterator of (key, prediction)
        Name of the image or volume in the source, in the order of the store, and (H, W) or
        (H, W, K) array, for volumes (D, H, W) or (D, H, W, K), of the predictions' dtype, in the
        size of the image without padding.

    Raises
    ------
    StoreError
        The split has no tiles, they do not cover an image, or its arrays are damaged.
    ValueError
        Predictions and tiles differ in number or size, or predictions are no array of numbers.

    Examples
    --------
    >>> from zarrfeed import stitch
    >>> for key, scores in stitch("city.zarr/val", predictions):  # doctest: +SKIP
    ...     save(key, scores.argmax(axis=-1))
    """
    if not isinstance(split, Split):
        split = open_split_at(split, Remote.of(cache, cache_limit, storage_options))
    values: NDArray[Any] = _as_array(predictions)
    if split.tile_size is not None:
        table = read_case_table(split)
        _require_tiles(values, (split.tiles, *table.tile))
        return _side_by_side(split, table, values)
    if TILE not in split.layouts:
        raise StoreError(
            f"{split.address}: needed tiles, found whole images: use their predictions as they are"
        )
    described = [split.describing(name) for name in (TILE, TILE_SOURCE, TILE_SIZE)]
    if IMAGE not in split.layouts or None in described:
        raise StoreError(
            f"{split.address}: needed the tiles' images, places, names and sizes, found arrays "
            "that are missing or damaged: restore them, or convert again"
        )
    tiles = split.layouts[IMAGE].shape[:-1]
    described_axes = split.layouts[TILE].shape[1] - 1, split.layouts[TILE_SIZE].shape[1]
    if set(described_axes) != {len(tiles) - 1}:
        raise StoreError(
            f"{split.address}: needed places and sizes along the {len(tiles) - 1} spatial axes of "
            f"the tiles, found {described_axes[0]} and {described_axes[1]}: restore them, or "
            "convert again"
        )
    _require_tiles(values, tiles)
    return _stitched(split, values)


def _as_array(predictions: Any) -> Any:
    """Return predictions that have a shape and a dtype, such as arrays or memory maps, as they are.

    Raises
    ------
    ValueError
        They are an iterator, or a list that makes no array.
    """
    if all(hasattr(predictions, name) for name in ("shape", "ndim", "dtype")):
        return predictions
    if isinstance(predictions, list | tuple):
        try:
            return np.asarray(predictions)
        except ValueError as error:
            raise ValueError(
                f"needed predictions of one shape, one for each tile, found a list of "
                f"{len(predictions)} of several shapes; join batches by np.concatenate"
            ) from error
    raise ValueError(
        f"needed an array of predictions, one for each tile, found {type(predictions).__name__}; "
        "collect what it yields, such as by np.concatenate(list(batches))"
    )


def _require_tiles(predictions: NDArray[Any], tiles: tuple[int, ...]) -> None:
    if (
        predictions.ndim not in (len(tiles), len(tiles) + 1)
        or predictions.shape[: len(tiles)] != tiles
        or predictions.dtype.kind not in "fiub"
    ):
        raise ValueError(
            f"needed predictions {tiles} or {(*tiles, 'K')} of floats or integers, one for each "
            f"tile, found {predictions.shape} {predictions.dtype}"
        )


def _side_by_side(
    split: Split, table: CaseTable, predictions: NDArray[Any]
) -> Iterator[tuple[str, NDArray[Any]]]:
    """Put the tiles of cases together, which are no larger than all predictions."""
    classes = predictions.shape[1 + len(table.tile) :]
    keys = read_case_keys(split, range(len(table)))
    for case, key in enumerate(keys):
        grid = table.grid(case)
        whole = np.empty((*grid.size, *classes), predictions.dtype)
        for tile, row in enumerate(table.rows(case)):
            whole[grid.window(tile)] = predictions[row][grid.own_part(tile)]
        yield key, whole


def _stitched(split: Split, predictions: NDArray[Any]) -> Iterator[tuple[str, NDArray[Any]]]:
    places = read_samples(split, TILE, np.arange(len(predictions)))
    images = range(split.layouts[TILE_SIZE].shape[0])
    sizes = read_samples(split, TILE_SIZE, images)
    keys = decode_names(read_samples(split, TILE_SOURCE, images))
    sources = np.arange(len(images))
    tile = predictions.shape[1 : 1 + sizes.shape[1]]
    by_source = np.argsort(places[:, 0], kind="stable")
    ends = np.searchsorted(places[by_source, 0], sources, side="right")
    begin = 0
    for source, end in zip(sources.tolist(), ends.tolist(), strict=True):
        rows = by_source[begin:end]
        begin = end
        key = keys[source]
        origins, size = places[rows, 1:], sizes[source]
        fits = _fits(origins, size, tile)
        whole = _put_together(predictions, rows, origins, size) if fits else None
        if whole is None:
            raise StoreError(
                f"{split.address}/{TILE_SIZE}: needed a size that its tiles cover, found "
                f"{size.tolist()} for {key!r}, of which there are {len(rows)} tiles of "
                f"{list(tile)}: keep all tiles of an image, or convert again"
            )
        yield key, whole


def _fits(origins: NDArray[np.int64], size: NDArray[np.int64], tile: tuple[int, ...]) -> bool:
    """Whether tiles may cover a size, so that no more memory is allocated than for the tiles."""
    if (size <= 0).any() or (origins < 0).any() or (origins >= size).any():
        return False
    pixels: int = math.prod(size.tolist())  # exact: a claimed size may overflow int64
    return pixels <= len(origins) * math.prod(tile)


def _put_together(
    predictions: NDArray[Any],
    rows: NDArray[np.int64],
    origins: NDArray[np.int64],
    size: NDArray[np.int64],
) -> NDArray[Any] | None:
    """Return the prediction of an image of this size; None if the tiles leave a hole in it."""
    axes = len(size)
    floats = predictions.dtype.kind == "f"
    shape = (*size.tolist(), *predictions.shape[1 + axes :])
    total = np.zeros(shape, np.float64 if floats else predictions.dtype)
    # For floats, how many tiles cover each pixel; for ids, the largest border distance so far.
    weight = np.zeros(shape[:axes], np.int64)
    tile = predictions.shape[1 : 1 + axes]
    near = _border_distance(tile)
    for row, origin in zip(rows.tolist(), origins.tolist(), strict=True):
        place = tuple(map(slice, origin, map(sum, zip(origin, tile, strict=True))))
        inside = tuple(map(slice, weight[place].shape))
        values = predictions[row][inside]
        if floats:
            total[place] += values
            weight[place] += 1
            continue
        part = near[inside]
        nearer = part > weight[place]
        total[place][nearer] = values[nearer]
        weight[place][nearer] = part[nearer]
    if not weight.all():
        return None
    if floats:
        total /= weight.reshape(*shape[:axes], *(1 for _ in shape[axes:]))
    return total.astype(predictions.dtype)


def _border_distance(tile: tuple[int, ...]) -> NDArray[np.int64]:
    """Return the distance of each pixel of a tile from its border; border pixels have 1."""
    along = [np.minimum(np.arange(n), np.arange(n)[::-1]) + 1 for n in tile]
    return functools.reduce(np.minimum, np.ix_(*along))
