"""How do samples that a program has in hand, or makes one by one, become a source?

Packing processes read samples in any order, and twice; an iterable gives each of them once, here.
So its samples are kept in a spool in between, which is gone when the conversion is; of one that was
killed, the next one removes it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, cast

import numpy as np
import PIL.Image

from zarrfeed.errors import SourceError
from zarrfeed.store.schema import IMAGE, MASK
from zarrfeed_convert.extra_fields import require_field_name
from zarrfeed_convert.mask_map import MaskMap
from zarrfeed_convert.source import PAIR, Field, Source
from zarrfeed_convert.sources.iterables.spool import SpoolWriter, name_of, spool_file
from zarrfeed_convert.sources.read_errors import anchored
from zarrfeed_convert.sources.value_options import ValueOptions
from zarrfeed_convert.sources.values import packable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from zarrfeed_convert.source import Image, Mask

_NEEDED = "(image, mask), (key, image, mask) or {'image': …, 'mask': …}"
_PARTS = ("key", IMAGE, MASK)
_PLAIN = ValueOptions("auto", MaskMap())
_CHANNELS = 4  # an axis that may be either, and is no longer, counts channels
_KEY_DIGITS = 8  # as many for ten samples as for millions: keys stay when samples are added


class MapStyle(Protocol):
    """A dataset with a length, whose samples are asked for by number, like PyTorch's."""

    def __len__(self) -> int:
        """Count the samples."""
        ...

    def __getitem__(self, index: int, /) -> Any:
        """Return a sample."""
        ...


Samples: TypeAlias = "Source | Iterable[Any] | MapStyle"


@contextmanager
def source_of_samples(
    samples: Samples,
    folder: str | os.PathLike[str],
    *,
    progress: Callable[[str, int, int], None] | None = None,
) -> Iterator[Source]:
    """Make a source of samples, for as long as the context lasts.

    Parameters
    ----------
    samples
        A :class:`~zarrfeed_convert.Source`, which is given back as it is. Or a sequence, an
        iterable or a map-style dataset of samples, each of them ``(image, mask)``,
        ``(key, image, mask)`` or a mapping with ``image`` and, if all samples have them, ``mask``,
        ``key`` and other maps of the image's pixels by name, such as ``depth``. Images are (H, W)
        or (H, W, C) numbers, or Pillow's; masks (H, W) class ids, or (H, W, K) bool where a pixel
        may have several classes, or none; other maps (H, W) or (H, W, C) numbers, which are never
        interpolated. Integers of 64 bits become 32, if these hold them; other numbers keep their
        dtype. A sample without a key is keyed by its number, ``00000000`` and so on.
    folder
        Where the spool is: a file as large as all decoded samples. Where there is no such folder,
        it is in the nearest one above it.
    progress
        Called after every sample with what is being done, how many are done, and how many there
        are (of an iterable that does not know: how many are done).

    Raises
    ------
    SourceError
        A sample is none, or has no key of its own; the message names it by its number and key.
        Or there is no room for them. What an iterable raises itself goes through.

    Examples
    --------
    >>> cells = ((np.zeros((4, 4, 3), np.uint8), np.eye(4) > 0) for _ in range(2))
    >>> with source_of_samples(cells, ".") as source:
    ...     source.keys
    ['00000000', '00000001']
    """
    if isinstance(samples, Source):
        yield anchored(samples)
        return
    if all(hasattr(samples, name) for name in ("keys", "probe", "read")):
        raise SourceError(
            f"samples: needed a subclass of zarrfeed_convert.Source, or samples; found "
            f"{type(samples).__name__}, which has keys, probe and read but is none; write "
            f"class {type(samples).__name__}(zarrfeed_convert.Source)"
        )
    parent = Path(folder).absolute()
    while not parent.is_dir():
        parent = parent.parent
    with spool_file(parent) as (file, path):
        writer = SpoolWriter(file, path)
        yield writer.finish(_fill(writer, samples, parent, progress))


