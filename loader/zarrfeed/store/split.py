"""Which arrays and attributes does a split have?

Opening a split reads a few ``zarr.json`` files and nothing else: it reads no shard and does not
import zarr-python, so that a store of any size opens in milliseconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

from zarrfeed.errors import StoreError, look_up
from zarrfeed.machine_memory import require_memory
from zarrfeed.spelling import did_you_mean, nearest
from zarrfeed.store.address import absolute_path
from zarrfeed.store.array_metadata import UnfitError, parse_array
from zarrfeed.store.attributes import read_attributes
from zarrfeed.store.chunk_claims import require_chunks
from zarrfeed.store.files import Stamp, stamp_of
from zarrfeed.store.json_checks import Damage, require_node
from zarrfeed.store.node_metadata import read_metadata
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
    METADATA,
    PARTIAL,
    PREDICTED,
    ArrayLayout,
)

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from zarrfeed.store.field_source import FieldSource


@dataclass(frozen=True, slots=True)
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
    computed: dict[str, Any] = field(default_factory=dict, init=False, compare=False, repr=False)

    def __reduce__(self) -> tuple[Any, ...]:
        return Split, (
            self.path, self.layouts, self.attributes, self.dataset, self.unfit, self.stamps,
            self.sources,
        )  # fmt: skip

    def _repr_html_(self) -> str:
        """Return what a notebook shows: a table, and four samples or cases."""
        # By name, for what draws a split stands above it.
        page = import_module("zarrfeed.views.split_page")
        return str(page.split_html(self))

    @property
    def packed(self) -> bool:
        """Whether zarrfeed wrote the split, so that every shard has a file, even one of zeros."""
        return bool(self.attributes)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names by id; empty if the store has none."""
        return tuple(self.dataset.get("classes", ()))

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
                f"{self.path}: needed fields of tiles and {CASE_SIZE} of their 2 or 3 spatial "
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
                f"{self.path}: needed at least one field, found arrays {self._names()}"
            )
        for name in fields:
            if name in self.unfit:
                raise StoreError(self.unfit[name])
        missing = [name for name in fields if name not in self.layouts]
        if missing:
            hint = did_you_mean(missing[0], self.field_names)
            raise StoreError(
                f"{self.path}: needed a field {missing[0]!r}, found {self._names()}"
                f"{hint and f'; {hint}'}"
                f"{look_up('fields')}"
            )
        chosen = {name: self.layouts[name] for name in fields}
        lengths = {name: layout.shape[0] for name, layout in chosen.items()}
        if len(set(lengths.values())) > 1:
            raise StoreError(
                f"{self.path}: needed fields of equally many samples, found {lengths}: read them "
                "one by one"
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


_LIKE = 0.7  # of the names of stores: "sett" is like "set", "nope" not like "pred"
_KNOWN = frozenset(["zarr_format", "node_type", "attributes", "consolidated_metadata"])


def open_split(path: str | os.PathLike[str]) -> Split:
    """Open one split of a dataset, or any Zarr group of arrays aligned on axis 0.

    Parameters
    ----------
    path
        A local folder, such as ``camvid.zarr/train``.

    Raises
    ------
    StoreError
        `path` is not a finished Zarr group of arrays; the message says what was found.
    """
    folder = absolute_path(path)
    with only_store_errors(folder):
        return _open(folder)


def _open(folder: Path) -> Split:
    if folder.name.endswith(PARTIAL):
        raise StoreError(
            f"{folder}: needed a finished split, found an unfinished conversion; run `zarrfeed "
            "convert` again to finish it"
            f"{look_up('unfinished-split')}"
        )
    metadata = _group(folder)
    # Taken before the metadata is read, so that a replacement after that has another stamp.
    stamps = {child.name: stamp_of(child) for child in folder.iterdir()}
    layouts: dict[str, ArrayLayout] = {}
    unfit: dict[str, str] = {}
    splits = []
    for child, found in _children(folder):
        if found.get("node_type") == "group":
            splits.append(child.name)
            continue
        try:
            layouts[child.name] = parse_array(found, name=str(child))
        except UnfitError as error:
            unfit[child.name] = str(error)
    if not layouts:
        hint = f"name one of its splits, such as {folder / splits[0]}" if splits else "it is empty"
        none = f"{folder}: needed a group of arrays, found none: {hint}{look_up('no-split')}"
        raise StoreError(next(iter(unfit.values()), none))
    for name in {IMAGE, MASK} & set(splits):
        unfit[name] = f"{folder / name}: needed an array, found a group"
    attributes = read_attributes(metadata, str(folder))
    dataset: JSON = {}
    if attributes:
        dataset = read_attributes(read_metadata(folder.parent) or {}, str(folder.parent))
    return Split(folder, layouts, attributes, dataset, unfit, stamps)


def list_splits(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Return the names of a dataset's finished splits, sorted.

    Parameters
    ----------
    path
        A local folder, such as ``camvid.zarr``.

    Raises
    ------
    StoreError
        `path` is not a Zarr group.
    """
    folder = absolute_path(path)
    with only_store_errors(folder):
        _group(folder)
        return tuple(
            sorted(
                child.name
                for child, found in _children(folder)
                if found.get("node_type") == "group" and not child.name.endswith(PARTIAL)
            )
        )


@contextmanager
def only_store_errors(folder: Path) -> Iterator[None]:
    """Turn every error into a ``StoreError``, because the folder's contents are untrusted."""
    try:
        yield
    except StoreError:
        raise
    except OSError as error:
        raise StoreError(f"{folder}: cannot be opened: {error!s:.500}") from error
    except (
        ValueError,
        TypeError,
        AttributeError,
        LookupError,
        ArithmeticError,
        RuntimeError,
        MemoryError,
    ) as error:
        raise StoreError(
            f"{folder}: its metadata is damaged: {error!r:.300}{look_up('damaged-store')}"
        ) from error


def _group(folder: Path) -> JSON:
    metadata = read_metadata(folder)
    if metadata is None:
        raise StoreError(f"{folder}: {_what_is_there(folder)}")
    try:
        require_node(metadata, "group", _KNOWN)
    except Damage as error:
        raise StoreError(f"{folder}: {error}") from error
    return metadata


def _what_is_there(folder: Path) -> str:
    """Describe why there is no group, and suggest what to do."""
    unfinished = folder.with_name(folder.name + PARTIAL)
    if unfinished.exists():
        run, command = _unfinished_run(unfinished)
        todo = look_up("unfinished-split")
        return f"its {run} is not finished: repeat the same `{command}` to continue it{todo}"
    for child in folder.iterdir() if folder.is_dir() else ():
        if child.name.endswith(PARTIAL):
            command = _unfinished_run(child)[1]
            todo = look_up("unfinished-split")
            return f"no split is finished yet: repeat the same `{command}` to continue{todo}"
    if folder.exists():
        todo = f"`zarrfeed convert` packs folders{look_up('no-split')}"
        return f"needed a Zarr group, found no {METADATA}; {todo}"
    parent = read_metadata(folder.parent) or {}
    if parent.get("node_type") == "group":
        splits = list_splits(folder.parent)
        hint = did_you_mean(folder.name, splits)
        has = ", ".join(splits) or "no split"
        return (
            f"no such split; {folder.parent} has {has}{hint and f': {hint}'}{look_up('no-split')}"
        )
    near = _nearest_store(folder) or _nearest_store(folder.parent, folder.name)
    hint = f"did you mean {near}?" if near else "`zarrfeed convert` packs one"
    return f"no such store; {hint}{look_up('no-split')}"


def _unfinished_run(folder: Path) -> tuple[str, str]:
    """Return what writes an unfinished split, and its command."""
    if PREDICTED in read_attributes(read_metadata(folder) or {}, str(folder)):
        return "prediction", "zarrfeed predict"
    return "conversion", "zarrfeed convert"


def _nearest_store(folder: Path, split: str = "") -> Path | None:
    """Find a folder with a similar name beside a missing one."""
    if folder.exists() or not folder.parent.is_dir():
        return None
    # By their stems, because the extension alone makes all names alike; of one stem, the .zarr.
    there = sorted(
        (child for child in folder.parent.iterdir() if child.is_dir()),
        key=lambda child: child.suffix == ".zarr",
    )
    stores = {child.stem: child for child in there}
    near = nearest(folder.stem, stores, likeness=_LIKE)
    if near is None:
        return None
    store = stores[near]
    return store / split if (store / split).is_dir() else store


def _children(folder: Path) -> list[tuple[Path, JSON]]:
    folders = [child for child in sorted(folder.iterdir()) if child.is_dir()]
    found = ((child, read_metadata(child)) for child in folders)
    return [(child, metadata) for child, metadata in found if metadata is not None]
