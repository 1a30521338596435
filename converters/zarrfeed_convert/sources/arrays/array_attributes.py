"""How are the values of an array encoded, by its attributes?

Pure: attributes in, values out. Known are those that the libraries of a field apply by themselves:
the packing of the CF conventions (netCDF, xarray), and HDF5's own specification of images.
"""

from __future__ import annotations

import base64
import math
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

_ROWS = {"y", "lat", "latitude", "row", "rows", "height", "h"}
_COLUMNS = {"x", "lon", "longitude", "col", "cols", "column", "columns", "width", "w"}


@dataclass(frozen=True, slots=True)
class ValueEncoding:
    """How values are stored.

    Attributes
    ----------
    scale, offset
        A value is ``stored * scale + offset``.
    missing
        Stored values that stand for none.
    white
        The stored value that is black, where 0 is white; None where 0 is black.
    signed
        The sign that whole numbers have, where it is another than that of their type.
    origin
        The corner where the first value is, like ``UL``; empty where nothing says it.
    order
        ``yx`` or ``xy``, if the axes have names; else empty.
    """

    scale: float = 1.0
    offset: float = 0.0
    missing: tuple[float, ...] = ()
    white: int | None = None
    origin: str = ""
    order: str = ""
    signed: bool | None = None

    @property
    def scales(self) -> bool:
        """Return whether values are others than those that are stored."""
        return (self.scale, self.offset) != (1.0, 0.0)

    @property
    def nodata(self) -> tuple[float, ...]:
        """Values that mean no data; none if values are scaled, because they are NaN then.

        Examples
        --------
        >>> ValueEncoding(missing=(255,)).nodata, ValueEncoding(scale=0.5, missing=(255,)).nodata
        ((255,), ())
        """
        if self.scales:
            return ()
        if self.white is None:
            return self.missing
        return tuple(self.white - value for value in self.missing)

    def dtype(self, stored: np.dtype[Any]) -> np.dtype[Any]:
        """Return the dtype of an image or a target of these values."""
        return np.dtype(np.float32) if self.scales else self._signed(stored)

    def _signed(self, stored: np.dtype[Any]) -> np.dtype[Any]:
        if self.signed is None or stored.kind not in "iu":
            return stored
        kind = "i" if self.signed else "u"
        return np.dtype(f"{kind}{stored.itemsize}").newbyteorder(stored.byteorder)

    def values(self, stored: NDArray[Any]) -> NDArray[Any]:
        """Return the values that stored ones mean; float64 where they are scaled.

        Examples
        --------
        >>> ValueEncoding(scale=0.5, offset=1.0, missing=(9,)).values(np.array([2, 9])).tolist()
        [2.0, nan]
        """
        if self.white is not None:
            stored = (self.white - stored).astype(stored.dtype)
        numbers = stored.view(self._signed(stored.dtype))
        if not self.scales:
            return numbers
        values: NDArray[Any] = numbers * np.float64(self.scale) + self.offset
        if self.missing:  # as stored, or with the sign that is meant
            values[np.isin(stored, self.missing) | np.isin(numbers, self.missing)] = np.nan
        return values


