"""What does a dataset contain? Plain data for tables and JSON."""

from __future__ import annotations

import math
import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed import Cases, Split, open_cases
from zarrfeed_convert import ClassFacts, FieldFacts, classes_of, fields_of
from zarrfeed_tools.remote_options import RemoteOptions

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class CaseFacts:
    """Facts about the cases of a split, whose samples are tiles.

    Attributes
    ----------
    cases
        Number of cases.
    tile
        Size of a tile: (h, w) or (d, h, w).
    size
        Smallest, median and largest extent of the cases along each axis, in pixels.
    spacing
        The same of their spacings; None if no case has one.
    unplaced
        Number of cases whose spacing and affine are unknown.
    padded
        Share of the stored pixels that are padding, 0 … 1.
    orient, resampled
        The orientation to which volumes were turned, and the spacing along D, H and W to which they
        were resampled, in mm; None if they were not.
    crs
        Names of the coordinate reference systems.
    """

    cases: int
    tile: tuple[int, ...]
    size: tuple[tuple[float, float, float], ...]
    spacing: tuple[tuple[float, float, float], ...] | None
    unplaced: int
    padded: float = 0.0
    orient: str | None = None
    resampled: tuple[float, ...] | None = None
    crs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SplitFacts:
    """Facts about one split.

    Attributes
    ----------
    path
        Path of the split.
    samples
        Number of samples; None if the arrays differ.
    fields
        The arrays.
    descriptive
        Names of those that describe samples, and feed no model.
    indirect
        Why arrays cannot be read directly from their files, by name.
    classes
        The classes and their pixels; empty if the store does not count them.
    ignore
        The mask id that counts as no class; None if there is none.
    packed
        The recorded settings of the conversion; empty for a store that zarrfeed did not write.
    cases
        Facts about its cases; None if its samples are no tiles of cases.
    """

    path: str
    samples: int | None
    fields: tuple[FieldFacts, ...]
    descriptive: tuple[str, ...]
    indirect: dict[str, str]
    classes: tuple[ClassFacts, ...]
    ignore: int | None
    packed: dict[str, Any]
    cases: CaseFacts | None = None

    def to_json(self) -> dict[str, Any]:
        """Return a dict that fits JSON."""
        return asdict(self)


def inspect_store(path: Path, remote: RemoteOptions | None = None) -> list[SplitFacts]:
    """Collect facts about every split of a dataset, or about one split.

    Parameters
    ----------
    path
        A dataset, such as ``camvid.zarr``, or one of its splits.
    remote
        How an address is read.

    Raises
    ------
    StoreError
        `path` is neither.
    """
    return [inspect_split(split) for split in (remote or RemoteOptions()).splits(path)]


def inspect_split(split: Split) -> SplitFacts:
    """Collect facts about one opened split. Only metadata and descriptive arrays are read."""
    fields = fields_of(split, list(split.layouts))
    lengths = {
        split.layouts[name].shape[0] if name in split.layouts else None
        for name in split.default_fields
    }
    return SplitFacts(
        path=split.address,
        samples=lengths.pop() if len(lengths) == 1 else None,
        fields=fields,
        descriptive=tuple(name for name in split.layouts if name not in split.field_names),
        indirect={
            name: layout.indirect
            for name, layout in split.layouts.items()
            if layout.indirect is not None
        },
        classes=classes_of(split),
        ignore=split.ignore,
        packed=dict(split.attributes.get("packed", {})),
        cases=None if split.tile_size is None else _cases_of(open_cases(split)),
    )


def _cases_of(cases: Cases) -> CaseFacts:
    spacings = cases.spacings
    known = None if spacings is None else spacings[~np.isnan(spacings).any(axis=1)]
    split = cases.split
    own = float(np.prod(cases.sizes, axis=1, dtype=np.float64).sum())
    packed = split.attributes.get("packed", {})
    settings = packed.get("settings", {})
    spacing = settings.get("spacing")
    return CaseFacts(
        cases=len(cases),
        tile=cases.tile_size,
        size=_extents(cases.sizes),
        spacing=None if known is None or not len(known) else _extents(known),
        unplaced=len(cases) - (0 if known is None else len(known)),
        padded=1 - own / (split.tiles * math.prod(cases.tile_size)),
        orient=settings.get("orient"),
        resampled=tuple(spacing) if isinstance(spacing, list) else None,
        crs=tuple(map(crs_name, split.attributes.get("crs", {}).get("wkt", ()))),
    )


def crs_name(wkt: str) -> str:
    """Return the name of a coordinate reference system.

    Parameters
    ----------
    wkt
        The system as WKT.

    Examples
    --------
    >>> crs_name('PROJCRS["WGS 84 / UTM zone 32N",BASEGEOGCRS["WGS 84"]]')
    'WGS 84 / UTM zone 32N'
    """
    found = re.search('"([^"]*)"', wkt)
    return found[1] if found else wkt[:40]


def _extents(values: NDArray[Any]) -> tuple[tuple[float, float, float], ...]:
    """Return the minimum, the median and the maximum of each column."""
    found = [np.min(values, axis=0), np.median(values, axis=0), np.max(values, axis=0)]
    return tuple((low, middle, high) for low, middle, high in np.transpose(found).tolist())
