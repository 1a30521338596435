"""Which run-length code does a mask have whose pixels are listed row by row in a box?

CVAT lists runs along the rows of a box, COCO along the columns of the image. Pure functions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from zarrfeed_convert.sources.instances.runs import pixels_of_runs, runs_of

if TYPE_CHECKING:
    from numpy.typing import NDArray


def runs_of_box(
    runs: NDArray[np.int64], box: tuple[int, int, int, int], size: tuple[int, int]
) -> NDArray[np.int64]:
    """Convert runs along the rows of a box to runs along the columns of its image.

    Parameters
    ----------
    runs
        Lengths of runs, alternately outside and inside the shape, outside first.
    box
        First row, first column, height and width of the box.
    size
        (height, width) of the image.

    Returns
    -------
    ndarray
        (n,) int64 lengths; see :func:`zarrfeed_convert.sources.instances.runs.runs_of`.

    Raises
    ------
    ValueError
        The box is not inside the image, or the runs do not cover it exactly.

    Examples
    --------
    A box of 2x2 pixels whose first row is inside, in an image of 3x3:

    >>> runs_of_box(np.array([0, 2, 2]), (1, 1, 2, 2), (3, 3)).tolist()
    [4, 1, 2, 1, 1]
    """
    top, left, height, width = box
    if min(top, left) < 0 or min(height, width) < 1:
        raise ValueError(f"a mask at {top}, {left} of {height}x{width} pixels")
    if top + height > size[0] or left + width > size[1]:
        raise ValueError(
            f"a mask of rows {top}-{top + height} and columns {left}-{left + width} in an image of "
            f"{size[0]}x{size[1]}, height x width"
        )
    checked = runs_of(runs.tolist(), height * width)
    inside = pixels_of_runs(checked).reshape(height, width)
    return runs_of_window(inside, top, left, size)


def runs_of_window(
    inside: NDArray[np.bool_], top: int, left: int, size: tuple[int, int]
) -> NDArray[np.int64]:
    """Return the run-length code of an image in which a window has these pixels, all else none.

    Parameters
    ----------
    inside
        (h, w) pixels of the window.
    top, left
        First row and column of the window, which must be inside the image.
    size
        (height, width) of the image.

    Returns
    -------
    ndarray
        (n,) int64 lengths of runs along columns.

    Examples
    --------
    >>> runs_of_window(np.array([[True]]), 0, 0, (2, 1)).tolist()
    [0, 1, 1]
    """
    height, _ = size
    columns = inside.T
    # A column of the window begins and ends outside, so that runs never span two columns.
    edges = np.diff(np.pad(columns, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    column, row = np.nonzero(edges)
    places = (column + left) * height + row + top
    begins, ends = places[::2], places[1::2]
    whole = np.stack([begins, ends], axis=1).ravel()
    # Where a run ends as the next begins, in the column beside it, both are one.
    joined = np.flatnonzero(begins[1:] == ends[:-1])
    keep = np.ones(whole.size, bool)
    keep[2 * joined + 1] = keep[2 * joined + 2] = False
    runs = np.diff(np.concatenate([[0], whole[keep], [height * size[1]]]))
    return runs[:-1] if runs[-1] == 0 and runs.size > 1 else runs