def encoding_of(
    attributes: Mapping[str, Any], axes: Sequence[str], dtype: np.dtype[Any], *, name: str
) -> ValueEncoding:
    """Read an array's attributes.

    Parameters
    ----------
    attributes
        Numbers may be arrays of one, and texts be bytes.
    axes
        Their names, where they have any.
    dtype
        As it is stored.
    name
        The array, for errors.

    Raises
    ------
    SourceError
        Values are indices of a palette, or cannot be scaled.

    Examples
    --------
    >>> encoding_of({"scale_factor": 0.5}, ["t", "lat", "lon"], np.dtype("i2"), name="a").order
    'yx'
    """
    found = {key: _plain(value) for key, value in attributes.items() if key in _KNOWN}
    scale, offset = (_number(found, key, start, name) for key, start in _SCALES.items())
    if not (np.isfinite([scale, offset]).all() and scale):
        raise SourceError(
            f"{name}: needed a scale_factor and an add_offset, found {scale} and {offset}; "
            "correct these attributes"
        )
    missing = tuple(dict.fromkeys(_fill(found[key]) for key in _MISSING if key in found))
    white = None
    if found.get("CLASS") == "IMAGE":
        if found.get("IMAGE_SUBCLASS") == "IMAGE_INDEXED" and "PALETTE" in attributes:
            raise SourceError(
                f"{name}: needed an array of pixels, found indices of a palette "
                "(IMAGE_INDEXED); write the colours that they show as an array (N, H, W, 3), or "
                "delete the attribute CLASS if the indices are what is meant"
            )
        if _number(found, "IMAGE_WHITE_IS_ZERO", 0.0, name) and dtype.kind == "u":
            white = int(np.iinfo(dtype).max)
    origin = found.get("DISPLAY_ORIGIN", "")
    unsigned = {"true": True, "false": False}.get(str(found.get("_Unsigned")).lower())
    signed = None if unsigned is None else not unsigned
    if signed is not None and dtype.kind in "iu":
        missing = tuple(_with_sign(value, 8 * dtype.itemsize, signed=signed) for value in missing)
    return ValueEncoding(scale, offset, missing, white, str(origin), _order(axes), signed)


def require_one_way_up(
    images: Sequence[ValueEncoding], others: Sequence[ValueEncoding], *, name: str, what: str
) -> None:
    """Refuse images and another field whose attributes say that they are oriented differently.

    Parameters
    ----------
    images, others
        Encodings of the arrays of the images, and of those of the other field.
    name, what
        The other field's array, and what it holds, for errors.

    Raises
    ------
    SourceError
        Rows run the other way in one of them, or are its columns.
    """
    for fact in ("origin", "order"):
        said = [{getattr(one, fact) for one in side} - {""} for side in (images, others)]
        if said[0] and said[1] and len(said[0] | said[1]) > 1:
            needed, found = (", ".join(sorted(side)) for side in said)
            kind = {"origin": "the first pixel in the corner", "order": "axes in the order"}[fact]
            raise SourceError(
                f"{name}: needed {what} with {kind} {needed}, as the images have it, found "
                f"{found}; turn the array, or correct its attributes"
            )


_SCALES = {"scale_factor": 1.0, "add_offset": 0.0}
_MISSING = ("_FillValue", "missing_value")
_KNOWN = {
    *_SCALES, *_MISSING, "_Unsigned",
    "CLASS", "IMAGE_SUBCLASS", "IMAGE_WHITE_IS_ZERO", "DISPLAY_ORIGIN",
}  # fmt: skip


def _plain(value: Any) -> Any:
    """Convert an array of one value to that value, and bytes to text."""
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.reshape(-1)[0]
    value = value.item() if isinstance(value, np.generic) else value
    return value.decode("utf-8", "replace").rstrip("\0") if isinstance(value, bytes) else value


def _number(found: Mapping[str, Any], key: str, otherwise: float, name: str) -> float:
    try:
        return float(found.get(key, otherwise))
    except (TypeError, ValueError):
        raise SourceError(
            f"{name}: needed a number in the attribute {key}, found {found[key]!r}; correct it"
        ) from None


def _fill(value: Any) -> float:
    """Read a fill value; xarray writes floats in Base64 into Zarr v3. NaN where it is no number."""
    try:
        return float(value)
    except (TypeError, ValueError):
        pass
    try:
        return float(struct.unpack("<d", base64.b64decode(value, validate=True))[0])
    except (TypeError, ValueError, struct.error):
        return math.nan


def _with_sign(value: float, bits: int, *, signed: bool) -> float:
    """Return a stored number with the sign that is meant."""
    if not float(value).is_integer():
        return value
    whole = int(value) % (1 << bits)
    return whole - (1 << bits) if signed and whole >> (bits - 1) else whole


def _order(axes: Sequence[str]) -> str:
    said = "".join(
        "y" if axis.lower() in _ROWS else "x" if axis.lower() in _COLUMNS else "" for axis in axes
    )
    return said if said in ("yx", "xy") else ""
