"""Which arrays and attributes does a split have?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

from zarrfeed.errors import StoreError, look_up, printable
from zarrfeed.machine_memory import require_memory
from zarrfeed.spelling import did_you_mean
from zarrfeed.store.chunk_claims import require_chunks
from zarrfeed.store.schema import (
    CASE_FIRST_TILE,
    CASE_KEY,
    CASE_SIZE,
    DESCRIPTIONS,
    DESCRIPTIVE,
    IMAGE,
    INSTANCES,
    JSON,
    MASK,
    ArrayLayout,
)
from zarrfeed.user_warning import warn_user

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from zarrfeed.store.field_source import FieldSource
    from zarrfeed.store.files import Stamp
    from zarrfeed.store.mirror.origin import Origin


@dataclass(frozen=True, slots=True, repr=False)
class Split:
    """An opened split: the layouts of its arrays and its attributes.

    Attributes
    ----------
    path
        Folder of the Zarr group.
    layouts
        Every array of the group that can be read, by name.
    attributes
        The split's ``attributes.zarrfeed``; empty for a group that zarrfeed did not write.
    dataset
        The dataset's ``attributes.zarrfeed`` (classes, ignore id); empty for a group that zarrfeed
        did not write.
    unfit
        Why the other arrays of the group cannot feed batches, by name.
    stamps
        Stamps by which a replaced array is detected, by name.
    sources
        Where the rows of fields are that are not arrays of the group, by name.
    origin
        The remote split that the folder mirrors; None for a local split.
    computed
        What was read and checked once for this object, by name. It is neither compared, nor pickled
        or taken over by ``dataclasses.replace``.
    """

    path: Path
    layouts: Mapping[str, ArrayLayout]
    attributes: JSON
    dataset: JSON
    unfit: Mapping[str, str] = field(default_factory=dict)
    stamps: Mapping[str, Stamp | None] = field(default_factory=dict)
    sources: Mapping[str, FieldSource] = field(default_factory=dict)
    origin: Origin | None = None
    computed: dict[str, Any] = field(default_factory=dict, init=False, compare=False, repr=False)

    def __reduce__(self) -> tuple[Any, ...]:
        return Split, (
            self.path, self.layouts, self.attributes, self.dataset, self.unfit, self.stamps,
            self.sources, self.origin,
        )  # fmt: skip

    def __repr__(self) -> str:
        fields = ", ".join(
            f"{name} {self.layouts[name].dtype}{list(self.layouts[name].shape)}"
            for name in self.field_names
        )
        return f"Split({self.address!r}: {fields})"

    def _repr_html_(self) -> str:
        """Return what a notebook shows: a table, and four samples or cases."""
        # By name, for what draws a split stands above it.
        page = import_module("zarrfeed.views.split_page")
        return str(page.split_html(self))

    @property
    def address(self) -> str:
        """Where the split is, for messages: its folder, or the address that it mirrors."""
        return str(self.path) if self.origin is None else self.origin.url

    @property
    def packed(self) -> bool:
        """Whether zarrfeed wrote the split, so that every shard has a file, even one of zeros."""
        return bool(self.attributes)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names by id; empty if the store has none."""
        return tuple(self.dataset.get("classes", ()))

    @property
    def dropped(self) -> tuple[str, ...]:
        """Names of classes of the stores of a Mix whose pixels it ignores; empty for one store."""
        return tuple(self.dataset.get("dropped", ()))

    @property
    def ignore(self) -> int | None:
        """The mask id that counts as no class; None if there is none."""
        ignore = self.dataset.get("ignore")
        return None if ignore is None else int(ignore)

    @property
    def multi_hot(self) -> bool:
        """Whether masks have one channel of 0 and 1 per class, so that classes may overlap.

        False for groups that zarrfeed did not pack, because the meaning of their masks' last axis
        is unknown.
        """
        shapes = [self.layouts[name].shape for name in (IMAGE, MASK) if name in self.layouts]
        return self.packed and len(shapes) == 2 and len(shapes[0]) == len(shapes[1])

    @property
    def instances(self) -> bool:
        """Whether masks are numbers of instances, which mean another object in each sample."""
        packed = self.attributes.get("packed")
        return isinstance(packed, Mapping) and packed.get(INSTANCES) is True

    @property
    def tile_size(self) -> tuple[int, ...] | None:
        """Size of a tile, (h, w) or (d, h, w), if this is a split of cases; None if it is not.

        The samples of a split of cases are the tiles of images or volumes of any size; see
        :func:`zarrfeed.open_cases`. Groups whose attributes do not say so are one if they have all
        arrays that describe cases.
        """
        describing = map(self.describing, (CASE_KEY, CASE_SIZE, CASE_FIRST_TILE))
        if "cases" not in self.attributes and not all(describing):
            return None
        sizes, tiles = self.describing(CASE_SIZE), self._tiles()
        axes = sizes.shape[1] if sizes else 0
        if tiles is None or not 0 < axes < len(tiles.shape):
            raise StoreError(
                f"{self.address}: needed fields of tiles and {CASE_SIZE} of their 2 or 3 spatial "
                f"axes, found {self._names()} and {sizes.shape if sizes else 'no such sizes'}: "
                "restore them, or convert again"
            )
        return tiles.shape[1 : 1 + axes]

    @property
    def tiles(self) -> int:
        """Number of tiles, if this is a split of cases; 0 if it is not."""
        tiles = self._tiles()
        return 0 if self.tile_size is None or tiles is None else tiles.shape[0]

    def _tiles(self) -> ArrayLayout | None:
        """Return the layout of the field that defines the tile size."""
        names = [name for name in (IMAGE, *self.default_fields) if name in self.layouts]
        return self.layouts[names[0]] if names else None

    @property
    def has_field_names(self) -> bool:
        """Whether the attributes or the arrays' names tell images from masks."""
        return "fields" in self.attributes or {IMAGE, MASK} <= set(self.layouts)

    @property
    def field_names(self) -> tuple[str, ...]:
        """Names of all arrays that can be read and may feed a model, sorted."""
        return tuple(sorted(self.layouts.keys() - DESCRIPTIVE))

    @property
    def batch_fields(self) -> tuple[str, ...]:
        """Default fields of a batch: image and mask, or all fields if one of these is missing."""
        names = self.default_fields
        return (IMAGE, MASK) if {IMAGE, MASK} <= set(names) else names

    @property
    def default_fields(self) -> tuple[str, ...]:
        """All fields of a packed split; for other groups those that may feed a model."""
        if "fields" in self.attributes:
            return tuple(self.attributes["fields"])
        # An image or mask that cannot feed batches is an error; leaving it out would hide that.
        missed = self.unfit.keys() & {IMAGE, MASK}
        names = tuple(sorted((self.layouts.keys() | missed) - DESCRIPTIVE))
        return (IMAGE, MASK) if {IMAGE, MASK} <= set(names) else names

    def select(self, fields: Sequence[str]) -> dict[str, ArrayLayout]:
        """Return the layouts of arrays that can be read together.

        Parameters
        ----------
        fields
            Array names, in batch order.

        Raises
        ------
        StoreError
            An array is missing, the arrays differ in their number of samples, or a sample or a
            chunk does not fit in memory.
        """
        if not fields:
            raise StoreError(
                f"{self.address}: needed at least one field, found arrays {self._names()}"
            )
        for name in fields:
            if name in self.unfit:
                raise StoreError(self.unfit[name])
        missing = [name for name in fields if name not in self.layouts]
        if missing:
            hint = did_you_mean(missing[0], self.field_names)
            raise StoreError(
                f"{self.address}: needed a field {missing[0]!r}, found {self._names()}"
                f"{hint and f'; {hint}'}"
                f"{look_up('fields')}"
            )
        chosen = {name: self.layouts[name] for name in fields}
        lengths = {name: layout.shape[0] for name, layout in chosen.items()}
        if len(set(lengths.values())) > 1:
            raise StoreError(
                f"{self.address}: needed fields of equally many samples, found {lengths}: read "
                "them one by one"
            )
        for name, layout in chosen.items():
            require_memory(self.path / name, layout.sample_nbytes, f"a sample {layout.shape[1:]}")
            require_chunks(self.path / name, layout)
        return chosen

    def describing(self, name: str) -> ArrayLayout | None:
        """Return the layout of a descriptive array; None if it is missing or of another kind.

        Parameters
        ----------
        name
            Name of a descriptive array, such as ``class_pixels``.
        """
        layout = self.layouts.get(name)
        if layout is None:
            return None
        kinds, extents = DESCRIPTIONS[name]
        found = layout.sample_shape
        fits = len(found) == len(extents) and all(
            not allowed or extent in allowed for allowed, extent in zip(extents, found, strict=True)
        )
        return layout if fits and layout.dtype.kind in kinds else None

    def _names(self) -> str:
        return ", ".join(self.field_names) or "none"


def require_split(split: object) -> None:
    """Check that a split is opened.

    Raises
    ------
    TypeError
        It is something else, such as a path.
    """
    if not isinstance(split, Split):
        raise TypeError(
            "needed a split that is open, such as open_split('cells.zarr/train'), got "
            f"{split!r:.200}"
        )


def warn_if_indirect(split: Split, fields: Sequence[str]) -> None:
    """Warn of fields that cannot be read directly, and say why."""
    for name, layout in split.select(fields).items():
        if layout.indirect is not None:
            how = "through zarr-python" if layout.foreign else "chunk by chunk"
            warn_user(
                printable(
                    f"{split.address}/{name}: read {how}, which is slower ({layout.indirect}); "
                    "`zarrfeed convert` writes stores that are read directly"
                ),
            )
