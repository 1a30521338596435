"""Which number do pixels of images get where there are no data?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.errors import SourceError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def fill_of_text(fill: float | str) -> float | None:
    """Read the option ``fill``: a finite number, or None if it is empty.

    Raises
    ------
    SourceError
        It is something else.

    Examples
    --------
    >>> fill_of_text("-1"), fill_of_text("")
    (-1.0, None)
    """
    if fill == "":
        return None
    try:
        number = float(fill)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise SourceError(f"option fill: needed a number such as 0, found {fill!r}")
    return number


def require_fill(fill: float, dtype: str, *, name: str) -> None:
    """Check that images of a dtype can hold a number.

    Raises
    ------
    SourceError
        They cannot. The message names the file.
    """
    kind = np.dtype(dtype)
    limits: Any = np.finfo(kind) if kind.kind == "f" else np.iinfo(kind)
    if limits.min <= fill <= limits.max and (kind.kind == "f" or fill.is_integer()):
        return
    whole = "" if kind.kind == "f" else "a whole number, "
    raise SourceError(
        f"{name}: needed {whole}{limits.min} to {limits.max} as the option fill for images of "
        f"{kind}, found {fill:g}; choose another"
    )


def filled(
    image: NDArray[Any], gaps: NDArray[np.bool_] | None, fill: float, *, nan: bool
) -> NDArray[Any]:
    """Return an image with a number where there are no data.

    Parameters
    ----------
    image
        (H, W, C).
    gaps
        (H, W), where no channel has data; None if all pixels have some.
    fill
        The number, which the dtype holds.
    nan
        Whether NaN is no data in each channel by itself.
    """
    none = np.zeros(image.shape, np.bool_) if gaps is None else np.repeat(
        gaps[..., np.newaxis], image.shape[-1], axis=-1
    )  # fmt: skip
    if nan and image.dtype.kind == "f":
        none |= np.isnan(image)
    if not none.any():
        return image
    done = image.copy()
    done[none] = fill
    return done
