"""What is the metadata of the group or array in a folder?

Zarr v3 keeps it in ``zarr.json``. The ``.zgroup``, ``.zarray`` and ``.zattrs`` of Zarr v2 are
translated to v3, so that no other module needs to know v2.

Source: Zarr v2 specification (https://zarr-specs.readthedocs.io/en/latest/v2/v2.0.html).
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

from zarrfeed.errors import StoreError
from zarrfeed.store.files import read_file
from zarrfeed.store.schema import COMPRESSORS, JSON, METADATA

if TYPE_CHECKING:
    from pathlib import Path

_GROUP_V2, _ARRAY_V2, _ATTRIBUTES_V2 = ".zgroup", ".zarray", ".zattrs"
# Both limit the memory that parsing takes: a value of 2 bytes in JSON takes 60 in Python.
_MOST_BYTES = 64 << 20
_MOST_VALUES = 2_000_000
_KINDS = {"b": "bool", "i": "int", "u": "uint", "f": "float"}


def read_metadata(folder: Path) -> JSON | None:
    """Read the metadata of a folder.

    Parameters
    ----------
    folder
        Folder of a group or an array.

    Returns
    -------
    dict or None
        The metadata in the form of a ``zarr.json``; None if the folder is not a Zarr node.

    Raises
    ------
    StoreError
        The metadata cannot be read, or is not a JSON object.
    """
    found = _read_json(folder / METADATA)
    if found is not None:
        return found
    array = _read_json(folder / _ARRAY_V2)
    group = _read_json(folder / _GROUP_V2) if array is None else None
    if array is None and group is None:
        return None
    attributes = _read_json(folder / _ATTRIBUTES_V2) or {}
    if array is None:
        return {"zarr_format": 3, "node_type": "group", "attributes": attributes}
    try:
        return {**_array_of_v2(array), "attributes": attributes}
    except (TypeError, ValueError, KeyError, AttributeError, IndexError) as error:
        raise StoreError(f"{folder / _ARRAY_V2} is damaged: {error!r:.300}") from error


def is_v2(folder: Path) -> bool:
    """Return whether a folder is a group or an array of Zarr v2."""
    return not (folder / METADATA).exists() and any(
        (folder / name).exists() for name in (_GROUP_V2, _ARRAY_V2)
    )


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        content = read_file(path, within=os.path.realpath(path.parent), limit=_MOST_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        if not path.parent.is_dir():
            return None
        raise StoreError(str(error)) from error
    if sum(map(content.count, (b",", b"[", b"{"))) > _MOST_VALUES:
        raise StoreError(f"{path} is damaged: needed at most {_MOST_VALUES:,} values, found more")
    try:
        found = json.loads(content.decode("utf-8"), object_pairs_hook=_unique_names)
    except (ValueError, RecursionError) as error:
        raise StoreError(f"{path} is damaged: {error!s:.300}") from error
    if not isinstance(found, dict):
        raise StoreError(f"{path} is damaged: needed an object, found {found!r:.99}")
    return found


def _unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError(f"a name occurs twice among {[name for name, _ in pairs][:9]!r:.200}")
    return found


def _array_of_v2(v2: JSON) -> dict[str, Any]:
    if v2["zarr_format"] != 2:
        raise ValueError(f"needed zarr_format=2, found {v2['zarr_format']!r:.99}")
    dtype = v2["dtype"]
    names = dtype[:1] in "<>|" and _KINDS.get(dtype[1:2]) if isinstance(dtype, str) else None
    codecs: list[Any] = []
    if v2.get("order", "C") == "F":
        codecs.append(
            {
                "name": "transpose",
                "configuration": {"order": list(reversed(range(len(v2["shape"]))))},
            }
        )
    elif v2.get("order", "C") != "C":
        raise ValueError(f"needed order 'C' or 'F', found {v2['order']!r:.99}")
    codecs += [{"name": f"numcodecs.{one['id']}"} for one in v2.get("filters") or ()]
    order = {"<": "little", ">": "big"}.get(str(dtype)[:1], sys.byteorder)
    codecs.append({"name": "bytes", "configuration": {"endian": order}})
    compressor = v2.get("compressor")
    if compressor is not None:
        kind = compressor["id"]
        options = {key: value for key, value in compressor.items() if key != "id"}
        codecs.append(
            {"name": COMPRESSORS.get(kind, f"numcodecs.{kind}"), "configuration": options}
        )
    bits = _bits(dtype) if names else None
    fill = v2.get("fill_value")
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": v2["shape"],
        "data_type": (names if names == "bool" else f"{names}{bits}") if names else dtype,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": v2["chunks"]}},
        "chunk_key_encoding": {
            "name": "v2",
            "configuration": {"separator": v2.get("dimension_separator", ".")},
        },
        "fill_value": bool(fill) if names == "bool" else 0 if fill is None else fill,
        "codecs": codecs,
    }


def _bits(dtype: str) -> int:
    """Return the number of bits of a data type such as ``<u2``."""
    return 8 * int(dtype[2:])