def _fill(
    writer: SpoolWriter,
    samples: Samples,
    folder: Path,
    progress: Callable[[str, int, int], None] | None,
) -> tuple[Field, ...]:
    """Write all samples; give the fields that they have."""
    total = _length(samples)
    fields: tuple[str, ...] = ()
    for number, given in enumerate(_each(samples)):
        name = f"samples[{number}]"
        key, parts = _parts(given, name)
        if key is None:
            key = f"{number:0{_KEY_DIGITS}}"
        else:
            name = f"{name} ({key})"
        fields = fields or tuple(parts)
        if parts.keys() != set(fields):
            raise SourceError(
                f"{name}: needed {', '.join(fields)}, as samples[0] has, found {', '.join(parts)}"
            )
        if key in writer:
            raise SourceError(f"{name}: needed a key of its own, found {key!r} a second time")
        sample = _sample({field: parts[field] for field in fields}, name)
        try:
            writer.append(key, sample, label=name)
        except OSError as error:
            nbytes = sum(values.nbytes for values in sample.values())
            raise SourceError(
                f"{name}: cannot be kept in {folder} until it is packed: {error.strerror}; "
                f"decoded samples need {nbytes} bytes each there"
            ) from error
        if progress is not None:
            progress("taking samples", number + 1, total or number + 1)
    if not len(writer):
        raise SourceError("samples: needed at least one, found none")
    known = {field.name: field for field in PAIR}
    return tuple(known.get(name, Field(name, "target")) for name in fields)


def _length(samples: Samples) -> int:
    """Count samples; 0 where they cannot tell."""
    try:
        return len(cast("MapStyle", samples))
    except (TypeError, NotImplementedError):  # what has no length may say so only when asked
        return 0


def _each(samples: Samples) -> Iterator[Any]:
    """Go through samples once, in their order."""
    if isinstance(samples, str | bytes | os.PathLike | Mapping):
        raise SourceError(
            f"samples: needed a source or samples {_NEEDED}, found {type(samples).__name__} "
            f"{str(samples)[:60]!r}; for folders of files use PairedFolders(images, masks)"
        )
    if hasattr(samples, "__iter__"):
        return iter(cast("Iterable[Any]", samples))
    # Python would ask a dataset without __iter__ for numbers beyond its length, until it raises.
    if hasattr(samples, "__getitem__") and hasattr(samples, "__len__"):
        by_number = cast("MapStyle", samples)
        return (by_number[number] for number in range(len(by_number)))
    raise SourceError(
        f"samples: needed a source or samples {_NEEDED}, found {type(samples).__name__}"
    )


def _parts(sample: Any, name: str) -> tuple[str | None, dict[str, Any]]:
    """Take a sample apart: its key, and its arrays by field, image and mask first."""
    key, parts = None, dict[str, Any]()
    if isinstance(sample, Mapping):
        if IMAGE not in sample:
            has = ", ".join(map(str, sample)) or "nothing"
            raise SourceError(f"{name}: needed an entry {IMAGE!r}, found {has}")
        key = sample.get("key")
        parts |= {part: sample[part] for part in (IMAGE, MASK) if part in sample}
        for part, value in sample.items():
            if part not in _PARTS and _is_array(value):
                parts[require_field_name(part, name)] = value
    elif isinstance(sample, tuple | list) and len(sample) == 2:
        parts |= zip((IMAGE, MASK), sample, strict=True)
    elif isinstance(sample, tuple | list) and len(sample) == 3:
        key, *pair = sample
        parts |= zip((IMAGE, MASK), pair, strict=True)
        if key is None:
            raise SourceError(f"{name}: needed a text as key, found None")
    else:
        what = type(sample).__name__
        found = f"{what} of {len(sample)}" if isinstance(sample, tuple | list) else what
        raise SourceError(f"{name}: needed {_NEEDED}, found {found}")
    if key is not None and not (isinstance(key, str) and key):
        raise SourceError(f"{name}: needed a text as key, found {type(key).__name__} {key!r:.60}")
    return key, parts


