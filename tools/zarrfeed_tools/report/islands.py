"""Which classes have islands of very few pixels in a mask? They are often slips of an annotator.

An island is a connected component of at most :data:`MOST_PIXELS` pixels; corners connect. Pure.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from zarrfeed.store.tile_grid import Box

# By the number of axes: what a slip of the hand leaves. Real objects are rarely as small.
MOST_PIXELS = {2: 4, 3: 8}
_MOST_PLACES = 20  # that are remembered per mask and class


class Islands(NamedTuple):
    """The connected components of a class in one mask.

    Attributes
    ----------
    class_id
        The class.
    components
        Number of components, islands among them.
    islands
        Number of islands.
    places
        (n, axes) int64: a pixel of each of the first islands.
    """

    class_id: int
    components: int
    islands: int
    places: NDArray[np.int64]


def can_find_islands() -> bool:
    """Whether SciPy is installed, which labels the components."""
    return find_spec("scipy") is not None


def find_islands(
    mask: NDArray[Any], classes: int, *, multi_hot: bool, whole: bool
) -> list[Islands]:
    """Count the connected components of each class in a mask.

    Parameters
    ----------
    mask
        (H, W) or (D, H, W) class ids; multi-hot with a last axis of 0 and 1 per class.
    classes
        Number of classes. Higher ids, such as an ignored one, are left out.
    multi_hot
        Whether the last axis has one channel per class.
    whole
        Whether this is all of the mask. Of a part, components at its border are left out, because
        they may go on beyond it.

    Returns
    -------
    list
        One for each class that has a component.

    Examples
    --------
    >>> mask = np.zeros((50, 50), np.uint8)
    >>> mask[10:20, 10:20] = 1
    >>> mask[40, 41] = 1
    >>> for found in find_islands(mask, 2, multi_hot=False, whole=True):
    ...     print(found.class_id, found.components, found.islands, found.places.tolist())
    0 1 0 []
    1 2 1 [[40, 41]]
    """
    from scipy import ndimage  # an extra, which takes a while to import

    found = []
    axes = mask.ndim - 1 if multi_hot else mask.ndim
    for class_id, box, pixels in _parts(mask, classes, multi_hot=multi_hot):
        labels = np.zeros(pixels.shape, np.int32)
        ndimage.label(pixels, np.ones((3,) * axes), labels)
        sizes = np.bincount(labels.ravel())
        sizes[0] = 0
        if not whole:
            sizes[_at_border(labels, box, mask.shape)] = 0
        small = np.flatnonzero((sizes > 0) & (sizes <= MOST_PIXELS[axes]))
        if (sizes > 0).any():
            places = _places_of(labels, small[:_MOST_PLACES])
            places += [along.start for along in box]
            found.append(Islands(class_id, int((sizes > 0).sum()), len(small), places))
    return found


def natural_classes(of_masks: Sequence[Sequence[Islands]]) -> set[int]:
    """Return the classes most of whose components are islands: there, they are no slips.

    Parameters
    ----------
    of_masks
        What :func:`find_islands` found in some masks.
    """
    components: dict[int, int] = {}
    islands: dict[int, int] = {}
    for found in (found for of_mask in of_masks for found in of_mask):
        components[found.class_id] = components.get(found.class_id, 0) + found.components
        islands[found.class_id] = islands.get(found.class_id, 0) + found.islands
    return {class_id for class_id, count in islands.items() if 2 * count > components[class_id]}


def _parts(
    mask: NDArray[Any], classes: int, *, multi_hot: bool
) -> Iterator[tuple[int, Box, NDArray[np.bool_]]]:
    """Yield each class that a mask has, a box around all its pixels, and where it is in the box."""
    from scipy import ndimage

    if multi_hot:
        for class_id in range(min(classes, mask.shape[-1])):
            pixels = mask[..., class_id] != 0
            for box in ndimage.find_objects(pixels.view(np.uint8)):
                yield class_id, box, pixels[box]
        return
    # 0 is no object to SciPy.
    ids = (mask.astype(np.int32) + 1) * ((mask >= 0) & (mask < classes))
    for class_id, box in enumerate(ndimage.find_objects(ids)):
        if box is not None:
            yield class_id, box, ids[box] == class_id + 1


def _places_of(labels: NDArray[Any], wanted: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the index of a pixel of each of some labels, (n, axes)."""
    if not wanted.size:
        return np.zeros((0, labels.ndim), np.int64)
    flat = labels.ravel()
    is_wanted = np.zeros(flat.max() + 1, np.bool_)
    is_wanted[wanted] = True
    where = np.flatnonzero(is_wanted[flat])
    _, first = np.unique(flat[where], return_index=True)
    return np.stack(np.unravel_index(where[first], labels.shape), axis=1)


def _at_border(labels: NDArray[Any], box: Box, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Return the labels, cut by a box from an array of `shape`, that touch the array's border."""
    touching = [np.zeros(0, np.int64)]
    for axis, along in enumerate(box):
        lines = np.moveaxis(labels, axis, 0)
        if along.start == 0:
            touching.append(lines[0].ravel())
        if along.stop == shape[axis]:
            touching.append(lines[-1].ravel())
    return np.unique(np.concatenate(touching))
