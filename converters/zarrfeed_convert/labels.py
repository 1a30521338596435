"""Which classes are there, and does a mask keep to them?

Pure: :class:`Labels` says which ids there are, and counts them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.errors import SourceError
from zarrfeed.spelling import few
from zarrfeed_convert.decoding.limits import read_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from zarrfeed_convert.source import Mask

MAX_ID = 65535
_JPEG = (".jpg", ".jpeg")
# Masks of some classes, smeared by JPEG, hold dozens of values; a few may be classes after all.
_JPEG_VALUES = 16
_EDGE_VALUES = 16  # between 0 and 255: more than soft edges of a few pixels and a class or two
_COUNTED_BY_PILLOW = 1 << 14  # pixels of a mask, at least
_INSTANCES = 256  # classes that nobody named: more than that number objects
_TOPS = (255, 65535)  # how 8 and 16 bits write what is there, in masks of two classes
JPEG_HINT = "JPEG changes mask values: save masks as PNG, from their originals"


@dataclass(frozen=True, slots=True)
class Labels:
    """The classes of a dataset.

    Attributes
    ----------
    classes
        Names; a class's id is its place.
    ignore
        The id of pixels that belong to no class, which losses leave out; may be None.
    binary
        The masks hold 0 and 255, and 255 means 1.
    """

    classes: tuple[str, ...]
    ignore: int | None
    binary: bool = False

    @property
    def dtype(self) -> np.dtype[Any]:
        """The smallest of uint8 and uint16 that holds every id."""
        highest = max(len(self.classes) - 1, self.ignore or 0)
        return np.dtype(np.uint8 if highest <= 255 else np.uint16)

    def validate(self, mask: Mask, *, name: str) -> tuple[Mask, NDArray[np.int64]]:
        """Check a mask against the classes.

        Parameters
        ----------
        mask
            (H, W) ids.
        name
            The mask's file, for errors.

        Returns
        -------
        mask
            (H, W) in `dtype`, C-contiguous.
        pixels
            (K,) int64: how many pixels each class has.

        Raises
        ------
        SourceError
            A value is neither a class nor `ignore`; the message says which, and what to do.
        """
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

    def _outside(self, values: list[int], pixels: NDArray[np.int64], name: str) -> SourceError:
        present = set(np.flatnonzero(pixels).tolist())
        if is_jpeg(name):
            hint = JPEG_HINT
        elif has_soft_edges({value: int(pixels[value]) for value in present}):
            hint = _of_two_classes(max(present))
        elif present <= {0, 255}:
            hint = (
                "use --mask-map 255=1 if it is a binary mask, "
                "or --ignore 255 if it marks unlabelled pixels"
            )
        elif len(values) == 1:
            value = values[0]
            hint = f"use --ignore {value} if it marks unlabelled pixels, or --mask-map {value}=ID"
        else:
            hint = "list every class with --classes, or give the values ids with --mask-map"
        allowed = f"0 … {len(self.classes) - 1}"
        if self.ignore is not None:
            allowed += f" or {self.ignore} (ignored)"
        shown = few(map(str, values))
        plural = "s" if len(values) > 1 else ""
        return SourceError(
            f"{name}: needed class ids {allowed}, found the value{plural} {shown}; {hint}"
        )


def parse_classes(classes: str | int | Sequence[str]) -> tuple[str, ...]:
    """Read class names.

    Parameters
    ----------
    classes
        Names; or a text: a comma list of names, a file with a name per line, or a number K,
        which names the classes ``0 … K-1``.

    Raises
    ------
    SourceError
        There is no name, a name is empty or given twice, or there are more than ids.

    Examples
    --------
    >>> parse_classes("cell, nucleus")
    ('cell', 'nucleus')
    >>> parse_classes("3")
    ('0', '1', '2')
    """
    if isinstance(classes, str):
        names = _names_of_text(classes)
    elif isinstance(classes, int):
        names = [str(number) for number in range(classes)]
    else:
        names = list(classes)
    twice = sorted({name for name in names if names.count(name) > 1}) if len(names) < 4096 else []
    if not names or "" in names or twice or len(names) > MAX_ID + 1:
        wrong = f"{', '.join(twice)} twice" if twice else f"{len(names)} names ({classes!r})"
        raise SourceError(f"classes: needed 1 to {MAX_ID + 1} different names, found {wrong}")
    return tuple(names)


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
        raise SourceError(f"classes: no such file: {text}")
    return [name.strip() for name in text.split(",")]


def labels_of_values(
    seen: Mapping[int, str], *, ignore: int | None, pixels: Mapping[int, int] | None = None
) -> Labels:
    """Decide the classes from the values that all masks hold.

    Parameters
    ----------
    seen
        Value → a mask that holds it.
    ignore
        The id to leave out, if the user named one.
    pixels
        Value → how many pixels of all masks hold it, if that is known.

    Raises
    ------
    SourceError
        255 appears among other values: it may be a class or mean "unlabelled". Or the masks are
        JPEG files or have soft edges, and hold so many values that these are no classes.

    Examples
    --------
    >>> labels_of_values({0: "a.png", 255: "a.png"}, ignore=None)
    Labels(classes=('background', 'foreground'), ignore=None, binary=True)
    >>> labels_of_values({0: "a.png", 2: "b.png"}, ignore=None).classes
    ('0', '1', '2')
    """
    values = set(seen) - {ignore}
    smeared = sorted(value for value in values if is_jpeg(seen[value]))
    if len(smeared) > _JPEG_VALUES or (smeared and 255 in values and not values <= {0, 255}):
        raise SourceError(
            f"{seen[smeared[0]]}: needed masks of class ids, found JPEG masks of "
            f"{len(values)} values; {JPEG_HINT}; or, {_of_two_classes(255)}"
        )
    top = max(seen, default=0)
    if has_soft_edges(pixels or {}):
        raise SourceError(
            f"{seen[top]}: needed masks of class ids, found 0, {top} and {len(seen) - 2} values "
            f"between, as soft edges have; {_of_two_classes(top)}, or name all classes with "
            "--classes"
        )
    if seen.keys() == {0, _TOPS[1]} and ignore is None:
        raise SourceError(
            f"{seen[top]}: found the mask values 0 and {top}; use --mask-map {top}=1 if these are "
            f"two classes, or --ignore {top} if it marks unlabelled pixels"
        )
    if ignore is None and 255 in values and top == 255:  # beyond, it is an id like others
        if values <= {0, 255}:
            return Labels(("background", "foreground"), None, binary=True)
        raise SourceError(
            f"{seen[255]}: found the mask value 255 among {len(values) - 1} others; use "
            f"--ignore 255 if it marks unlabelled pixels; {_of_two_classes(255)}; else name the "
            "classes with --classes"
        )
    count = max(values, default=0) + 1
    return Labels(tuple(str(number) for number in range(count)), ignore)


def has_soft_edges(pixels: Mapping[int, int]) -> bool:
    """Tell whether masks are of two classes, 0 and 255, whose borders were smoothed.

    Most pixels are one of both then, and the others lie all over between them.

    Examples
    --------
    >>> has_soft_edges({0: 900, 255: 500, **dict.fromkeys(range(5, 250, 5), 3)})
    True
    >>> has_soft_edges({255: 900, **dict.fromkeys(range(20), 3)})
    False
    """
    top = max(pixels, default=0)
    between = [value for value in pixels if value not in (0, top)]
    if top not in _TOPS or 0 not in pixels or len(between) <= _EDGE_VALUES:
        return False
    spread = min(between) < top / 4 and max(between) > top * 3 / 4
    return spread and pixels[0] + pixels[top] > sum(pixels[value] for value in between)


def _of_two_classes(top: int) -> str:
    half = (top + 1) // 2
    return f"if these are two classes with soft edges, use --mask-map '{half}..{top}=1,*=0'"


def about_instances(labels: Labels) -> str:
    """Advise what to do with so many classes, if they are so many; else say nothing."""
    if len(labels.classes) <= _INSTANCES:
        return ""
    return "; if they number objects, --mask-map '0=0,*=1' makes all of these one class"


def is_jpeg(name: str) -> bool:
    """Tell whether a file is a JPEG, by its name."""
    return name.lower().endswith(_JPEG)


def value_counts(mask: Mask) -> NDArray[np.int64]:
    """Count the pixels of every value of a mask, from 0 to the highest that is possible or found.

    Examples
    --------
    >>> value_counts(np.array([[0, 2, 2]], np.uint8))[:3].tolist()
    [1, 0, 2]
    """
    # NumPy makes int64 of a mask first: of a CamVid mask, 0.33 against 0.13 ms. Pillow's calls take
    # 30 µs each, in which NumPy has counted a small one.
    if mask.dtype == np.uint8 and mask.size >= _COUNTED_BY_PILLOW:
        from PIL import Image as PillowImage

        plane = np.ascontiguousarray(mask).reshape(-1, mask.shape[-1])
        counts = PillowImage.fromarray(plane).histogram()
        return np.array(counts, np.int64)
    return np.bincount(mask.ravel()).astype(np.int64, copy=False)
