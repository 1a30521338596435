"""Open the stores of a mix, and determine what is drawn from each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.errors import ZarrfeedError, look_up
from zarrfeed.feed.draw_opening import block_rows, open_draws, open_path
from zarrfeed.feed.opened_draws import OpenedDraws
from zarrfeed.feed.share_opening import AbsentClassesError
from zarrfeed.order.mixed_draws import MixedDraws
from zarrfeed.order.patches import RandomPatches
from zarrfeed.order.sampling import Weights
from zarrfeed.order.store_draws import StoreDraws
from zarrfeed.order.weight_history import WeightHistory
from zarrfeed.store.mixed.opening import open_mixed
from zarrfeed.store.reader import SplitReader
from zarrfeed.store.schema import DIGEST, MASK
from zarrfeed.user_warning import warn_user

if TYPE_CHECKING:
    from zarrfeed.arrays import Ids
    from zarrfeed.feed.request import Request
    from zarrfeed.feed.subset_ids import Subset
    from zarrfeed.feed.workers.batch_spec import PatchSpec
    from zarrfeed.order.mix import Mix
    from zarrfeed.order.patches import Patches
    from zarrfeed.order.sampling import Sampling
    from zarrfeed.store.mixed.mixed_split import MixedSplit
    from zarrfeed.store.schema import ArrayLayout
    from zarrfeed.store.split import Split

# Samples whose digests tell a store from another one: with more, states would take long to save.
_MOST_DIGESTS = 1 << 14
_IDENTITY = "identity"  # key in `Split.computed`


def open_mix(request: Request, mix: Mix) -> OpenedMix:
    """Open the stores of a mix.

    Raises
    ------
    StoreError
        A store cannot be opened, or their classes cannot be joined.
    """
    splits = [open_path(request, path) for path in mix.stores]
    return OpenedMix(request, mix, open_mixed(splits, mix.classes))


class OpenedMix:
    """The opened stores of a mix; see :class:`zarrfeed.feed.store_opening.OpenedStore`.

    Parameters
    ----------
    request, mix
        The request, and the stores that it names.
    mixed
        The stores as one split.
    """

    def __init__(self, request: Request, mix: Mix, mixed: MixedSplit) -> None:
        self._request = request
        self._mix = mix
        self._mixed = mixed
        self.split = mixed.split

    def draws(self, fields: Sequence[str]) -> OpenedDraws:
        """Determine what is drawn from each store.

        Raises
        ------
        StoreError
            The stores differ in these fields; the message has a table.
        ValueError
            The subset, the patches or the sampling do not fit a store; the message names it.
        """
        self._mixed.require(fields)
        request, mixed = self._request, self._mixed
        per_epoch = _per_epoch(request, self._mix)
        layouts = [view.select(fields) for view in mixed.stores]
        opened = self._open_each(layouts)
        stores = [
            StoreDraws(
                mixed.labels[number],
                draws.rows,
                draws.sampler,
                shuffle=request.shuffle,
                block=block_rows(request.batch_size, next(iter(layouts[number].values()))),
                first_row=mixed.first_rows[number],
                first_case=mixed.first_cases[number],
                identity=partial(_identity, mixed.stores[number], layouts[number]),
            )
            for number, draws in enumerate(opened)
        ]
        length = per_epoch or sum(store.length for store in stores)
        table = mixed.joined.table
        classes = {"classes": list(table.names), "ignore": table.ignore} if MASK in fields else {}
        history = WeightHistory([(0, self._mix.shares)])
        sampler = MixedDraws(stores, history, length=length, classes=classes)
        return OpenedDraws(_rows(stores), sampler, _patch_spec(opened))

    def _open_each(self, layouts: Sequence[Mapping[str, ArrayLayout]]) -> list[OpenedDraws]:
        request, mixed = self._request, self._mixed
        subsets = request.subset if isinstance(request.subset, Mapping) else {}
        chosen = [subsets.get(str(path)) for path in self._mix.stores]
        given = [_one_pass(request.patches)] * len(layouts)
        samplings = _samplings(request.sampling, mixed, layouts, chosen)
        opened, absent = [], dict[str, Sequence[str | int]]()
        for label, view, fields, subset, patches, sampling in zip(
            mixed.labels, mixed.stores, layouts, chosen, given, samplings, strict=True
        ):
            try:
                try:
                    draws = open_draws(patches, sampling, view, fields, subset)
                except AbsentClassesError as error:
                    absent[label] = error.names
                    if len(absent) == len(layouts) and _everywhere(absent):
                        raise
                    without = _without(patches, error.names)
                    draws = open_draws(without, sampling, view, fields, subset)
            except ZarrfeedError:
                raise  # names the store
            except ValueError as error:
                raise ValueError(f"{label}: {error}") from error
            opened.append(draws)
        if absent:
            _warn_of_absent(absent, len(layouts))
        return opened


def _per_epoch(request: Request, mix: Mix) -> int | None:
    """Return the number of draws per epoch that the user gave, if any."""
    for given in (request.patches, request.sampling):
        number = getattr(given, "per_epoch", None)
        if number is not None and mix.per_epoch is not None:
            raise ValueError(
                f"per_epoch is given twice, by the Mix ({mix.per_epoch:,}) and by "
                f"{type(given).__name__} ({number:,}): leave it out in one of them"
            )
        if number is not None:
            return int(number)
    return mix.per_epoch


def _one_pass(patches: Patches | None) -> Patches | None:
    """Return patches of one pass over a store, whose length is not that of an epoch."""
    return replace(patches, per_epoch=None) if isinstance(patches, RandomPatches) else patches


def _without(patches: Patches | None, names: Sequence[str | int]) -> Patches | None:
    """Return patches without a share of some classes."""
    assert isinstance(patches, RandomPatches)
    shares = patches.shares or {}
    left = {name: share for name, share in shares.items() if name not in names}
    return replace(patches, shares=left or None)


def _everywhere(absent: Mapping[str, Sequence[str | int]]) -> bool:
    """Whether some class is absent from all stores that lack classes."""
    first, *others = (set(names) for names in absent.values())
    return bool(first.intersection(*others))


def _warn_of_absent(absent: Mapping[str, Sequence[str | int]], stores: int) -> None:
    lacking = "; ".join(f"{label} has no {', '.join(map(repr, n))}" for label, n in absent.items())
    warn_user(
        f"shares hold for the patches of each store that has the class, but {lacking}: its patches "
        f"are drawn freely instead; seq.shares() tells the share of all {stores} stores together"
        f"{look_up('class-missing')}"
    )


def _samplings(
    sampling: Sampling | None,
    mixed: MixedSplit,
    layouts: Sequence[Mapping[str, ArrayLayout]],
    chosen: Sequence[Subset],
) -> list[Sampling | None]:
    """Return the sampling of one pass over each store."""
    if sampling is None:
        return [None] * len(layouts)
    if not isinstance(sampling, Weights):
        return [replace(sampling, per_epoch=None)] * len(layouts)
    counts = [
        len(open_draws(None, None, view, fields, subset).rows)
        for view, fields, subset in zip(mixed.stores, layouts, chosen, strict=True)
    ]
    weights = np.asarray(sampling.weights)
    if weights.size != sum(counts):
        raise ValueError(
            f"Weights needs one weight for each of the {sum(counts):,} samples of all stores, in "
            f"the order of the Mix, got {weights.size:,}"
        )
    found: list[Sampling | None] = []
    for label, part in zip(mixed.labels, np.split(weights, np.cumsum(counts)[:-1]), strict=True):
        if not part.any():
            raise ValueError(
                f"Weights are 0 for all samples of {label}: leave the store out of the Mix"
            )
        found.append(Weights(part))
    return found


def _rows(stores: Sequence[StoreDraws]) -> Ids:
    """Return the rows of all stores, as a range if they follow each other."""
    parts = [store.rows for store in stores]
    ranges = [part for part in parts if isinstance(part, range)]
    if len(ranges) == len(parts) and all(part.step == 1 for part in ranges):
        ends = [part.stop for part in ranges]
        if all(part.start == end for part, end in zip(ranges[1:], ends, strict=False)):
            return range(ranges[0].start, ends[-1])
    return np.concatenate([np.asarray(part, np.int64) for part in parts])


def _patch_spec(opened: Sequence[OpenedDraws]) -> PatchSpec | None:
    """Return what workers need to know of the patches of all stores."""
    specs = [draws.patches for draws in opened if draws.patches is not None]
    if not specs:
        return None
    return replace(specs[0], finds_classes=any(spec.finds_classes for spec in specs))


def _identity(split: Split, layouts: Mapping[str, ArrayLayout]) -> dict[str, Any]:
    """Tell a store from others by what is in it, wherever it is: for saved states, in JSON."""
    known = split.computed.get(_IDENTITY)
    if known is None:
        known = split.computed[_IDENTITY] = _digest_of(split)
    fields = {name: f"{lay.dtype} {lay.sample_shape}" for name, lay in layouts.items()}
    rows = next(iter(layouts.values())).shape[0]
    return {"rows": rows, "fields": fields, **({} if known is None else {"digest": known})}


def _digest_of(split: Split) -> str | None:
    """Digest the digests of the first samples; None if the store has none."""
    stored = split.describing(DIGEST)
    if stored is None:
        return None
    found = blake2b(digest_size=8)
    with SplitReader(split, [DIGEST]) as reader:
        digests = reader.read(range(min(stored.shape[0], _MOST_DIGESTS)))[DIGEST]
    found.update(np.ascontiguousarray(digests).astype(digests.dtype.newbyteorder("<")).data)
    return found.hexdigest()
