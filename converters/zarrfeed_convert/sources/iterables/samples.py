"""Which arrays do the samples of a Python iterable hold?"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias, cast

import numpy as np
import PIL.Image

from zarrfeed.errors import SourceError, look_up
from zarrfeed.store.schema import IMAGE, MASK
from zarrfeed_convert.geometry import size_text
from zarrfeed_convert.mask_map import MaskMap
from zarrfeed_convert.sources.iterables.affines import affine_in
from zarrfeed_convert.sources.iterables.entries import FORMS, entries_of
from zarrfeed_convert.sources.value_options import ValueOptions
from zarrfeed_convert.sources.values import in_rows, packable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from zarrfeed_convert.header import Affine
    from zarrfeed_convert.source import Image, Mask, Source

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


class Given(NamedTuple):
    """A sample that a program has given.

    Attributes
    ----------
    key, label
        Its name in the store, and in messages.
    arrays
        Field → array, ready to be packed, the image first.
    affine
        Where its pixels are; see :class:`~zarrfeed_convert.Header`.
    """

    key: str
    label: str
    arrays: dict[str, NDArray[Any]]
    affine: Affine | None


def each_sample(samples: Samples, axes: int | None) -> Iterator[Given]:
    """Iterate over samples, once.

    Parameters
    ----------
    samples
        Anything with samples.
    axes
        Number of spatial axes of images whose shape does not tell; None to refuse them.

    Raises
    ------
    SourceError
        A sample is invalid, or has other fields than the first.
    """
    fields: tuple[str, ...] = ()
    for number, given in enumerate(_each(samples)):
        label = f"samples[{number}]"
        key, parts = entries_of(given, label)
        if key is None:
            key = f"{number:0{_KEY_DIGITS}}"
        else:
            label = f"{label} ({key})"
        fields = fields or tuple(parts)
        if parts.keys() != set(fields):
            raise SourceError(
                f"{label}: needed {', '.join(fields)}, as samples[0] has, found {', '.join(parts)}"
            )
        arrays = _sample({field: parts[field] for field in fields}, label, axes)
        yield Given(key, label, arrays, affine_in(given, arrays[IMAGE].ndim - 1, label))


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
            f"samples: needed a source or samples {FORMS}, found {type(samples).__name__} "
            f"{str(samples)[:60]!r}; for folders of files use PairedFolders(images, masks)"
        )
    if hasattr(samples, "__iter__"):
        return iter(cast("Iterable[Any]", samples))
    # Without __iter__, Python would index beyond the length until the dataset raises.
    if hasattr(samples, "__getitem__") and hasattr(samples, "__len__"):
        by_number = cast("MapStyle", samples)
        return (by_number[number] for number in range(len(by_number)))
    raise SourceError(
        f"samples: needed a source or samples {FORMS}, found {type(samples).__name__}"
    )


def _sample(parts: Mapping[str, Any], name: str, known: int | None) -> dict[str, NDArray[Any]]:
    """Convert a sample's arrays to those that are packed."""
    image = _pixels(parts[IMAGE], name_of(name, IMAGE))
    others = {
        field: _array(value, name_of(name, field))
        for field, value in parts.items()
        if field != IMAGE
    }
    axes = _spatial_axes(image, others, name, known)
    sample: dict[str, NDArray[Any]] = {}
    if MASK in others:
        sample[MASK] = _mask(others[MASK], name_of(name, MASK), axes)
    size = sample[MASK].shape[:axes] if sample else None
    sample = {IMAGE: _image(image, name_of(name, IMAGE), axes, size)} | sample
    for field, values in others.items():
        if field != MASK:
            sample[field] = _target(values, name_of(name, field), sample[IMAGE].shape[:axes])
    return sample


def _spatial_axes(
    image: NDArray[Any], others: Mapping[str, NDArray[Any]], name: str, known: int | None
) -> int:
    """Return 3 for volumes, (D, H, W, C) or (D, H, W), else 2.

    Three axes, of which the last is too long for colours, are those of a volume, or of an image of
    many bands. Other arrays of the sample tell which it is, or else `known`.
    """
    mask = others.get(MASK)
    if image.ndim == 4 or (mask is not None and mask.ndim == 4):
        return 3
    if image.ndim != 3 or (image.shape[2] <= _CHANNELS and known != 3):
        return 2
    if mask is None:
        shapes = [values.shape for values in others.values()]
        if image.shape[:2] in shapes:
            return 2
        if any(len(shape) == 4 and shape[:3] == image.shape for shape in shapes):
            return 3
        if known is None:
            raise SourceError(
                f"{name_of(name, IMAGE)}: needed axes that can be read in one way, found "
                f"{image.shape}: a volume (D, H, W), or an image (H, W, C) of {image.shape[2]} "
                "bands; give volumes as image[..., np.newaxis]; for bands, give the size of all "
                f"samples, like size={image.shape[:2]}"
                f"{look_up('axes')}"
            )
        return known
    if mask.shape == image.shape:
        if mask.dtype != np.bool_:
            return 3
        if known is None:
            raise SourceError(
                f"{name}: needed an image (H, W, C) and class ids (H, W), found {mask.shape} of "
                "both: volumes without channels? Give image[..., np.newaxis], and the mask as uint8"
            )
        return known
    has_channels = mask.shape[:2] in (image.shape[:2], image.shape[1:]) or mask.shape[2:] == (1,)
    return 2 if mask.ndim != 3 or has_channels else 3


def _target(values: NDArray[Any], name: str, size: tuple[int, ...]) -> NDArray[Any]:
    if values.shape[: len(size)] != size:
        raise SourceError(
            f"{name}: needed {size_text(size)} pixels as the image has, found the shape "
            f"{values.shape}; leave out of the mapping what is no map of the image"
        )
    return packable(values, name)


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
        f"{values.shape}{advice or '; image and mask must have one size'}"
        f"{look_up('mask-size')}"
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
            advice += "; a volume is (D, H, W, C), its mask (D, H, W) of the same size"
        raise SourceError(
            f"{name}: needed class ids ({needed}), found the shape {values.shape} {values.dtype}"
            f"{advice}{look_up('class-ids')}"
        )
    try:
        return _PLAIN.mask(in_rows(values, axes), name=name).reshape(values.shape)
    except SourceError as error:  # its advice is an option of the command line
        raise SourceError(
            f"{str(error).partition('; ')[0]}; give class ids, like np.where(mask < 0, 255, mask) "
            f"with ignore=255, or mask > 0.5{look_up('class-ids')}"
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
