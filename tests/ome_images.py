"""OME-Zarr images that tests read, with metadata written out by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import zarr

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

_TYPES = {"t": "time", "c": "channel"}


def write_ome(
    path: Path,
    pixels: NDArray[Any],
    axes: str,
    labels: Mapping[str, tuple[NDArray[Any], str]] | None = None,
    *,
    zarr_format: Any = 3,
    scale: float = 1.0,
    unit: str | None = None,
    **options: Any,
) -> Path:
    """Write an image, OME-Zarr 0.4 on Zarr v2 or 0.5 on v3.

    Parameters
    ----------
    path, pixels, axes
        Where, what, and a letter per axis.
    labels
        Label → its pixels and axes.
    zarr_format
        2 or 3.
    scale, unit
        Distance of pixels along z, y and x.
    options
        Of ``create_array`` of the image.
    """
    group = zarr.open_group(str(path), mode="w", zarr_format=zarr_format)
    _put(group, pixels, axes, scale, unit, **options)
    if labels:
        parent = group.create_group("labels")
        _say(parent, {"labels": list(labels)})
        for name, (values, letters) in labels.items():
            _put(parent.create_group(name), values, letters, scale, unit)
    return path


def _put(
    group: zarr.Group,
    pixels: NDArray[Any],
    axes: str,
    scale: float,
    unit: str | None,
    **options: Any,
) -> None:
    described = [{"name": axis, "type": _TYPES.get(axis, "space")} for axis in axes]
    for axis in described:
        if unit and axis["type"] == "space":
            axis["unit"] = unit
    steps = [1.0 if axis in _TYPES else scale for axis in axes]
    level = {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": steps}]}
    _say(group, {"multiscales": [{"axes": described, "datasets": [level]}]})
    array = group.create_array("0", shape=pixels.shape, dtype=pixels.dtype, **options)
    array[...] = pixels


def _say(group: zarr.Group, ome: dict[str, Any]) -> None:
    if group.metadata.zarr_format == 2:
        group.attrs.update(ome)
    else:
        group.attrs["ome"] = {"version": "0.5", **ome}
