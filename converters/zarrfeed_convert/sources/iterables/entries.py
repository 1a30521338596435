"""Which entries does a sample of a Python iterable have, and which of them are arrays?"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import PIL.Image

from zarrfeed.errors import SourceError
from zarrfeed.spelling import did_you_mean, nearest
from zarrfeed.store.schema import IMAGE, MASK
from zarrfeed_convert.extra_fields import require_field_name
from zarrfeed_convert.sources.iterables.affines import AFFINE, SPACING

FORMS = "(image, mask), (key, image, mask) or {'image': …, 'mask': …}, or {'image': …} without mask"
_KEY = "key"
_OTHER_NAMES = ("label", "labels")  # of a mask, in other libraries
_LIKE = 0.8  # similarity of "mask" and "masks", but not of "mask" and "task"


def entries_of(sample: Any, name: str) -> tuple[str | None, dict[str, Any]]:
    """Split a sample into its key and its arrays by field, image and mask first.

    Texts, lists of texts and None are metadata of a sample, which are not packed. Numbers are
    refused, since they may be the sample's weight or label. Its ``affine`` and ``spacing`` are left
    to :func:`~zarrfeed_convert.sources.iterables.affines.affine_in`.

    Parameters
    ----------
    sample
        A sample in any of the forms that :data:`FORMS` lists.
    name
        Name of the sample, for errors.

    Raises
    ------
    SourceError
        It has another form, its key is no text, or an entry can be neither packed nor left out.
    """
    key: Any = None
    if isinstance(sample, Mapping):
        parts = _arrays_of(sample, name)
        key = sample.get(_KEY)
    elif isinstance(sample, tuple | list) and len(sample) in (2, 3):
        *keys, image, mask = sample
        parts = {IMAGE: image, MASK: mask}
        if keys:
            [key] = keys
            if key is None:
                raise SourceError(f"{name}: needed a text as key, found None")
    else:
        what = type(sample).__name__
        found = f"{what} of {len(sample)}" if isinstance(sample, tuple | list) else what
        raise SourceError(
            f"{name}: needed {FORMS}, found {found}; give an image without a mask as "
            "{'image': image}"
        )
    if key is not None and not (isinstance(key, str) and key):
        raise SourceError(f"{name}: needed a text as key, found {type(key).__name__} {key!r:.60}")
    if MASK in parts and parts[MASK] is None:
        raise SourceError(
            f"{name} {MASK}: needed an array, found None; if there are no masks, leave them out of "
            "every sample: {'image': image}"
        )
    return key, parts


def _arrays_of(sample: Mapping[Any, Any], name: str) -> dict[str, Any]:
    if IMAGE not in sample:
        has = ", ".join(map(str, sample)) or "nothing"
        near = nearest(IMAGE, map(str, sample), likeness=_LIKE)
        hint = f"; rename {near!r}" if near else ""
        raise SourceError(f"{name}: needed an entry {IMAGE!r}, found {has}{hint}")
    arrays = {field: sample[field] for field in (IMAGE, MASK) if field in sample}
    for field, value in sample.items():
        if field in (IMAGE, MASK, _KEY, AFFINE, SPACING) or _is_metadata(value):
            continue
        if not _is_array(value):
            raise _no_array(name, field, value, arrays)
        if MASK not in sample:
            _require_no_mask(field, name)
        arrays[require_field_name(field, name)] = value
    return arrays


def _is_metadata(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(isinstance(entry, str) for entry in value)
    return value is None or isinstance(value, str | bytes | os.PathLike)


def _is_array(value: Any) -> bool:
    if isinstance(value, list | tuple | PIL.Image.Image):
        return True
    return bool(tuple(getattr(value, "shape", ())))


def _no_array(name: str, field: object, value: Any, arrays: Mapping[str, Any]) -> SourceError:
    number = getattr(value, "shape", None) == () or isinstance(value, bool | int | float)
    found = type(value).__name__
    advice = f"leave {field!r} out of the mapping"
    if number:
        like = "mask.shape" if MASK in arrays else "image.shape[:-1]"
        found = f"the number {np.asarray(value).item()}"
        advice = (
            f"give every pixel its number, like np.full({like}, {np.asarray(value).item()}), or "
            f"{advice}"
        )
    return SourceError(
        f"{name} {field}: needed an array with the pixels of the image, found {found}; {advice}"
    )


def _require_no_mask(field: object, name: str) -> None:
    """Refuse the name of an array that is probably the mask."""
    hint = did_you_mean(str(field), (MASK,), likeness=_LIKE)
    if field in _OTHER_NAMES:
        hint = f"did you mean {MASK!r}?"
    if hint:
        raise SourceError(
            f"{name}: needed a mask as the entry {MASK!r}, found {field!r} and no {MASK!r}: "
            f"{hint} (if it is none, choose another name)"
        )
