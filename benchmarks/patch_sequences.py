"""The sequences of zarrfeed that are measured: patches of a workload, fed in different ways."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from trial import SETTINGS
from zarrfeed import RandomPatches, ZarrSequence

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from patch_data import Data, Way

_PER_EPOCH = 480


def sequence(data: Data, codec: str, *, workers: int, use_multiprocessing: bool = False,
             share: float | None = None, tile: tuple[int, ...] | None = None, **patches: Any,
             ) -> ZarrSequence:  # fmt: skip
    """Open the patches of a workload.

    Parameters
    ----------
    data, codec, tile
        Which store.
    workers, use_multiprocessing
        Of the sequence.
    share
        Share of the patches that contain a lesion; None for that of the workload.
    **patches
        Further arguments of :class:`zarrfeed.RandomPatches`.
    """
    work = data.work
    share = work.share if share is None else share
    drawn = RandomPatches(
        work.patch, per_epoch=_PER_EPOCH, shares={"lesion": share} if share else None, **patches
    )
    return ZarrSequence(
        data.store(codec, tile), work.batch_size, patches=drawn, drop_remainder=True,
        workers=workers, use_multiprocessing=use_multiprocessing,
    )  # fmt: skip


def by_hand(data: Data, codec: str, **options: Any) -> Iterator[int]:
    """Iterate over a sequence by hand, without looking at the patches."""
    with sequence(data, codec, **options) as patches:
        while True:
            for _image, _mask in patches:
                yield data.work.batch_size


_ONE = SETTINGS["1 process"]
WAYS: Mapping[str, Way] = {
    **{
        f"zarrfeed, {codec}, {name}": partial(by_hand, codec=codec, **setting)
        for codec in ("raw", "lz4")
        for name, setting in SETTINGS.items()
    },
    "zarrfeed, raw, 1 process, no shares": partial(by_hand, codec="raw", share=0, **_ONE),
    "zarrfeed, raw, 1 process, all forced": partial(by_hand, codec="raw", share=1, **_ONE),
    "zarrfeed, raw, 1 process, flips": partial(by_hand, codec="raw", flips=True, **_ONE),
    "zarrfeed, raw, 1 process, turns": partial(by_hand, codec="raw", turns=True, **_ONE),
}
