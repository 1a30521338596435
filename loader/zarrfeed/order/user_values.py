"""What patches and samplings have in common: they are set once, and described in saved states."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np


def set_value(owner: object, name: str, value: object) -> None:
    """Set a field of a frozen value that is being made."""
    object.__setattr__(owner, name, value)


def described(owner: Any) -> dict[str, Any]:
    """Describe patches or a sampling in JSON, without arrays.

    Examples
    --------
    >>> from zarrfeed import GridPatches, Shares
    >>> described(GridPatches((8, 8)))
    {'kind': 'GridPatches', 'size': [8, 8], 'overlap': 0.0, 'fill': None}
    >>> described(Shares({"lesion": 0.5}))
    {'kind': 'Shares', 'shares': {'lesion': 0.5}, 'per_epoch': None}
    """
    values: dict[str, Any] = {"kind": type(owner).__name__}
    for field in fields(owner):
        value = getattr(owner, field.name)
        if isinstance(value, tuple):
            value = list(value)
        elif isinstance(value, Mapping):
            value = {str(key): float(each) for key, each in value.items()}
        if not isinstance(value, np.ndarray):
            values[field.name] = value
    return values
