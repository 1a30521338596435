"""What should the user know of the classes that the masks' numbers make?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zarrfeed.spelling import few
from zarrfeed_convert.planning.layout import Decision

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zarrfeed_convert.labels import Labels

_INSTANCES = 256  # more classes without names are probably numbers of objects
_SPARSE = range(16, _INSTANCES + 1)  # so many classes, of which a quarter or less have pixels
_FEW_IDS = 16


def about_instances(labels: Labels) -> str:
    """Advise what to do with so many classes, if they are so many; else say nothing."""
    if len(labels.classes) <= _INSTANCES:
        return ""
    return (
        "; if they number objects, --mask-map '0=0,*=1' makes all of these one class; if they are "
        "measured, such as depth, use --field depth=target:… instead of --masks"
    )


def about_sparse_ids(labels: Labels, surveyed: Mapping[int, int]) -> tuple[Decision, ...]:
    """Advise what to do with few ids that lie far apart, as grey levels of drawings do.

    Parameters
    ----------
    labels
        The classes, named by the numbers that the masks hold.
    surveyed
        Id → its number of pixels.
    """
    ids = sorted(surveyed.keys() - {labels.ignore})
    count = len(labels.classes)
    if count not in _SPARSE or not 0 < len(ids) <= min(_FEW_IDS, count // 4):
        return ()
    mapped = ",".join(f"{value}={place}" for place, value in enumerate(ids))
    reason = f"only {few(map(str, ids), counted=True)} of {count} ids have pixels, and a model "
    reason += f"learns {count} classes; --mask-map '{mapped}' makes it {len(ids)}"
    return (Decision("classes", f"{len(ids)} of {count} used", reason),)


def about_mask_dtype(labels: Labels, *, bound: bool) -> tuple[Decision, ...]:
    """Say where only the ignored id keeps masks from being of 8 bits.

    Parameters
    ----------
    labels
        The classes, and the ignored id.
    bound
        Whether other splits have them already, so that this one must.
    """
    ignore, top = labels.ignore, 255
    if ignore is None or ignore <= top or len(labels.classes) > top + 1:
        return ()
    reason = f"the ignored id {ignore} is above {top}: masks take twice the memory of uint8"
    if len(labels.classes) <= top and not bound:
        reason += (
            f"; {top} is free: --ignore {top}, with --mask-map {ignore}={top} if masks hold "
            f"{ignore}, would do"
        )
    return (Decision("mask dtype", str(labels.dtype), reason),)
