"""Are the masks of all splits of a dataset ids of classes, multi-hot, or numbers of instances?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zarrfeed.errors import SourceError, look_up
from zarrfeed.store.schema import INSTANCES, MASK

if TYPE_CHECKING:
    from collections.abc import Iterable

    from zarrfeed_convert.labels import Labels
    from zarrfeed_convert.source import JSON, Field

MULTI_HOT_AXES = "a last axis with a channel of 0 and 1 for each class"


def require_same_kind(needed: Labels, found: Labels, where: str) -> None:
    """Check that the masks of all splits of a dataset are of one kind.

    They are ids of classes, multi-hot, or numbers of instances.

    Parameters
    ----------
    needed, found
        Labels of the dataset's other splits, and of the split to add.
    where
        Name of the dataset, for errors.

    Raises
    ------
    SourceError
        The masks of one are of another kind than those of the other.
    """
    if None in (needed.multi_hot, found.multi_hot):
        return
    kinds = _kind(needed), _kind(found)
    if kinds[0] == kinds[1]:
        return
    advice = "use --mask-map one-hot=0 if no pixel has several classes"
    if needed.instances:
        advice = "use --instances keep"
    elif found.instances:
        advice = "use --instances semantic or boundary"
    elif needed.multi_hot:
        advice = "use --mask-map multi-hot"
    raise SourceError(
        f"{where}: masks must be of one kind in all splits of a dataset: needed {kinds[0]}, as the "
        f"others have, found {kinds[1]}; {advice}, or another OUT{look_up('split-classes')}"
    )


def _kind(labels: Labels) -> str:
    if labels.instances:
        return "numbers of instances"
    return f"multi-hot masks ({MULTI_HOT_AXES})" if labels.multi_hot else "class ids"


def instances_recorded(labels: Labels, fields: Iterable[Field]) -> JSON:
    """Return the entry that records that the masks of a split number instances; else empty."""
    has_masks = any(field.name == MASK for field in fields)
    return {INSTANCES: True} if labels.instances and has_masks else {}
