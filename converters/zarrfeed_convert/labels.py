"""Which classes does a dataset have, and does a mask hold only these?

Pure functions of masks and values.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.errors import SourceError, look_up
from zarrfeed.spelling import few
from zarrfeed_convert.class_counts import class_counts, value_counts
from zarrfeed_convert.decoding.limits import read_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence, Set

    from numpy.typing import NDArray

    from zarrfeed_convert.source import JSON, Mask

MAX_ID = 65535
_JPEG = (".jpg", ".jpeg")
# JPEG compression gives masks of a few classes dozens of values; fewer than this may be classes.
_JPEG_VALUES = 16
_EDGE_VALUES = 16  # minimum number of values between 0 and 255 for soft edges
TOPS = (255, 65535)  # foreground in masks of two classes with 8 and 16 bits
JPEG_HINT = "JPEG changes mask values: save masks as PNG, from their originals"


@dataclass(frozen=True, slots=True)
class Labels:
    """The classes of a dataset.

    Attributes
    ----------
    classes
        Names of the classes. The id of a class is its index.
    ignore
        Id of pixels that belong to no class, which losses ignore; None if there is none.
    binary
        Whether masks hold 0 and 255, and 255 is packed as 1.
    multi_hot
        Whether masks have one channel of 0 and 1 per class instead of ids, so that a pixel may have
        several classes or none. None if there are no masks yet.
    said_in
        File that names the classes, for errors; empty if none does.
    instances
        Whether masks are numbers of instances, uint16, instead of class ids; there are then no
        classes.
    """

    classes: tuple[str, ...]
    ignore: int | None
    binary: bool = False
    multi_hot: bool | None = False
    said_in: str = field(default="", compare=False, repr=False)
    instances: bool = False

    def to_json(self) -> JSON:
        """Return the labels as journals record them, also in versions without some attributes."""
        recorded = asdict(self)
        del recorded["said_in"]
        if not self.multi_hot:
            del recorded["multi_hot"]
        if not self.instances:
            del recorded["instances"]
        return recorded

    @property
    def dtype(self) -> np.dtype[Any]:
        """The smaller of uint8 and uint16 that can represent every id; uint8 for multi-hot.

        Numbers of instances are always uint16, so that all splits have the same dtype.
        """
        if self.instances:
            return np.dtype(np.uint16)
        highest = 1 if self.multi_hot else max(len(self.classes) - 1, self.ignore or 0)
        return np.dtype(np.uint8 if highest <= 255 else np.uint16)

    def validate(self, mask: Mask, *, name: str) -> tuple[Mask, NDArray[np.int64]]:
        """Check that a mask holds only ids of classes, and count their pixels.

        Parameters
        ----------
        mask
            (H, W) or (D, H, W) ids. Multi-hot masks have a last axis of K channels of 0 and 1.
        name
            Name of the mask, for errors.

        Returns
        -------
        mask
            The mask in `dtype`, C-contiguous.
        pixels
            (K,) int64 number of pixels of each class; none of instances.

        Raises
        ------
        SourceError
            A value is neither the id of a class nor `ignore`.
        """
        if self.instances:
            return _numbered(mask, name), np.zeros(0, np.int64)
        if self.multi_hot:
            return self._validate_multi_hot(mask, name)
        if self.binary:
            mask = np.where(mask == 255, np.uint8(1), mask)
        count = len(self.classes)
        found = value_counts(mask)
        pixels = np.zeros(max(count, found.size), np.int64)
        pixels[: found.size] = found
        outside = np.flatnonzero(pixels[count:]) + count
        if outside.size and outside.tolist() != [self.ignore]:
            raise self._outside([v for v in outside.tolist() if v != self.ignore], pixels, name)
        return np.ascontiguousarray(mask, self.dtype), pixels[:count]

    def _validate_multi_hot(self, mask: Mask, name: str) -> tuple[Mask, NDArray[np.int64]]:
        count = len(self.classes)
        if mask.dtype.kind not in "bui" or mask.shape[-1] != count:
            raise SourceError(
                f"{name}: needed a multi-hot mask, a channel of 0 and 1 for each of {count} "
                f"classes, found {mask.shape} {mask.dtype}; give it so, like mask > 0.5"
            )
        low, high = int(mask.min(initial=0)), int(mask.max(initial=0))
        if low < 0 or high > 1:
            raise SourceError(
                f"{name}: needed a multi-hot mask of 0 and 1, found {low} … {high}; give it so, "
                "like mask > 0"
            )
        mask = np.ascontiguousarray(mask, self.dtype)
        return mask, class_counts(mask, count, multi_hot=True)

    def _outside(self, values: list[int], pixels: NDArray[np.int64], name: str) -> SourceError:
        present = set(np.flatnonzero(pixels).tolist())
        topic = look_up("class-ids")
        if is_jpeg(name):
            hint, topic = JPEG_HINT, look_up("jpeg-masks")
        elif has_soft_edges({value: int(pixels[value]) for value in present}):
            hint, topic = of_two_classes(max(present)), look_up("mask-255")
        elif present <= {0, 255}:
            topic = look_up("mask-255")
            hint = (
                "use --mask-map 255=1 if it is a binary mask, "
                "or --ignore 255 if it marks unlabelled pixels"
            )
        elif len(values) == 1:
            value = values[0]
            hint = f"use --ignore {value} if it marks unlabelled pixels, or --mask-map {value}=ID"
        else:
            hint = "list every class with --classes, or give the values ids with --mask-map"
        if self.said_in and not is_jpeg(name):
            hint = (
                f"{self.said_in} names no such label: add it there, correct the mask, or list "
                f"every class with --classes; {hint}"
            )
        allowed = f"0 … {len(self.classes) - 1}"
        if self.ignore is not None:
            allowed += f" or {self.ignore} (ignored)"
        shown = few(map(str, values))
        plural = "s" if len(values) > 1 else ""
        return SourceError(
            f"{name}: needed class ids {allowed}, found the value{plural} {shown}; {hint}{topic}"
        )


def _numbered(mask: Mask, name: str) -> Mask:
    """Return a mask of numbers of instances as uint16, if it is one."""
    low, high = (int(mask.min()), int(mask.max())) if mask.size else (0, 0)
    if mask.dtype.kind not in "bui" or low < 0 or high > MAX_ID:
        raise SourceError(
            f"{name}: needed numbers of instances, 0 … {MAX_ID}, found {low} … {high} as "
            f"{mask.dtype}; number them from 1 within each image"
        )
    return np.ascontiguousarray(mask, np.uint16)


def parse_classes(classes: str | int | Sequence[str]) -> tuple[str, ...]:
    """Parse class names.

    Parameters
    ----------
    classes
        A sequence of names; an integer K, for classes that are named ``0 … K-1``; or a text with K,
        with names separated by commas, or with the path of a file of one name per line.

    Raises
    ------
    SourceError
        There is no name or more than 65536, a name is empty, or a name is given twice.

    Examples
    --------
    >>> parse_classes("cell, nucleus")
    ('cell', 'nucleus')
    >>> parse_classes("3")
    ('0', '1', '2')
    """
    if isinstance(classes, str):
        names = _names_of_text(classes)
    elif isinstance(classes, int | np.integer) and not isinstance(classes, bool):
        names = [str(number) for number in range(min(int(classes), MAX_ID + 2))]
    else:
        names = _names_in_order(classes)
    twice = sorted({name for name in names if names.count(name) > 1}) if len(names) < 4096 else []
    if not names or "" in names or twice or len(names) > MAX_ID + 1:
        wrong = f"{', '.join(twice)} twice" if twice else f"{len(names)} names ({classes!r})"
        raise SourceError(f"classes: needed 1 to {MAX_ID + 1} different names, found {wrong}")
    return tuple(names)


def _names_in_order(classes: object) -> list[str]:
    if isinstance(classes, Iterable) and not isinstance(classes, set | frozenset):
        names: list[Any] = list(classes)
        if all(isinstance(name, str) for name in names):
            return names
    raise SourceError(
        "classes: needed names in their order, like ['sky', 'road'], or their number, found "
        f"{type(classes).__name__} {classes!r:.60}"
    )


def _names_of_text(text: str) -> list[str]:
    if text.strip().isdecimal():
        return [str(number) for number in range(min(int(text), MAX_ID + 2))]
    path = Path(text)
    if "," not in text and path.is_file():
        lines = read_text(path).splitlines()
        while lines and not lines[-1].strip():
            lines.pop()
        return [line.strip() for line in lines]
    if "," not in text and ("/" in text or path.suffix == ".txt"):
        raise SourceError(
            f"classes: no such file: {text}; give a file of one name per line, or names separated "
            "by commas"
        )
    return [name.strip() for name in text.split(",")]


def has_soft_edges(pixels: Mapping[int, int]) -> bool:
    """Return whether masks have two classes, 0 and 255 (or 65535), with smoothed borders.

    Most pixels then have one of these values, and the others are spread between them.

    Examples
    --------
    >>> has_soft_edges({0: 900, 255: 500, **dict.fromkeys(range(5, 250, 5), 3)})
    True
    >>> has_soft_edges({255: 900, **dict.fromkeys(range(20), 3)})
    False
    """
    top = max(pixels, default=0)
    between = [value for value in pixels if value not in (0, top)]
    if top not in TOPS or 0 not in pixels or len(between) <= _EDGE_VALUES:
        return False
    spread = min(between) < top / 4 and max(between) > top * 3 / 4
    return spread and pixels[0] + pixels[top] > sum(pixels[value] for value in between)


def of_two_classes(top: int) -> str:
    """Return advice for masks of two classes, 0 and `top`, with soft edges."""
    half = (top + 1) // 2
    return f"if these are two classes with soft edges, use --mask-map '{half}..{top}=1,*=0'"


def smeared_by_jpeg(in_jpegs: Set[int], values: Set[int]) -> bool:
    """Return whether masks hold values as JPEG leaves them: too many, or some beside 0 and 255.

    Parameters
    ----------
    in_jpegs, values
        Values of the masks that are JPEG files, and of all masks.

    Examples
    --------
    >>> [smeared_by_jpeg(ids, ids) for ids in ({0, 255}, {0, 1, 255}, {0, 1, 2}, set(range(17)))]
    [False, True, False, True]
    """
    beside = bool(in_jpegs) and 255 in values and not values <= {0, 255}
    return beside or len(in_jpegs) > _JPEG_VALUES


def is_jpeg(name: str) -> bool:
    """Return whether a file is a JPEG, by its extension."""
    return name.lower().endswith(_JPEG)
