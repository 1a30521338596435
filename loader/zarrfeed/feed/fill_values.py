"""Which value stands in each field of a patch beyond the border of its case?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.spelling import did_you_mean
from zarrfeed.store.schema import CLASS_PIXELS, MASK
from zarrfeed.user_warning import warn_user

if TYPE_CHECKING:
    from zarrfeed.order.patches import Fill
    from zarrfeed.store.schema import ArrayLayout
    from zarrfeed.store.split import Split


def fill_values(fill: Fill, split: Split, layouts: Mapping[str, ArrayLayout]) -> tuple[float, ...]:
    """Return the value of each field beyond the border.

    Parameters
    ----------
    fill
        What the user gave.
    split
        The opened split.
    layouts
        The fields to read, by name.

    Raises
    ------
    ValueError
        `fill` names an unknown field, or a value does not fit the dtype of its field.

    Warns
    -----
    UserWarning
        The value of the mask is no class of the split, nor its ignore id.
    """
    for name in fill if isinstance(fill, Mapping) else ():
        if name not in split.field_names:
            has = f"the split has {', '.join(split.field_names)}"
            hint = did_you_mean(name, split.field_names, otherwise=has)
            raise ValueError(f"fill names a field {name!r} that the split lacks: {hint}")
    return tuple(_value(name, layout, fill, split) for name, layout in layouts.items())


def _value(name: str, layout: ArrayLayout, fill: Fill, split: Split) -> float:
    default = 0 if split.ignore is None or name != MASK or split.multi_hot else split.ignore
    value = fill.get(name, default) if isinstance(fill, Mapping) else fill
    if value is None or (name == MASK and not isinstance(fill, Mapping)):
        value = default  # one value for all fields means their images
    if not _fits(value, layout.dtype):
        raise ValueError(
            f"fill needs {_range(layout.dtype)} for {layout.dtype} {name!r}, got {value:g}: give "
            f"fill={{{name!r}: …}}"
        )
    if name == MASK and value != default and not _is_class(value, split):
        ignore = "it has none" if split.ignore is None else f"{split.ignore}"
        warn_user(
            f"fill={{{name!r}: {value:g}}} is neither a class of {split.address} nor its ignore id "
            f"({ignore}): leave it out to fill with {default}"
        )
    return value


def _fits(value: float, dtype: np.dtype[Any]) -> bool:
    if dtype.kind == "f":
        return not np.isfinite(value) or abs(value) <= float(np.finfo(dtype).max)
    least, most = _ends(dtype)
    return least <= value <= most and value == int(value)


def _ends(dtype: np.dtype[Any]) -> tuple[int, int]:
    if dtype.kind == "b":
        return 0, 1
    limits = np.iinfo(dtype)
    return int(limits.min), int(limits.max)


def _range(dtype: np.dtype[Any]) -> str:
    """Say which values fit.

    Examples
    --------
    >>> _range(np.dtype("uint8")), _range(np.dtype("float16"))
    ('a whole number from 0 to 255', 'a number from -65504 to 65504')
    """
    if dtype.kind == "f":
        most = float(np.finfo(dtype).max)
        return f"a number from {-most:g} to {most:g}"
    least, most = _ends(dtype)
    return f"a whole number from {least} to {most}"


def _is_class(value: float, split: Split) -> bool:
    """Whether a mask may have a value, as far as the split says which classes it has."""
    if split.multi_hot:
        return value < 2
    counted = split.describing(CLASS_PIXELS)
    classes = len(split.classes) or (counted.shape[1] if counted else 0)
    return not classes or value < classes
