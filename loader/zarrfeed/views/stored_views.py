"""What do the samples of a split, or its cases, look like?"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from zarrfeed.errors import StoreError
from zarrfeed.pictures.palette import Palette
from zarrfeed.store.case_reading import read_case_table
from zarrfeed.store.cases import Cases
from zarrfeed.store.descriptive_arrays import case_names
from zarrfeed.store.mirror.origin import Remote
from zarrfeed.store.reader import SplitReader, read_samples
from zarrfeed.store.schema import CLASS_PIXELS
from zarrfeed.store.split_opening import join_path, open_split_at
from zarrfeed.store.stores_at import open_or_list
from zarrfeed.views.drawn_arrays import Drawing, View, draw
from zarrfeed.views.field_roles import Roles, find_roles

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from zarrfeed.store.mirror.origin import StorageOptions
    from zarrfeed.store.split import Split


def open_shown(
    path: str | os.PathLike[str],
    *,
    cache: str | os.PathLike[str] | None = None,
    cache_limit: int | str | None = None,
    storage_options: StorageOptions | None = None,
) -> list[Split]:
    """Open all splits of a dataset, one split, or images that are read where they are.

    Parameters
    ----------
    path
        A dataset, a split, any Zarr group of arrays, or an OME-Zarr image or a folder of such; or
        the address of one.
    cache, cache_limit, storage_options
        How an address is read, as for :class:`zarrfeed.ZarrSequence`.

    Raises
    ------
    StoreError
        It is none of these.
    """
    remote = Remote.of(cache, cache_limit, storage_options)
    found = open_or_list(path, None, "all", remote)
    if not isinstance(found, list):
        return [found]
    return [open_split_at(join_path(path, name), remote) for name in found]


def palette_of(split: Split) -> Palette:
    """Return the colours of a split's classes."""
    return Palette.of(split.classes, split.ignore, split.multi_hot)


def roles_of(split: Split) -> Roles:
    """Choose the fields of a split that pictures show.

    Raises
    ------
    StoreError
        None can be shown.
    """
    fields = {
        name: (split.layouts[name].sample_shape, split.layouts[name].dtype)
        for name in split.default_fields
        if name in split.layouts
    }
    roles = find_roles(fields, split.attributes.get("packed", {}).get("roles"))
    if roles == Roles(None, None):
        found = ", ".join(f"{name} {shape}" for name, (shape, _) in fields.items()) or "none"
        raise StoreError(
            f"{split.address}: needed a field of images or masks with 2 to 4 axes, found {found}: "
            "name a split that has one"
        )
    return roles


class StoredViews:
    """Pictures of the samples of a split; of a split of cases, those of its cases.

    Parameters
    ----------
    split
        An opened split, or any group of arrays.
    drawing
        How to draw; its palette and its number of axes are the split's.

    Attributes
    ----------
    roles
        The fields that are shown.
    cases
        The cases; None if it is a split of samples.
    drawing
        How pictures are drawn.

    Raises
    ------
    StoreError
        The split has nothing to show, or is damaged.
    """

    def __init__(self, split: Split, drawing: Drawing) -> None:
        self._split = split
        self.roles = roles_of(split)
        self.cases = None if split.tile_size is None else Cases(split)
        spatial = None
        if split.tile_size is not None:
            spatial = len(split.tile_size)
        elif split.packed and self.roles.image is not None:
            spatial = len(split.layouts[self.roles.image].sample_shape) - 1
        self.drawing = replace(drawing, palette=palette_of(split), spatial=spatial)

    def __len__(self) -> int:
        """Count the samples or cases."""
        if self.cases is not None:
            return len(self.cases)
        shown = [name for name in self.roles if name is not None]
        return next(iter(self._split.select(shown).values())).shape[0]

    @property
    def volumes(self) -> bool:
        """Whether they have three spatial axes."""
        if self.cases is not None:
            return len(self.cases.tile_size) == 3
        shapes = [self._split.layouts[name].sample_shape for name in self.roles if name]
        return len(shapes[0]) > 2 and self.drawing.spatial == 3

    def rows(self, number: int) -> range:
        """Return the rows of the fields that a sample has, or the tiles of a case."""
        if self.cases is None:
            return range(number, number + 1)
        return read_case_table(self._split).rows(number)

    def draw(self, numbers: Sequence[int]) -> list[View]:
        """Draw samples or cases by their numbers in the split.

        Raises
        ------
        ReadError
            A shard is missing, short or damaged.
        """
        names = case_names(self._split, np.asarray(numbers, np.int64))
        each = self._draw_sample if self.cases is None else self._draw_case
        return [each(number, name) for number, name in zip(numbers, names, strict=True)]

    def _draw_sample(self, number: int, name: str) -> View:
        shown = [field for field in self.roles if field is not None]
        with SplitReader(self._split, shown) as reader:
            arrays = {field: rows[0] for field, rows in reader.read([number]).items()}
        image, mask = (None if field is None else arrays[field] for field in self.roles)
        return draw(image, mask, self.drawing, title=name)

    def _draw_case(self, number: int, name: str) -> View:
        assert self.cases is not None
        cases = self.cases
        image, mask = (None if field is None else cases.open(name, field) for field in self.roles)
        first = image if image is not None else mask
        assert first is not None
        at = None
        if len(cases.tile_size) == 3:
            at = self._fullest_tile(number)
        return draw(image, mask, self.drawing, title=name, spacing=first.spacing, at=at)

    def _fullest_tile(self, case: int) -> tuple[int, ...] | None:
        """Return the middle of the layers of tiles that have most pixels of classes."""
        split, palette = self._split, self.drawing.palette
        counted = split.describing(CLASS_PIXELS)
        if counted is None:
            return None
        table = read_case_table(split)
        grid, ids = table.grid(case), self.drawing.looked_for
        if ids is None:
            ids = [id_ for id_ in range(counted.shape[1]) if id_ != palette.background]
        if palette.background is None and self.drawing.looked_for is None:
            return None
        kept = [id_ for id_ in ids if id_ < counted.shape[1] and id_ != palette.ignore]
        pixels = read_samples(split, CLASS_PIXELS, table.rows(case))[:, kept].sum(axis=1)
        if not pixels.any():
            return None
        places = pixels.reshape(grid.shape)
        others = ((1, 2), (0, 2), (0, 1))
        layers = [int(np.argmax(places.sum(axis=axes))) for axes in others]
        return tuple(
            min(size - 1, layer * tile + tile // 2)
            for layer, tile, size in zip(layers, grid.tile, grid.size, strict=True)
        )
