"""Which pixels of a mask file are inside?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from zarrfeed.errors import SourceError
from zarrfeed_convert.decoding.decode import decode
from zarrfeed_convert.geometry import size_text
from zarrfeed_convert.labels import TOPS, has_soft_edges, of_two_classes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from zarrfeed_convert.decoding.limits import Limits
    from zarrfeed_convert.source import Mask
    from zarrfeed_convert.sources.value_options import ValueOptions


def read_inside(
    path: str, options: ValueOptions, limits: Limits, *, size: tuple[int, int]
) -> NDArray[np.bool_]:
    """Decode a mask of two values.

    Parameters
    ----------
    path
        Image file. Its values are 0, and 1, 255 or 65535, unless a mask map makes them 0 and 1.
    options
        Conversion of values to ids.
    limits
        Limits of what the file may claim.
    size
        (height, width) of the image.

    Returns
    -------
    ndarray
        (H, W) bool.

    Raises
    ------
    SourceError
        The file is damaged, of another size than the image, or has further values.
    """
    ids = options.mask(decode(Path(path), limits), name=path)
    if ids.shape != size:
        raise SourceError(
            f"{path}: needed a mask of {size_text(size)}, as its image, found "
            f"{size_text(ids.shape)}; restore it, or take it out"
        )
    _require_two_values(ids, path)
    inside: NDArray[np.bool_] = ids != 0
    return inside


def _require_two_values(ids: Mask, path: str) -> None:
    top = int(ids.max(initial=0))
    if top in (0, 1, *TOPS) and not ((ids != 0) & (ids != top)).any():
        return
    values, counts = np.unique(ids, return_counts=True)
    advice = "use --mask-map 'VALUE=1,*=0' to say which are inside"
    if has_soft_edges(dict(zip(values.tolist(), counts.tolist(), strict=True))):
        advice = of_two_classes(top)
    elif path.lower().endswith((".jpg", ".jpeg")):
        advice = "JPEG changes mask values: --mask-map '128..255=1,*=0' takes the larger half"
    shown = ", ".join(map(str, values[:5].tolist())) + (" …" if values.size > 5 else "")
    raise SourceError(
        f"{path}: needed a mask of two values, 0 and 1 or 255, found {values.size}: {shown}; "
        f"{advice}"
    )