def _sample(parts: Mapping[str, Any], name: str) -> dict[str, NDArray[Any]]:
    """Make the arrays of a sample that can be packed."""
    mask = _mask(parts[MASK], name_of(name, MASK)) if MASK in parts else None
    image = _image(parts[IMAGE], name_of(name, IMAGE), None if mask is None else mask.shape[:2])
    if mask is not None and mask.shape == image.shape and mask.shape[2] > _CHANNELS:
        raise SourceError(
            f"{name}: needed an image (H, W, C) and class ids (H, W), found {mask.shape} of both: "
            "volumes without channels? Give image[..., np.newaxis], and the mask as uint8"
        )
    sample = {IMAGE: image} | ({} if mask is None else {MASK: mask})
    for field, value in parts.items():
        if field not in sample:
            sample[field] = _target(value, name_of(name, field), image.shape[:2])
    return sample


def _target(value: Any, name: str, size: tuple[int, ...]) -> NDArray[Any]:
    values = _array(value, name)
    if values.shape[:2] != size:
        raise SourceError(
            f"{name}: needed {size[0]}x{size[1]} pixels as the image has, found the shape "
            f"{values.shape}; leave out of the mapping what is no map of the image"
        )
    return packable(values, name)


def _is_array(value: Any) -> bool:
    """Return whether a value is more than a number or a text that says something of a sample."""
    if isinstance(value, list | tuple):
        return not all(isinstance(entry, str) for entry in value)
    return isinstance(value, PIL.Image.Image) or tuple(getattr(value, "shape", ())) != ()


def _image(value: Any, name: str, mask: tuple[int, ...] | None) -> Image:
    if isinstance(value, PIL.Image.Image):
        value = _shown(value)
    values = _array(value, name)
    if values.ndim in (2, 3) and values.size and mask in (None, values.shape[:2]):
        return _PLAIN.image(values, name=name)
    packable(values, name)
    if mask is None:
        raise SourceError(
            f"{name}: needed an image (H, W) or (H, W, C), found the shape {values.shape}"
        )
    if values.ndim == 3 and values.shape[1:] == mask:
        advice = "; put the channels last, like np.moveaxis(image, 0, -1)"
    else:
        advice = "" if values.ndim == 3 else "; an image is (H, W) or (H, W, C)"
    raise SourceError(
        f"{name}: needed {mask[0]}x{mask[1]} pixels as the mask has, found the shape "
        f"{values.shape}{advice}"
    )


def _shown(image: PIL.Image.Image) -> PIL.Image.Image:
    """Return an image in a mode that is an array of its pixels."""
    if image.mode in ("L", "RGB", "RGBA", "F", "I") or image.mode.startswith("I;16"):
        return image
    if image.mode == "1":
        return image.convert("L")
    alpha = image.mode in ("LA", "La", "PA", "RGBa") or "transparency" in image.info
    return image.convert("RGBA" if alpha else "RGB")


def _mask(value: Any, name: str) -> Mask:
    values = _array(value, name)
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[:, :, 0]
    if values.ndim == 3 and values.dtype == np.bool_ and values.size:
        return values.astype(np.uint8)
    if values.ndim != 2 or not values.size:
        advice = ""
        if values.ndim == 3:
            advice = (
                "; give channels of classes as ids, np.argmax(mask, axis=-1), or, where a pixel "
                "may have several, as bool, like mask > 0"
            )
        raise SourceError(
            f"{name}: needed class ids (H, W), found the shape {values.shape} {values.dtype}"
            f"{advice}"
        )
    try:
        return _PLAIN.mask(values, name=name)
    except SourceError as error:  # whose way out is an option of the command
        raise SourceError(
            f"{str(error).partition('; ')[0]}; give class ids, like np.where(mask < 0, 255, mask) "
            "with ignore=255, or mask > 0.5"
        ) from error


def _array(value: Any, name: str) -> NDArray[Any]:
    if isinstance(value, str | bytes | os.PathLike) or value is None:
        raise SourceError(
            f"{name}: needed an array, found {type(value).__name__} {value!r:.60}; decode it first"
        )
    try:
        return np.asarray(value)
    except Exception as error:  # whatever is an array of its own has errors of its own
        raise SourceError(
            f"{name}: needed what numpy.asarray takes, found {type(value).__name__}: {error}"
        ) from error
