"""Is a group of arrays, or an array alone, one case? By its numbers of axes; see the package."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zarrfeed.errors import StoreError
from zarrfeed.store.in_place.case_fields import Case, CaseField
from zarrfeed.store.in_place.nodes import join
from zarrfeed.store.schema import IMAGE, MASK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zarrfeed.store.in_place.case_fields import StoredArray
    from zarrfeed.store.in_place.nodes import Nodes


def arrays_of(
    nodes: Nodes, inside: str, fields: Sequence[str] | None
) -> dict[str, StoredArray] | None:
    """Return the arrays of a group by field; None if it lacks one.

    Parameters
    ----------
    nodes, inside
        Where the group is.
    fields
        Paths of the arrays below it; None for the image, and the mask if there is one.
    """
    found = {}
    for field in fields or (IMAGE, MASK):
        array = nodes.array(join(inside, field))
        if array is not None:
            found[field] = array
        elif fields or field == IMAGE:
            return None
    return found


def plain_case(
    arrays: dict[str, StoredArray], key: str, axes: int, mask: StoredArray | None = None
) -> Case | None:
    """Return the case that arrays are together; None if they are samples.

    Parameters
    ----------
    arrays
        By field. The mask is the one of this name, or the second one; the first one is the image,
        which gets one channel where it has none.
    key
        Name of the case.
    axes
        Number of spatial axes of the case.
    mask
        A mask beside an array that is read without it. It tells whether the array has channels.

    Raises
    ------
    StoreError
        A field has another size than the mask.

    Examples
    --------
    Arrays (4, 64, 64, 3) and (4, 64, 64) are a volume for patches of 3 axes, and samples for those
    of 2.
    """
    names = list(arrays)
    decides = MASK if MASK in arrays else names[min(1, len(names) - 1)]
    size = arrays[decides].layout.shape
    if mask is not None and len(mask.layout.shape) == axes == len(size) - 1:
        size = mask.layout.shape
    if len(size) != axes:
        return None
    images = {IMAGE, names[0]} - {MASK}
    fields = {name: _field(array, size, is_image=name in images) for name, array in arrays.items()}
    return Case(key, fields, size)


def _field(array: StoredArray, size: tuple[int, ...], *, is_image: bool) -> CaseField:
    shape, axes = array.layout.shape, len(size)
    if shape == size and is_image:
        return CaseField(array, (*range(axes), None), {})
    if shape == size or (shape[:axes] == size and len(shape) == axes + 1):
        return CaseField(array, tuple(range(len(shape))), {})
    if shape[1:] == size:
        return CaseField(array, (*range(1, axes + 1), 0), {})
    channels = ", ".join(map(str, size))
    raise StoreError(
        f"{array.folder}: needed the shape {size} of the mask, or ({channels}, C), or "
        f"(C, {channels}), found {shape}: name arrays of one size"
    )
