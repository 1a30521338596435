"""What are samples, cases, tiles and images called, and how are their names stored?

Pure. Stored names are rows of an array (N, L) of uint8: UTF-8, padded with zeros. File names that
are not UTF-8 keep their bytes, as Python's own functions for files decode them
(``surrogateescape``). The converter uses it, too.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_ERRORS = "surrogateescape"
_ENDING = re.compile(r"(\.ome)?(\.zarr)?(\.zip)?$")


def encode_names(names: Sequence[str]) -> NDArray[np.uint8]:
    """Return names as they are stored.

    Parameters
    ----------
    names
        At least one name.

    Returns
    -------
    (N, L) uint8
        L is the number of bytes of the longest.

    Examples
    --------
    >>> encode_names(["ab", "c"]).tolist()
    [[97, 98], [99, 0]]
    """
    encoded = np.array([name.encode(errors=_ERRORS) for name in names])  # NumPy pads with zeros
    return encoded.view(np.uint8).reshape(len(names), -1)


def decode_names(stored: NDArray[Any]) -> list[str]:
    """Return stored names, (N, L) uint8, as text.

    Examples
    --------
    >>> decode_names(encode_names(["ab", "c"]))
    ['ab', 'c']
    """
    return [
        row.tobytes().rstrip(b"\0").decode(errors=_ERRORS)
        for row in stored.astype(np.uint8, copy=False)
    ]


def store_stems(names: Sequence[str]) -> list[str]:
    """Return names of stores without their endings, unless two would be the same.

    Examples
    --------
    >>> store_stems(["a.ome.zarr", "b.zarr.zip", "plate/0"])
    ['a', 'b', 'plate/0']
    >>> store_stems(["a.ome.zarr", "a.zarr"])
    ['a.ome.zarr', 'a.zarr']
    """
    stems = [_ENDING.sub("", name) or name for name in names]
    return stems if len(set(stems)) == len(stems) else list(names)


def origin_text(origin: Sequence[int]) -> str:
    """Return an origin as text, in the form of the names of tiles.

    Examples
    --------
    >>> origin_text((0, 512))
    '0,512'
    """
    return ",".join(map(str, origin))


def tile_name(key: str, origin: Sequence[int]) -> str:
    """Name a tile by the key of its case and its origin.

    Examples
    --------
    >>> tile_name("liver_3", (0, 512, 64))
    'liver_3#0,512,64'
    """
    return f"{key}#{origin_text(origin)}"
