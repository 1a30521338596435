"""Read the features of serialized ``tf.train.Example`` messages.

The protobuf library parses them, as in TensorFlow, but without TensorFlow. The messages are
described here in a separate descriptor pool, because TensorFlow describes them in the default one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from zarrfeed.errors import SourceError
from zarrfeed.spelling import few
from zarrfeed_convert.sources.option_checks import NO_MASKS
from zarrfeed_convert.sources.records.embedded import EmbeddedImage, size_of

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray

    from zarrfeed_convert.decoding.limits import Limits
    from zarrfeed_convert.sources.records.embedded import Numbers
    from zarrfeed_convert.sources.records.record_file import Records

# The name of each feature -> the feature, a message.
Example: TypeAlias = Mapping[str, Any]

_PACKAGE = "zarrfeed.tensorflow"
_KINDS = descriptor_pb2.FieldDescriptorProto
# Message -> its fields: name, number, type, and * for many of them.
_MESSAGES = {
    "BytesList": [("value", 1, "bytes*")],
    "FloatList": [("value", 1, "float*")],
    "Int64List": [("value", 1, "int64*")],
    "Feature": [
        ("bytes_list", 1, "BytesList"),
        ("float_list", 2, "FloatList"),
        ("int64_list", 3, "Int64List"),
    ],
    # A map is a list of pairs; of equal keys, the last pair counts.
    "Entry": [("key", 1, "string"), ("value", 2, "Feature")],
    "Features": [("feature", 1, "Entry*")],
    "Example": [("features", 1, "Features")],
    "Dimension": [("size", 1, "int64")],
    "Shape": [("dim", 2, "Dimension*")],
    "Tensor": [("dtype", 1, "int32"), ("tensor_shape", 2, "Shape"), ("tensor_content", 4, "bytes")],
}
# TensorFlow's numbers of the dtypes of tensors that can be images.
_DTYPES = {
    1: "float32", 2: "float64", 3: "int32", 4: "uint8", 5: "int16", 6: "int8", 9: "int64",
    10: "bool", 17: "uint16", 19: "float16", 22: "uint32", 23: "uint64",
}  # fmt: skip
# A tensor begins with field 1, its dtype; no image file begins with this byte.
_TENSOR = b"\x08"
_NO_TEXT = re.compile(rb"[\0-\x08\x0e-\x1f]")


def parse_example(data: bytes, *, name: str) -> Example:
    """Parse a record. :func:`value_of` returns the value of a feature.

    Raises
    ------
    SourceError
        The record is not a ``tf.train.Example``.
    """
    message = _EXAMPLE()
    try:
        message.ParseFromString(data)
    except DecodeError as error:
        raise SourceError(
            f"{name}: needed a record that is a tf.train.Example, found another message: {error}"
        ) from error
    return {entry.key: entry.value for entry in message.features.feature}


def value_of(feature: Any, *, name: str) -> bytes | NDArray[Any]:
    """Return the value of a feature: bytes, or a flat array of numbers.

    Raises
    ------
    SourceError
        The feature holds no byte string, or several.
    """
    if feature.HasField("float_list"):
        return np.array(feature.float_list.value, np.float32)
    if feature.HasField("int64_list"):
        return np.array(feature.int64_list.value, np.int64)
    values = feature.bytes_list.value
    if len(values) != 1:
        found = f"a list of {len(values)}" if values else "none"
        raise SourceError(
            f"{name}: needed one value per record, found {found}; choose another feature"
        )
    value: bytes = values[0]
    return value


def tensor_of(data: bytes, *, name: str) -> NDArray[Any] | None:
    """Read a tensor of ``tf.io.serialize_tensor``; None if the bytes are something else.

    Raises
    ------
    SourceError
        The tensor is damaged, or its dtype is not numeric.
    """
    if not data.startswith(_TENSOR):
        return None
    message = _TENSOR_PROTO()
    try:
        message.ParseFromString(data)
        shape = [dimension.size for dimension in message.tensor_shape.dim]
        array = np.frombuffer(message.tensor_content, np.dtype(_DTYPES[message.dtype]))
        return array.reshape(shape)
    except (DecodeError, KeyError, ValueError) as error:
        raise SourceError(
            f"{name}: needed an image file or a tensor of numbers, found bytes that are neither; "
            "if they are raw numbers, give their type with -o dtype=uint8, for masks -o "
            "mask_dtype=uint8, for targets -o target_dtype=float32"
        ) from error


def has_masks(
    image: Feature, example: Example, name: str, *, mask: str, but_not: Collection[str]
) -> bool:
    """Return whether a record has a mask, where the user has not named its feature.

    Parameters
    ----------
    image
        The feature of the image.
    example, name
        The record, and its name in errors.
    mask
        The usual name of the feature of the mask.
    but_not
        Features that are known to hold something else.

    Raises
    ------
    SourceError
        Another feature could be the mask.
    """
    if mask in example:
        return True
    try:
        found = image.stored(example, 0).measure()
        pixels = found.height * found.width
    except SourceError:  # raised again when the image is read
        pixels = 1
    known = {image.feature, *but_not, *map(str, image.shape)}
    others = [
        feature
        for feature in sorted(example)
        if feature not in known and _may_be_mask(example[feature], pixels)
    ]
    if others:
        raise SourceError(
            f"{name}: needed the feature {mask!r}, found {few(others, shown=20)}; if one of them "
            "is the mask, name it with -o mask=FEATURE, otherwise pack images alone with "
            f"--masks {NO_MASKS}"
        )
    return False


def _may_be_mask(feature: Any, pixels: int) -> bool:
    """Return whether a feature holds bytes other than text, or a number for each pixel."""
    numbers = len(feature.float_list.value) + len(feature.int64_list.value)
    values = feature.bytes_list.value
    return numbers >= pixels or any(len(v) >= pixels or _NO_TEXT.search(v) for v in values)


def _messages() -> tuple[Any, Any]:
    """Describe the messages; return the classes of Example and of Tensor."""
    file = descriptor_pb2.FileDescriptorProto(
        name="zarrfeed/example.proto", package=_PACKAGE, syntax="proto3"
    )
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, number, kind in fields:
            one = kind.removesuffix("*")
            added = message.field.add(name=field, number=number)
            added.label = _KINDS.LABEL_REPEATED if kind != one else _KINDS.LABEL_OPTIONAL
            if one in _MESSAGES:
                added.type, added.type_name = _KINDS.TYPE_MESSAGE, f".{_PACKAGE}.{one}"
            else:
                added.type = _KINDS.Type.Value(f"TYPE_{one.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    found = (pool.FindMessageTypeByName(f"{_PACKAGE}.{name}") for name in ("Example", "Tensor"))
    example, tensor = map(message_factory.GetMessageClass, found)
    return example, tensor


_EXAMPLE, _TENSOR_PROTO = _messages()


# The names of images and masks in TF-Slim and DeepLab.
_SLIM = ("image/encoded", "image/segmentation/class/encoded")


@dataclass(frozen=True, slots=True)
class Feature:
    """A feature of all records, and how its values are read.

    Attributes
    ----------
    option
        The option that names it, such as ``-o image=``.
    records, feature
        The records, and the name of the feature.
    numbers
        How values are read that are not image files.
    shape
        The shape of raw numbers, or the features that hold it.
    limits
        Limits on what values may claim.
    """

    option: str
    records: Records
    feature: str
    numbers: Numbers
    shape: tuple[int, ...] | tuple[str, ...]
    limits: Limits

    def name(self, row: int) -> str:
        """Name a feature of a record for a person."""
        return self.records.name(row, self.feature)

    def example(self, row: int) -> Example:
        """Read and parse a record."""
        name = self.name(row)
        return parse_example(self.records.read(row, name=name), name=name)

    def require(self, example: Example, name: str) -> None:
        """Raise if a record lacks the feature; the message lists the features it has."""
        if self.feature in example:
            return
        names = sorted(example)
        advice = f"name it with {self.option}FEATURE"
        if self.numbers.role != "target" and all(feature in example for feature in _SLIM):
            advice = f"add -o image={_SLIM[0]} -o mask={_SLIM[1]}"
        raise SourceError(
            f"{name}: needed the feature {self.feature!r}, found "
            f"{few(names, shown=20) or 'none'}; {advice}"
        )

    def stored(self, example: Example, row: int) -> EmbeddedImage:
        """Return the value in a record before decoding.

        Raises
        ------
        SourceError
            The record lacks the feature.
        """
        name = self.name(row)
        self.require(example, name)
        value = value_of(example[self.feature], name=name)
        if isinstance(value, bytes) and not self.numbers.dtype:
            tensor = tensor_of(value, name=name)
            if tensor is None:  # an image file knows its shape
                return EmbeddedImage(value, name, self.limits, self.numbers)
            value = tensor
        shape = self._shape_in(example, name)
        return EmbeddedImage(value, name, self.limits, self.numbers, shape)

    def text(self, row: int) -> str:
        """Return the value in a record as a name."""
        name = self.name(row)
        example = self.example(row)
        self.require(example, name)
        value = value_of(example[self.feature], name=name)
        try:
            return value.decode() if isinstance(value, bytes) else str(value.item())
        except ValueError as error:
            raise SourceError(f"{name}: needed a name or a number, found {error}") from error

    def _shape_in(self, example: Example, name: str) -> tuple[int, ...] | None:
        numbers: list[int] = []
        for part in self.shape:
            if isinstance(part, int):
                numbers.append(part)
                continue
            if part not in example:
                return None
            value = value_of(example[part], name=name)
            if isinstance(value, bytes):
                raise SourceError(f"{name}: needed a shape of integers in {part}, found bytes")
            numbers += value.astype(int).tolist()
        return size_of(numbers, self.shape, name)
