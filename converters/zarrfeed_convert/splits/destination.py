"""Where is a split written, and which classes must it have there?

All splits of a dataset have the same classes. A split that is the only one, or replaces the only
one, may have any.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from zarrfeed.errors import SourceError, look_up
from zarrfeed.spelling import few
from zarrfeed.store.schema import (
    ATTRIBUTES,
    CASE_SIZE,
    FORMAT_VERSION,
    IMAGE,
    INSTANCES,
    MASK,
    METADATA,
    PARTIAL,
)
from zarrfeed_convert.arguments import require_size
from zarrfeed_convert.labels import Labels
from zarrfeed_convert.mask_kinds import require_same_kind
from zarrfeed_convert.planning.layout import Decision
from zarrfeed_convert.planning.palettes import palette_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from zarrfeed_convert.geometry import Size
    from zarrfeed_convert.planning.palettes import Palette
    from zarrfeed_convert.shards.field_layout import FieldLayout
    from zarrfeed_convert.source import JSON


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a split is written.

    Attributes
    ----------
    out
        Path of the dataset.
    split
        Name of the split.
    labels
        Classes and ignored id of the dataset, and whether the masks of its other splits are
        multi-hot or numbers of instances; None if it does not exist yet.
    others
        Names of its other complete splits.
    """

    out: Path
    split: str
    labels: Labels | None
    others: tuple[str, ...]

    @property
    def folder(self) -> Path:
        """Folder of the split."""
        return self.out / self.split

    @property
    def binding(self) -> Labels | None:
        """Classes and ignored id of the other splits, which this one must share; None if none."""
        # Splits of images without masks may have no classes; those of instances have none.
        known = self.labels is not None and (self.labels.classes or self.labels.instances)
        return self.labels if self.others and known else None

    def palettes(self) -> dict[str, Palette]:
        """Return the palette colours that masks of the other splits use, by split."""
        return {name: palette_of(_attributes(self.out / name) or {}) for name in self.others}

    def spatial_axes(self, *, replaced: bool) -> int | None:
        """Return 3 if images of the dataset are volumes, 2 if not, None if it has no images.

        Parameters
        ----------
        replaced
            Whether an existing split of this name does not count, since it will be replaced.
        """
        for name in (*self.others, *(() if replaced else (self.split,))):
            shape = _metadata(self.out / name / IMAGE).get("shape")
            if isinstance(shape, list) and len(shape) in (4, 5):
                return len(shape) - 2
        return None

    def tile_of(self, name: str) -> Size | None:
        """Return the size of the tiles of a split of cases; None if it has no cases."""
        sizes, image = (
            _metadata(self.out / name / each).get("shape") for each in (CASE_SIZE, IMAGE)
        )
        if not (isinstance(sizes, list) and len(sizes) == 2 and isinstance(image, list)):
            return None
        with suppress(SourceError):  # damaged: whoever verifies that split will say so
            tile = image[1 : 1 + sizes[1]] if sizes[1] in (2, 3) else None
            require_size("tile", tile)
            return None if tile is None else tuple(tile)
        return None

    def settings_of(self, name: str) -> JSON:
        """Return the settings with which a split of the dataset was packed; empty if unknown."""
        packed = (_attributes(self.out / name) or {}).get("packed")
        settings = packed.get("settings") if isinstance(packed, dict) else None
        return settings if isinstance(settings, dict) else {}

    def about_other_splits(
        self, fields: Sequence[FieldLayout], *, has_axes: bool
    ) -> tuple[Decision, ...]:
        """Tell of fields that differ from those of the other splits in axes, channels or dtype.

        Sizes may differ: a model may be trained on crops of what it is tested on.

        Parameters
        ----------
        fields
            The fields of this split. Masks are left out, since classes bind them.
        has_axes
            Whether the source has the option ``axes``.
        """
        found = []
        of_image = fields[0].sample_shape
        for field in fields:
            here = _kind_text(field.sample_shape, str(field.dtype), axes=len(of_image) - 1)
            for split in self.others if field.name != MASK else ():
                image, same = (_metadata(self.out / split / name) for name in (IMAGE, field.name))
                of_image_there, shape = image.get("shape"), same.get("shape")
                if not (isinstance(of_image_there, list) and isinstance(shape, list)):
                    continue  # it has no such field
                axes = len(of_image_there) - 2
                there = _kind_text(shape[1:], str(same.get("data_type")), axes=axes)
                if there == here:
                    continue
                reason = f"{here}, but {split} has {there}: a model of one does not take the other"
                if has_axes and field.name == IMAGE and axes != len(of_image) - 1:
                    other = "volumes, use -o axes=NDHW" if axes == 3 else "images, use -o axes=NHWC"
                    reason += f"; if the arrays hold {other}"
                found.append(Decision("other splits", f"{field.name} differs", reason))
                break
        return tuple(found)

    def packed(self) -> JSON | None:
        """Read the split's ``attributes.zarrfeed``; None if the split does not exist."""
        if not self.folder.exists():
            return None
        return _attributes(self.folder) or {}

    def require_same_labels(self, labels: Labels) -> None:
        """Check that classes and ignored id are those of the other splits.

        Raises
        ------
        SourceError
            They differ, or masks of ids and multi-hot masks would mix.
        """
        binding = self.binding
        if binding is None or not (labels.classes or labels.instances):
            return
        others = ", ".join(self.others)
        if binding.instances or labels.instances:
            found = replace(labels, multi_hot=bool(labels.multi_hot))
            require_same_kind(binding, found, str(self.out))
        if labels.classes != binding.classes:
            raise SourceError(
                f"{self.out}: classes must be the same in all splits: needed those of {others}, "
                f"{classes_text(binding.classes)}; found {classes_text(labels.classes)}; "
                "leave --classes out to use the dataset's, or pack all splits with the same "
                "classes into another OUT"
                f"{look_up('split-classes')}"
            )
        require_same_kind(binding, labels, str(self.out))
        if labels.ignore != binding.ignore:
            hint = "leave --ignore out" if binding.ignore is None else f"use {_option(binding)}"
            if binding.instances:
                hint = "draw crowds and overlaps as in the others"
            raise SourceError(
                f"{self.out}: the ignored id must be the same in all splits: needed that of "
                f"{others}, {ignore_text(binding.ignore)}; found {ignore_text(labels.ignore)}; "
                f"{hint}, or pack all splits with the same ignored id into another OUT"
                f"{look_up('split-classes')}"
            )


