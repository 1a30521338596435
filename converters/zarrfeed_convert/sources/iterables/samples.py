"""Which arrays do the samples of a Python iterable hold?"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, cast

import numpy as np
import PIL.Image

from zarrfeed.errors import SourceError
from zarrfeed.store.schema import IMAGE, MASK
from zarrfeed_convert.extra_fields import require_field_name
from zarrfeed_convert.geometry import size_text
from zarrfeed_convert.mask_map import MaskMap
from zarrfeed_convert.sources.value_options import ValueOptions
from zarrfeed_convert.sources.values import in_rows, packable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from zarrfeed_convert.source import Image, Mask, Source

_NEEDED = "(image, mask), (key, image, mask) or {'image': …, 'mask': …}"
_PARTS = ("key", IMAGE, MASK)
_PLAIN = ValueOptions("auto", MaskMap())
_CHANNELS = 4  # an axis that may be either, and is no longer, counts channels
_KEY_DIGITS = 8  # as many for ten samples as for millions: keys stay when samples are added


class MapStyle(Protocol):
    """A dataset with a length and samples by index, like PyTorch's map-style datasets."""

    def __len__(self) -> int:
        """Return the number of samples."""
        ...

    def __getitem__(self, index: int, /) -> Any:
        """Return a sample."""
        ...


Samples: TypeAlias = "Source | Iterable[Any] | MapStyle"


def each_sample(samples: Samples) -> Iterator[tuple[str, str, dict[str, NDArray[Any]]]]:
    """Iterate over samples, once.

    Yields
    ------
    key, label, sample
        The sample's name in the store and in messages, and its arrays by field, ready to be packed.

    Raises
    ------
    SourceError
        A sample is invalid, or has other fields than the first.
    """
    fields: tuple[str, ...] = ()
    for number, given in enumerate(_each(samples)):
        label = f"samples[{number}]"
        key, parts = _parts(given, label)
        if key is None:
            key = f"{number:0{_KEY_DIGITS}}"
        else:
            label = f"{label} ({key})"
        fields = fields or tuple(parts)
        if parts.keys() != set(fields):
            raise SourceError(
                f"{label}: needed {', '.join(fields)}, as samples[0] has, found {', '.join(parts)}"
            )
        yield key, label, _sample({field: parts[field] for field in fields}, label)


def count_samples(samples: Samples) -> int:
    """Return the number of samples; 0 if it is unknown."""
    try:
        return len(cast("MapStyle", samples))
    except (TypeError, NotImplementedError):  # datasets without a length may raise either
        return 0


def _each(samples: Samples) -> Iterator[Any]:
    """Iterate over samples in their order."""
    if isinstance(samples, str | bytes | os.PathLike | Mapping):
        raise SourceError(
            f"samples: needed a source or samples {_NEEDED}, found {type(samples).__name__} "
            f"{str(samples)[:60]!r}; for folders of files use PairedFolders(images, masks)"
        )
    if hasattr(samples, "__iter__"):
        return iter(cast("Iterable[Any]", samples))
    # Without __iter__, Python would index beyond the length until the dataset raises.
    if hasattr(samples, "__getitem__") and hasattr(samples, "__len__"):
        by_number = cast("MapStyle", samples)
        return (by_number[number] for number in range(len(by_number)))
    raise SourceError(
        f"samples: needed a source or samples {_NEEDED}, found {type(samples).__name__}"
    )


def _parts(sample: Any, name: str) -> tuple[str | None, dict[str, Any]]:
    """Split a sample into its key and its arrays by field, image and mask first."""
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
    """Convert a sample's arrays to those that are packed."""
    image = _pixels(parts[IMAGE], name_of(name, IMAGE))
    mask = _array(parts[MASK], name_of(name, MASK)) if MASK in parts else None
    axes = _spatial_axes(image, mask, name)
    sample: dict[str, NDArray[Any]] = {}
    if mask is not None:
        sample[MASK] = _mask(mask, name_of(name, MASK), axes)
    size = sample[MASK].shape[:axes] if sample else None
    sample = {IMAGE: _image(image, name_of(name, IMAGE), axes, size)} | sample
    for field, value in parts.items():
        if field not in sample:
            sample[field] = _target(value, name_of(name, field), sample[IMAGE].shape[:axes])
    return sample


