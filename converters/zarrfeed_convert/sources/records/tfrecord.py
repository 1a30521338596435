"""TFRecord files as a source: a sample per record."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from zarrfeed.errors import SourceError
from zarrfeed_convert.decoding.limits import Limits
from zarrfeed_convert.extra_fields import parse_fields
from zarrfeed_convert.sources.item_index import require_one_mask_each
from zarrfeed_convert.sources.option_checks import NO_MASKS
from zarrfeed_convert.sources.read_errors import place_and_reason, source_errors
from zarrfeed_convert.sources.records.embedded import EmbeddedFields, numbers_by_role, parse_shape
from zarrfeed_convert.sources.records.feature_values import Feature, has_masks
from zarrfeed_convert.sources.records.record_file import Records
from zarrfeed_convert.sources.value_options import ValueOptions

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from zarrfeed_convert.decoding.pixels import Color
    from zarrfeed_convert.mask_map import MaskMap
    from zarrfeed_convert.source import JSON
    from zarrfeed_convert.sources.records.embedded import EmbeddedImage
    from zarrfeed_convert.sources.records.features import Example

_MASK = "mask"
_TRIED = 16  # records to try until one is not damaged


@source_errors
class TFRecords(EmbeddedFields):
    """TFRecord files of ``tf.train.Example``, a sample per record. Does not need TensorFlow.

    Images and masks are encoded (PNG, JPEG, …), tensors of ``tf.io.serialize_tensor``, or raw
    numbers: bytes with a `dtype`, or lists of integers or floats. Raw numbers need a shape. The
    checksum of every record is verified. Files that TensorFlow compressed must be decompressed
    first.

    Parameters
    ----------
    images
        A file, a folder, or a glob like ``'data/train-*'``.
    masks
        Files with a record of masks for each record of `images`, in the same order. Empty: the
        masks are in the records of `images`. ``none``: pack images alone.
    image, mask
        The features of the images and of the masks; in TF-Slim and DeepLab ``image/encoded`` and
        ``image/segmentation/class/encoded``. `mask` empty: ``mask``. If the first record has
        neither that feature nor another one that could be a mask, images are packed alone.
    key
        The feature that names the samples, like ``image/filename``, with a different value in
        every record; all records are read when the source is opened. Empty: samples are named by
        file and record number.
    shape
        The shape of raw numbers: ``HxW`` or ``HxWxC``, or the feature that holds it. Empty: the
        features `height` and `width`. Channels that are not given follow from the size.
    height, width
        The features of the height and of the width, like ``image/height`` and ``image/width``.
    dtype, mask_dtype, target_dtype
        The dtype of bytes that are raw numbers, like ``uint8`` or ``<u2``, by the role of the
        field; `dtype` also that of lists of integers in images. Empty: bytes are encoded, and
        lists of integers are uint8. Integers of 64 bits are packed as 32 bits if they fit.
    fields
        Further fields: name → ``ROLE:FEATURE`` of the records of `images`, like
        ``{"depth": "target:depth"}``. The role ``image`` is read as the images are, ``mask`` as
        the masks are; ``target`` keeps its numbers.
    color
        ``auto`` keeps the channels of the images; ``grey``, ``rgb`` and ``rgba`` convert them.
    mask_map
        The meaning of mask values: a :class:`MaskMap`, or text as in :func:`parse_mask_map`.
    limits
        Limits on what the files may claim; see :class:`zarrfeed_convert.Limits`.

    Attributes
    ----------
    left_out
        Damaged ends of files and records without a `key`, each with the reason.

    Raises
    ------
    SourceError
        There is no record, or the first one lacks a feature; the message lists the features it
        has.

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
        """Names of the records: file and record number, or the values of the feature `key`."""
        return self._keys

    def describe(self) -> JSON:
        """Describe the files as JSON, so that they can be opened again."""
        records = self._features[0].records
        facts = {"files": len(records.paths), "records": len(records)}
        return {"kind": "tfrecord", **self.arguments, **self._options.describe(), "facts": facts}

    def names(self, sample: int) -> tuple[str, ...]:
        """Name the values of a sample by file, record number and feature."""
        return tuple(feature.name(self._rows[sample]) for feature in self._features)

    def _values(self, sample: int, fields: Sequence[int]) -> Iterator[EmbeddedImage]:
        row = self._rows[sample]
        parsed: dict[int, Example] = {}  # one, or two where masks have their own files
        for feature in map(self._features.__getitem__, fields):
            example = parsed.get(id(feature.records))
            if example is None:
                example = parsed[id(feature.records)] = feature.example(row)
            if self._first_has_none and _MASK in example:
                raise SourceError(
                    f"{feature.name(row)}: needed no feature {_MASK!r}, as in the first record, "
                    "found one; give records that all have masks, or pack images alone with "
                    f"--masks {NO_MASKS}"
                )
            yield feature.stored(example, row)

    def _read_keys(self, feature: str) -> tuple[list[str], list[int]]:
        """Read the names of the records; leave out records without a name."""
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
                    f"{field.name(rows[key])} has, too; choose another -o key, or leave it out"
                )
            rows[key] = row
        if not rows:
            raise SourceError(": ".join(self.left_out[0]))
        return list(rows), list(rows.values())


def _first_of(feature: Feature) -> tuple[Example, str] | None:
    """Read the first record that is not damaged; return it and its name, or None."""
    for row in range(min(len(feature.records), _TRIED)):
        try:
            return feature.example(row), feature.name(row)
        except SourceError:
            continue  # raised again when the sample is read
    return None
