"""Which images and masks do the records of TFRecord files hold?"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from zarrfeed.errors import SourceError
from zarrfeed_convert.decoding.limits import Limits
from zarrfeed_convert.extra_fields import parse_fields
from zarrfeed_convert.sources.item_index import require_one_mask_each
from zarrfeed_convert.sources.read_errors import place_and_reason, source_errors
from zarrfeed_convert.sources.records.bare_numbers import numbers_by_role, parse_shape
from zarrfeed_convert.sources.records.embedded import EmbeddedFields
from zarrfeed_convert.sources.records.features import Feature, has_masks
from zarrfeed_convert.sources.records.record_file import Records
from zarrfeed_convert.sources.value_options import NO_MASKS, ValueOptions

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from zarrfeed_convert.decoding.pixels import Color
    from zarrfeed_convert.mask_map import MaskMap
    from zarrfeed_convert.source import JSON
    from zarrfeed_convert.sources.records.embedded import EmbeddedImage
    from zarrfeed_convert.sources.records.features import Example

_MASK = "mask"
_TRIED = 16  # records, to find one that is not damaged


@source_errors
class TFRecords(EmbeddedFields):
    """TFRecord files of ``tf.train.Example``, a sample per record; TensorFlow is not needed.

    Images and masks are encoded (PNG, JPEG, …), or tensors of ``tf.io.serialize_tensor``, or bare
    numbers: raw bytes with a `dtype`, or lists of integers or floats. Bare numbers need a shape.
    Every record's checksum is verified. Files that TensorFlow compressed must be decompressed.

    Parameters
    ----------
    images
        A file, a folder, or a glob like ``'data/train-*'``.
    masks
        Files whose records hold the masks of those of `images`, one by one. Empty: the masks are
        in the same records. ``none``: only images are packed.
    image, mask
        The features of both. TF-Slim and DeepLab call them ``image/encoded`` and
        ``image/segmentation/class/encoded``. `mask` empty: ``mask``; where the first record has
        neither that nor another feature that may be a mask, only images are packed.
    key
        The feature that names samples, like ``image/filename``, different in every record; all
        records are read first to know. Empty: samples are named by file and number.
    shape
        Of bare numbers: ``HxW`` or ``HxWxC``, or the feature that holds these numbers. Empty: the
        features `height` and `width` do. Channels that are not given are as many as fit.
    height, width
        The features of both, like ``image/height`` and ``image/width``.
    dtype, mask_dtype, target_dtype
        Of bytes that are bare numbers, like ``uint8`` or ``<u2``, by the role of the field;
        images' lists of integers are taken for `dtype`, too. Empty: bytes are encoded, and lists of
        integers are uint8. Integers of 64 bits become 32, if these hold them.
    fields
        Name → ``ROLE:FEATURE`` of further fields of the records of `images`, like
        ``{"depth": "target:depth"}``. Role ``image``: read as images are; ``mask``: as masks are;
        ``target``: any numbers, which stay as they are.
    color
        ``auto`` keeps the channels that images have; ``grey``, ``rgb``, ``rgba`` convert.
    mask_map
        What mask values mean: a :class:`MaskMap`, or text as in :func:`parse_mask_map`.
    limits
        What files may claim, and name besides themselves; see :class:`zarrfeed_convert.Limits`.

    Attributes
    ----------
    left_out
        Places from which on a file is broken, and records without their `key`; and why.

    Raises
    ------
    SourceError
        There is no record, or the first one lacks a feature: the message lists those it has.

    Examples
    --------
    >>> deeplab = TFRecords(
    ...     "voc/train-*.tfrecord",
    ...     image="image/encoded",
    ...     mask="image/segmentation/class/encoded",
    ...     key="image/filename",
    ... )  # doctest: +SKIP
    """

    def __init__(
        self,
        images: str | os.PathLike[str],
        masks: str | os.PathLike[str] = "",
        *,
        image: str = "image",
        mask: str = "",
        key: str = "",
        shape: str = "",
        height: str = "height",
        width: str = "width",
        dtype: str = "",
        mask_dtype: str = "",
        target_dtype: str = "",
        fields: Mapping[str, str] | None = None,
        color: Color = "auto",
        mask_map: str | MaskMap = "",
        limits: Limits | None = None,
    ) -> None:
        self._options = ValueOptions.of(color, mask_map)
        extras = parse_fields(fields)
        wanted = self._masks_wanted(os.fspath(masks), extras, mask=mask, mask_dtype=mask_dtype)
        numbers = numbers_by_role(dtype, mask_dtype, target_dtype)
        sized = parse_shape(shape) or ((shape,) if shape else (height, width))
        limits = limits or Limits()
        records = Records.find(os.fspath(images), what="images")
        self.left_out = records.broken
        images_of = Feature("-o image=", records, image, numbers["image"], sized, limits)
        self._features = [images_of]
        first = _first_of(images_of)
        if first is not None:
            images_of.require(*first)
        self._first_has_none = False
        if wanted is None:
            others = {key, *(extra.place for extra in extras)}
            wanted = first is None or has_masks(images_of, *first, mask=_MASK, but_not=others)
            self._first_has_none = not wanted
        if wanted:
            masks_of = replace(
                images_of, option="-o mask=", feature=mask or _MASK, numbers=numbers["mask"]
            )
            if masks:
                found = Records.find(os.fspath(masks), what="masks", beside=records.stems)
                require_one_mask_each(records, found, what="record")
                masks_of = replace(masks_of, records=found)
            self._features.append(masks_of)
            first_mask = _first_of(masks_of) if masks else first
            if first_mask is not None:
                masks_of.require(*first_mask)
        self._set_fields(extras, mask=mask or _MASK if wanted else "")
        for field, place in extras:
            option = f"--field {field.name}={field.role}:"
            extra = replace(images_of, option=option, feature=place, numbers=numbers[field.role])
            self._features.append(extra)
            if first is not None:
                extra.require(*first)
        self._rows: Sequence[int] = range(len(records))
        if key:
            self._keys, self._rows = self._read_keys(key)
        else:
            self._keys = [records.key(row) for row in self._rows]

    @property
    def keys(self) -> Sequence[str]:
        """The records by file and number, or by the feature that names them."""
        return self._keys

    def describe(self) -> JSON:
        """Describe where the records come from, as JSON."""
        records = self._features[0].records
        facts = {"files": len(records.paths), "records": len(records)}
        return {"kind": "tfrecord", **self.arguments, **self._options.describe(), "facts": facts}

    def names(self, sample: int) -> tuple[str, ...]:
        """Name what a record holds by file, number and feature."""
        return tuple(feature.name(self._rows[sample]) for feature in self._features)

    def _values(self, sample: int, fields: Sequence[int]) -> Iterator[EmbeddedImage]:
        row = self._rows[sample]
        parsed: dict[int, Example] = {}  # of images and masks, if they are in files of their own
        for feature in map(self._features.__getitem__, fields):
            example = parsed.get(id(feature.records))
            if example is None:
                example = parsed[id(feature.records)] = feature.example(row)
            if self._first_has_none and _MASK in example:
                raise SourceError(
                    f"{feature.name(row)}: needed no feature {_MASK!r}, as the first record has "
                    f"none, found one; give records that all have masks, or pack images alone by "
                    f"--masks {NO_MASKS}"
                )
            yield feature.stored(example, row)

    def _read_keys(self, feature: str) -> tuple[list[str], list[int]]:
        """Read the name of every record; leave out those that have none."""
        rows: dict[str, int] = {}
        self.left_out = left_out = list(self.left_out)
        field = replace(self._features[0], option="-o key=", feature=feature)
        for row in range(len(field.records)):
            try:
                key = field.text(row)
            except SourceError as error:
                left_out.append(place_and_reason(error, [field.name(row)]))
                continue
            if key in rows:
                raise SourceError(
                    f"{field.name(row)}: needed a name of its own, found {key!r}, which "
                    f"{field.name(rows[key])} has, too; choose another -o key, or none"
                )
            rows[key] = row
        if not rows:
            raise SourceError(": ".join(self.left_out[0]))
        return list(rows), list(rows.values())


def _first_of(feature: Feature) -> tuple[Example, str] | None:
    """Read the first record that is whole, and name it; None where there is none soon."""
    for row in range(min(len(feature.records), _TRIED)):
        try:
            return feature.example(row), feature.name(row)
        except SourceError:
            continue  # it fails when its turn comes
    return None