def _spatial_axes(image: NDArray[Any], mask: NDArray[Any] | None, name: str) -> int:
    """Return 3 for volumes, (D, H, W, C) or (D, H, W) with ids of the same shape, else 2."""
    if image.ndim == 4 or (mask is not None and mask.ndim == 4):
        return 3
    if mask is None or image.ndim != 3 or image.shape != mask.shape or image.shape[2] <= _CHANNELS:
        return 2
    if mask.dtype == np.bool_:
        raise SourceError(
            f"{name}: needed an image (H, W, C) and class ids (H, W), found {mask.shape} of both: "
            "volumes without channels? Give image[..., np.newaxis], and the mask as uint8"
        )
    return 3


def _target(value: Any, name: str, size: tuple[int, ...]) -> NDArray[Any]:
    values = _array(value, name)
    if values.shape[: len(size)] != size:
        raise SourceError(
            f"{name}: needed {size_text(size)} pixels as the image has, found the shape "
            f"{values.shape}; leave out of the mapping what is no map of the image"
        )
    return packable(values, name)


def _is_array(value: Any) -> bool:
    """Tell arrays from the numbers and texts that describe a sample."""
    if isinstance(value, list | tuple):
        return not all(isinstance(entry, str) for entry in value)
    return isinstance(value, PIL.Image.Image) or tuple(getattr(value, "shape", ())) != ()


def _image(values: NDArray[Any], name: str, axes: int, mask: tuple[int, ...] | None) -> Image:
    size = values.shape[:axes]
    if values.ndim in (axes, axes + 1) and values.size and mask in (None, size):
        return _PLAIN.image(in_rows(values, axes), name=name).reshape(*size, -1)
    packable(values, name)
    if mask is None:
        raise SourceError(
            f"{name}: needed an image (H, W) or (H, W, C), or a volume (D, H, W, C), found the "
            f"shape {values.shape}"
        )
    if values.shape[1:] == mask:
        advice = "; put the channels last, like np.moveaxis(image, 0, -1)"
    else:
        known = values.ndim in (axes, axes + 1)
        advice = "" if known else "; an image is (H, W) or (H, W, C), a volume (D, H, W, C)"
    raise SourceError(
        f"{name}: needed {size_text(mask)} pixels as the mask has, found the shape "
        f"{values.shape}{advice}"
    )


def _pixels(value: Any, name: str) -> NDArray[Any]:
    return _array(_shown(value) if isinstance(value, PIL.Image.Image) else value, name)


def _shown(image: PIL.Image.Image) -> PIL.Image.Image:
    """Convert an image to a mode whose array holds the pixel values themselves."""
    if image.mode in ("L", "RGB", "RGBA", "F", "I") or image.mode.startswith("I;16"):
        return image
    if image.mode == "1":
        return image.convert("L")
    alpha = image.mode in ("LA", "La", "PA", "RGBa") or "transparency" in image.info
    return image.convert("RGBA" if alpha else "RGB")


def _mask(values: NDArray[Any], name: str, axes: int) -> Mask:
    if values.ndim == axes + 1 and values.shape[-1] == 1:
        values = values[..., 0]
    if values.ndim == axes + 1 and values.dtype == np.bool_ and values.size:
        return values.astype(np.uint8)
    if values.ndim != axes or not values.size:
        needed = ", ".join("DHW"[-axes:])
        advice = ""
        if values.ndim == axes + 1:
            advice = (
                "; give channels of classes as ids, np.argmax(mask, axis=-1), or, where a pixel "
                "may have several, as bool, like mask > 0"
            )
        if values.ndim == 3:
            advice += "; a volume is (D, H, W, C), its mask (D, H, W)"
        raise SourceError(
            f"{name}: needed class ids ({needed}), found the shape {values.shape} {values.dtype}"
            f"{advice}"
        )
    try:
        return _PLAIN.mask(in_rows(values, axes), name=name).reshape(values.shape)
    except SourceError as error:  # its advice is an option of the command line
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
    except Exception as error:  # array types of other libraries raise errors of their own
        raise SourceError(
            f"{name}: needed what numpy.asarray takes, found {type(value).__name__}: {error}"
        ) from error


def name_of(label: str, field: str) -> str:
    """Name a field of a sample in messages."""
    return f"{label} {field}"
