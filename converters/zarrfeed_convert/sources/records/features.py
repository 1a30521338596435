"""Read the features of serialized ``tf.train.Example`` messages.

The protobuf library parses them, as in TensorFlow, but without TensorFlow. The messages are
described here in a separate descriptor pool, because TensorFlow describes them in the default one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from zarrfeed.errors import SourceError

if TYPE_CHECKING:
    from numpy.typing import NDArray

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
# What to do about bytes that are neither an image file nor a tensor.
RAW_NUMBERS = (
    "if the bytes are raw numbers, give their type with -o dtype=uint8, for masks -o "
    "mask_dtype=uint8, for targets -o target_dtype=float32"
)


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
            f"{RAW_NUMBERS}"
        ) from error


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