def destination_of(out: Path, split: str) -> Destination:
    """Read the dataset to which a split will be written.

    Parameters
    ----------
    out
        Path of the dataset, which need not exist.
    split
        Name of the split.

    Raises
    ------
    SourceError
        `split` is not a plain name, or `out` exists and is not a zarrfeed dataset.
    """
    if (
        not isinstance(split, str)
        or not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", split)
        or split.endswith((PARTIAL, METADATA))
    ):
        raise SourceError(
            f"split: needed a plain name like 'train' (letters, digits, _ . -), found {split!r}"
        )
    store = out.absolute().parent
    if (store.suffix == ".zarr" and out.name == split) or "classes" in (_attributes(store) or {}):
        raise SourceError(
            f"{out}: needed the path of a dataset, found a path inside one; give {out.parent}, and "
            "the name of the split with --split"
        )
    if not out.exists() or (out.is_dir() and _holds_only_partials(out)):
        return Destination(out, split, None, ())
    attributes = _attributes(out) if out.is_dir() else None
    if not attributes or "classes" not in attributes:
        raise SourceError(
            f"{out}: needed a zarrfeed dataset or a new path, found something else, which was left "
            "unchanged; choose another OUT"
            f"{look_up('split-exists')}"
        )
    if attributes.get("format") != FORMAT_VERSION:
        raise SourceError(
            f"{out}: needed a dataset of format {FORMAT_VERSION}, found format "
            f"{attributes.get('format')!r}; pack it anew, or use the zarrfeed that packed it"
            f"{look_up('newer-format')}"
        )
    others = tuple(_splits(out, but=split))
    kinds = ((name, _multi_hot(out / name)) for name in others)
    name, multi_hot = next((each for each in kinds if each[1] is not None), ("", None))
    packed = (_attributes(out / name) or {}).get("packed") if name else None
    labels = replace(
        _labels(out, attributes),
        multi_hot=multi_hot,
        instances=isinstance(packed, dict) and packed.get(INSTANCES) is True,
    )
    return Destination(out, split, labels, others)


def _labels(out: Path, attributes: JSON) -> Labels:
    classes, ignore = attributes["classes"], attributes.get("ignore")
    if (
        isinstance(classes, list)
        and all(isinstance(name, str) for name in classes)
        and (ignore is None or type(ignore) is int)
    ):
        return Labels(tuple(classes), ignore)
    raise SourceError(
        f"{out / METADATA}: needed a list of class names, and a number or null as ignored id, "
        f"found {classes!r:.80} and {ignore!r:.40}; restore it, or choose another OUT"
    )


def _multi_hot(split: Path) -> bool | None:
    """Return whether a split's masks are multi-hot; None if it has no masks."""
    shapes = [_metadata(split / name).get("shape") for name in (IMAGE, MASK)]
    axes = [len(shape) if isinstance(shape, list) else 0 for shape in shapes]
    return axes[0] == axes[1] if axes[1] else None


def _attributes(folder: Path) -> JSON | None:
    """Read a group's ``attributes.zarrfeed``; None if it has none."""
    attributes = _metadata(folder).get("attributes")
    found = attributes.get(ATTRIBUTES) if isinstance(attributes, dict) else None
    return found if isinstance(found, dict) else None


def _metadata(folder: Path) -> JSON:
    """Read the metadata of a group or an array; empty if it has none."""
    path = folder / METADATA
    try:
        # Reading a pipe would wait for ever.
        found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _kind_text(sample: Sequence[int], dtype: str, *, axes: int) -> str:
    """Return what a model must know of an array, as text: all but the size of its spatial axes.

    Examples
    --------
    >>> _kind_text((16, 64, 64, 1), "int16", axes=3)
    '(D, H, W, 1) int16'
    """
    spatial = "DHW"[-axes:]
    return f"({', '.join([*spatial[: len(sample)], *map(str, sample[axes:])])}) {dtype}"


def _splits(out: Path, *, but: str) -> list[str]:
    """Return the names of the complete splits of a dataset, except `but`."""
    names = (entry.name for entry in out.iterdir() if entry.is_dir())
    return sorted(
        name
        for name in names
        if name != but and not name.endswith(PARTIAL) and _attributes(out / name) is not None
    )


def _option(labels: Labels) -> str:
    return f"--ignore {labels.ignore}"


def _holds_only_partials(out: Path) -> bool:
    """Return whether OUT contains nothing except what killed runs left."""
    return all(entry.is_dir() and entry.name.endswith(PARTIAL) for entry in out.iterdir())


def classes_text(classes: Sequence[str]) -> str:
    """Return the number of classes and the names of the first ones, as text."""
    return f"{len(classes)} ({few(classes, counted=True)})"


def ignore_text(ignore: int | None) -> str:
    """Return an ignored id as text."""
    return "none" if ignore is None else str(ignore)
