"""Which images and masks do the records of TFRecord files hold?"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from zarrfeed.errors import SourceError
from zarrfeed_convert.decoding.limits import Limits
from zarrfeed_convert.source import Source
from zarrfeed_convert.sources.item_index import require_one_mask_each
from zarrfeed_convert.sources.read_errors import place_and_reason, source_errors
from zarrfeed_convert.sources.records.embedded import Numbers, parse_shape
from zarrfeed_convert.sources.records.features import Feature
from zarrfeed_convert.sources.records.record_file import Records
from zarrfeed_convert.sources.value_options import ValueOptions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zarrfeed_convert.decoding.pixels import Color
    from zarrfeed_convert.mask_map import MaskMap
    from zarrfeed_convert.source import JSON, Header, Image, Mask
    from zarrfeed_convert.sources.records.features import Example


@source_errors
class TFRecords(Source):
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
        in the same records.
    image, mask
        The features of both. TF-Slim and DeepLab call them ``image/encoded`` and
        ``image/segmentation/class/encoded``.
    key
        The feature that names samples, like ``image/filename``, different in every record; all
        records are read first to know. Empty: samples are named by file and number.
    shape
        Of bare numbers: ``HxW`` or ``HxWxC``, or the feature that holds these numbers. Empty: the
        features `height` and `width` do. Channels that are not given are as many as fit.
    height, width
        The features of both, like ``image/height`` and ``image/width``.
    dtype, mask_dtype
        Of bytes that are bare numbers, like ``uint8`` or ``<u2``; images' lists of integers are
        taken for `dtype`, too. Empty: bytes are encoded, and lists of integers are uint8. Signed
        and long integers become float32 if it holds them exactly, and float64 is rounded to it.
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
        mask: str = "mask",
        key: str = "",
        shape: str = "",
        height: str = "height",
        width: str = "width",
        dtype: str = "",
        mask_dtype: str = "",
        color: Color = "auto",
        mask_map: str | MaskMap = "",
        limits: Limits | None = None,
    ) -> None:
        self._options = ValueOptions.of(color, mask_map)
        limits = limits or Limits()
        given = parse_shape(shape) or ((shape,) if shape else (height, width))
        image_numbers, mask_numbers = Numbers(dtype), Numbers(mask_dtype, option="mask_dtype")
        image_records = Records.find(os.fspath(images), what="images")
        mask_records = image_records
        if masks:
            mask_records = Records.find(os.fspath(masks), what="masks", beside=image_records.stems)
            require_one_mask_each(image_records, mask_records, what="record")
        self._image = Feature("image", image_records, image, image_numbers, given, limits)
        self._mask = Feature("mask", mask_records, mask, mask_numbers, given, limits)
        self._one = mask_records is image_records
        self.left_out = image_records.broken
        self._look_at_first()
        if key:
            self._keys, self._rows = self._read_keys(key)
        else:
            self._rows = list(range(len(image_records)))
            self._keys = [image_records.key(row) for row in self._rows]

    @property
    def keys(self) -> Sequence[str]:
        """The records by file and number, or by the feature that names them."""
        return self._keys

    def describe(self) -> JSON:
        """Describe where the records come from, as JSON."""
        records = self._image.records
        facts = {"files": len(records.paths), "records": len(records)}
        return {"kind": "tfrecord", **self.arguments, **self._options.describe(), "facts": facts}

    def names(self, sample: int) -> tuple[str, str]:
        """Name a record's image and mask by file, number and feature."""
        row = self._rows[sample]
        return self._image.name(row), self._mask.name(row)

    def probe(self, sample: int) -> Header:
        """Read a record, and measure what it holds."""
        row = self._rows[sample]
        image_example, mask_example = self._examples(row)
        image = self._image.stored(image_example, row).measure()
        mask = self._mask.stored(mask_example, row).measure_mask()
        return self._options.header(image, mask, name=self._image.name(row))

    def read(self, sample: int) -> tuple[Image, Mask]:
        """Decode a record's image and mask."""
        row = self._rows[sample]
        image_example, mask_example = self._examples(row)
        pixels = self._image.stored(image_example, row).pixels()
        image = self._options.image(pixels, name=self._image.name(row))
        return image, self._mask.stored(mask_example, row).ids(self._options)

    def read_mask(self, sample: int) -> Mask:
        """Decode a record's mask."""
        row = self._rows[sample]
        return self._mask.stored(self._mask.example(row), row).ids(self._options)

    def shown_colors(self, sample: int) -> dict[int, int]:
        """Return what the palette of a record's mask shows where it is used."""
        row = self._rows[sample]
        return self._mask.stored(self._mask.example(row), row).shown_colors(self._options)

    def _examples(self, row: int) -> tuple[Example, Example]:
        example = self._image.example(row)
        return example, example if self._one else self._mask.example(row)

    def _look_at_first(self) -> None:
        """Refuse features that the first record lacks: a wrong name is no matter of one sample."""
        try:
            image_example, mask_example = self._examples(0)
        except SourceError:
            return  # it is damaged; it fails when its turn comes
        self._image.require(image_example, self._image.name(0))
        self._mask.require(mask_example, self._mask.name(0))

    def _read_keys(self, feature: str) -> tuple[list[str], list[int]]:
        """Read the name of every record; leave out those that have none."""
        rows: dict[str, int] = {}
        self.left_out = left_out = list(self.left_out)
        field = replace(self._image, option="key", feature=feature)
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
