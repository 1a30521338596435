"""Which packed splits are repacked, and do they have the same kind of samples?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from zarrfeed.errors import SourceError, look_up
from zarrfeed.store.address import local_path, remote_url
from zarrfeed.store.schema import IMAGE, MASK, PARTIAL, TILE
from zarrfeed.store.split_opening import join_path, open_split_at, splits_below
from zarrfeed_convert.labels import Labels
from zarrfeed_convert.mask_kinds import require_same_kind
from zarrfeed_convert.shards.samples import digest_method
from zarrfeed_convert.source import Field, recorded_fields
from zarrfeed_convert.splits.destination import classes_text, ignore_text
from zarrfeed_convert.splits.existing_split import added_to
from zarrfeed_convert.verification.consistency import repacked_of, tile_of
from zarrfeed_convert.verification.recorded import recorded_of

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from zarrfeed import Split
    from zarrfeed.store.mirror.origin import Remote
    from zarrfeed.store.schema import ArrayLayout
    from zarrfeed_convert.splits.destination import Destination
    from zarrfeed_convert.verification.recorded import Recorded

_AXES = {0: "", 2: "HW", 3: "DHW"}


@dataclass(frozen=True, slots=True)
class StoredSplit:
    """A split to repack.

    Attributes
    ----------
    name
        Path or address of the split, for messages.
    prefix
        Prefix of the names of its samples or cases in the new split.
    recorded
        What it records about these.
    """

    name: str
    prefix: str
    recorded: Recorded

    @property
    def split(self) -> Split:
        """The opened split."""
        return self.recorded.split

    @property
    def fields(self) -> tuple[Field, ...]:
        """Names and roles of its fields."""
        return recorded_fields(self.split.attributes["packed"])

    @property
    def stored(self) -> Mapping[str, ArrayLayout]:
        """Layout of each field."""
        return {field.name: self.split.layouts[field.name] for field in self.fields}

    @property
    def kind(self) -> Literal["whole images", "tiles of images", "cases"]:
        """What its samples are."""
        if self.recorded.cases is not None:
            return "cases"
        return "tiles of images" if TILE in self.split.layouts else "whole images"

    @property
    def whole_prefix(self) -> str:
        """Prefix of names that their source does not know, from this and earlier repackings."""
        before = repacked_of(self.split).get("prefixes", ())
        return self.prefix + (before[0] if len(before) == 1 else "")

    @property
    def labels(self) -> Labels:
        """Classes and ignored id of its dataset, and the kind of its masks."""
        has_masks = MASK in self.split.layouts
        multi_hot = self.split.multi_hot if has_masks else None
        return Labels(
            self.split.classes,
            self.split.ignore,
            multi_hot=multi_hot,
            instances=self.split.instances,
        )


def open_stored(
    paths: Sequence[str | os.PathLike[str]], remote: Remote, *, prefix_keys: bool, any_size: bool
) -> tuple[StoredSplit, ...]:
    """Open the splits to repack.

    Parameters
    ----------
    paths
        Paths or addresses of splits, or of datasets with a single split.
    remote
        How addresses are read.
    prefix_keys
        Whether to name samples ``SPLIT/KEY``, or ``DATASET/SPLIT/KEY`` if splits of several
        datasets have the same name.
    any_size
        Whether samples or tiles may have other sizes in each split.

    Raises
    ------
    SourceError
        There is no path, a split was not packed by zarrfeed or is damaged, or splits have different
        kinds of samples.
    StoreError
        A path is not a Zarr group.
    """
    if not paths:
        raise SourceError("repack: needed at least one split, found none")
    found = [_found(path, remote) for path in paths]
    prefixes = _prefixes([_place(split) for split in found]) if prefix_keys else [""] * len(found)
    splits = tuple(map(_stored, found, prefixes))
    for other in splits[1:]:
        _require_alike(splits[0], other, any_size=any_size)
    return splits


def require_same_labels(destination: Destination, splits: Sequence[StoredSplit]) -> None:
    """Check that classes and ignored id are those of the destination's other splits.

    Raises
    ------
    SourceError
        They differ, or masks of ids and multi-hot masks would mix.
    """
    binding, found = destination.binding, splits[0].labels
    if binding is None:
        return
    require_same_kind(binding, found, f"{destination.out}: {splits[0].name}")
    if (binding.classes, binding.ignore) == (found.classes, found.ignore):
        return
    of_classes = classes_text(binding.classes), classes_text(found.classes)
    of_ignore = (
        f"ignored id {ignore_text(binding.ignore)}",
        f"ignored id {ignore_text(found.ignore)}",
    )
    needed, has = of_classes if binding.classes != found.classes else of_ignore
    raise SourceError(
        f"{destination.out}: classes must be the same in all splits: needed those of "
        f"{', '.join(destination.others)}, {needed}; found in {splits[0].name} {has}; "
        "choose another OUT"
    )


def _found(given: str | os.PathLike[str], remote: Remote) -> Split:
    """Open a split, or the only split of a dataset."""
    path = remote_url(given) or local_path(given)
    names = () if str(path).endswith(PARTIAL) else splits_below(path, remote)
    if isinstance(path, Path) and IMAGE not in names and (path / IMAGE).is_dir():
        # a split to which a group was added
        names = ()
    if len(names) > 1:
        raise SourceError(
            f"{path}: needed one split, found {', '.join(names)}; give its path, such as "
            f"{join_path(path, names[0])}"
            f"{look_up('no-split')}"
        )
    return open_split_at(join_path(path, names[0]) if names else path, remote)


def _place(split: Split) -> Path:
    return split.path if split.origin is None else Path(split.origin.url)


def _prefixes(paths: Sequence[Path]) -> list[str]:
    names = [path.name for path in paths]
    if len(set(names)) < len(names):
        names = [f"{path.absolute().parent.stem}/{path.name}" for path in paths]
    return [f"{name}/" for name in names]


def _stored(split: Split, prefix: str) -> StoredSplit:
    name = split.address
    if "packed" not in split.attributes:
        raise SourceError(
            f"{name}: needed a split that zarrfeed packed, found another Zarr group; pack it with "
            "`zarrfeed convert --format zarr`"
        )
    _require_known(split, name)
    recorded, problems = recorded_of(split)
    if problems:
        count, what = len(problems), problems[0].what.replace(str(split.path), name)
        more = f" ({count} problems; `zarrfeed verify` lists them)" if count > 1 else ""
        raise SourceError(f"{name}: cannot be repacked: {what}{more}")
    return StoredSplit(name, prefix, recorded)


def _require_known(split: Split, name: str) -> None:
    """Check that a split has only arrays that repacking copies, and digests that it can compute."""
    others = [*split.default_fields, *added_to(split.path, split.default_fields)]
    needed = [field.name for field in recorded_fields(split.attributes["packed"])]
    if others != needed:
        raise SourceError(
            f"{name}: needed only the fields {' and '.join(needed)}, and arrays that describe "
            f"them, found {', '.join(others)}; remove the other arrays from a copy of the split"
        )
    method = split.attributes["packed"].get("digest")
    wanted = digest_method(needed)
    if method != wanted:
        raise SourceError(
            f"{name}: needed digests by {wanted!r}, found {method!r}, by which copies cannot be "
            "checked; use the zarrfeed that packed it"
        )


def _require_alike(one: StoredSplit, other: StoredSplit, *, any_size: bool) -> None:
    kinds = (_kind(stored, any_size=any_size) for stored in (one, other))
    for (what, needed), (_, found) in zip(*kinds, strict=True):
        if needed != found:
            advice = "merge only splits with the same kind of samples"
            if what == "the size of tiles" and needed.count("×") == found.count("×"):
                advice = "use --tile to cut all cases into tiles of one size"
            raise SourceError(
                f"{other.name}: {what}: needed {_shown(needed)}, as in {one.name}, found "
                f"{_shown(found)}; {advice}"
            )


def _kind(stored: StoredSplit, *, any_size: bool) -> list[tuple[str, Any]]:
    """List what all splits must have in common to be merged: (name, value)."""
    split, layouts = stored.split, stored.stored
    names, tile = [field.name for field in stored.fields], tile_of(split)
    of_cases = stored.kind == "cases"
    axes = len(tile) if of_cases or any_size else 0
    of_tiles = [("the size of tiles", _text(tile))] if of_cases and not any_size else []
    return [
        ("samples", stored.kind),
        ("the meaning of masks", "numbers of instances" if split.instances else "classes"),
        ("classes", split.classes),
        ("the ignored id", ignore_text(split.ignore)),
        ("fields", ", ".join(split.default_fields)),
        ("roles", ", ".join(field.role for field in stored.fields)),
        *of_tiles,
        *(
            (f"the shape of each {name}", _text([*_AXES[axes], *layout.sample_shape[axes:]]))
            for name, layout in layouts.items()
        ),
        *((f"the data type of each {name}", str(layouts[name].dtype)) for name in names),
    ]


def _shown(value: Any) -> str:
    return classes_text(value) if isinstance(value, tuple) and value else str(value)


def _text(parts: Sequence[int | str]) -> str:
    return "×".join(map(str, parts))
