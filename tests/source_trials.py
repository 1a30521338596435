"""Mutated source files of all formats end in plausible samples, or in a SourceError with a name."""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import struct
import tarfile
import zipfile
import zlib
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from fuzzing import board_in
from source_seeds import Seed, framed, seeds
from zarrfeed.errors import SourceError
from zarrfeed_convert import Limits, open_source
from zarrfeed_convert.sources.values import packed_dtype
from zarrfeed_convert.supervision.board import take

if TYPE_CHECKING:
    import random
    from collections.abc import Callable
    from pathlib import Path

_LIMITS = Limits(sample_nbytes=64 << 20)
_NUMBERS = [0, 1, 2, 3, 7, 8, 127, 128, 255, 256, 32767, 32768, 65535, 65536, 2**31 - 1, 2**31,
            2**32 - 1, 2**32, 2**53, 2**63 - 1, 2**63, 2**64 - 1]  # fmt: skip
_VALUES: list[Any] = [
    None, True, "", "../../x", "/etc/passwd", "\0", "a" * 300, "\ud800", [], {}, 1.5, 1e308, [None],
    [[]], {"a": 1}, ["x", "y"],
]  # fmt: skip
_READ = 4  # samples of a dataset


class SourceTrials:
    """Mutate a file of a small dataset, open it, and read what it then holds."""

    def __init__(self, folder: Path) -> None:
        take(board_in(folder).place(0))
        self._seeds = seeds(folder / "seeds")
        kinds = sorted({seed.kind for seed in self._seeds})
        self._of = {kind: [seed for seed in self._seeds if seed.kind == kind] for kind in kinds}

    def __call__(self, rng: random.Random, folder: Path) -> int:
        kind = rng.choice(list(self._of))
        seed = rng.choice(self._of[kind])
        name = rng.choice(list(seed.files))
        for path, data in seed.files.items():
            place = folder / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(mutated(rng, path, data, seed) if path == name else data)
        os.chdir(folder)
        return declared_by(seed)


def declared_by(seed: Seed) -> int:
    """Read a dataset in the current folder; give the bytes that its samples declare."""
    declared = 0
    try:
        source: Any = open_source(seed.kind, seed.arguments, limits=_LIMITS)
    except SourceError as error:
        _require_named(error, seed)
        return 0
    for name, why in getattr(source, "left_out", ()):
        assert isinstance(name, str), name
        assert why, name
    assert len(source.keys)
    for sample in range(min(len(source.keys), _READ)):
        try:
            header = source.probe(sample)
            nbytes = [prod(shape) * np.dtype(dtype or "u2").itemsize
                      for shape, dtype in header.arrays.values()]  # fmt: skip
            declared = max(declared, 2 * sum(min(each, _LIMITS.sample_nbytes) for each in nbytes))
            corner = tuple(
                slice(size // 2, size // 2 + min(8, -(-size // 2))) for size in header.size
            )
            part = source.read_window(sample, corner) if source.reads_windows(sample) else ()
            read = source.read(sample)
        except SourceError as error:
            _require_named(error, seed)
            continue
        for values, whole in zip(part, read, strict=bool(part)):
            np.testing.assert_array_equal(values, whole[corner])
        for field, values in zip(source.fields, read, strict=True):
            shape, dtype = header.arrays[field.name]
            assert values.shape == shape, (field, values.shape, shape)
            if dtype is None:
                assert values.dtype in ("uint8", "uint16"), values.dtype
            else:
                assert values.dtype == dtype, (field, values.dtype, dtype)
        assert read[0].dtype == packed_dtype(read[0].dtype, "image"), read[0].dtype
        if source.reads_windows(sample):
            window = tuple(slice(extent // 2, extent) for extent in header.size)
            for values, part in zip(read, source.read_window(sample, window), strict=True):
                np.testing.assert_array_equal(part, values[window])
    return declared


def _require_named(error: SourceError, seed: Seed) -> None:
    said = str(error)
    names = [*seed.files, *{path.rpartition("/")[0] for path in seed.files}, "a.zarr"]
    if not any(name and name in said for name in names) and not re.match("images|masks", said):
        raise AssertionError(f"names no file: {said}") from error


def mutated(rng: random.Random, path: str, data: bytes, seed: Seed) -> bytes:
    """Mutate a file: its bytes, or what they are the parts of, with checksums made right again."""
    ways: list[Callable[[random.Random, bytes], bytes]] = [_bytes]
    start, end = data[:8], path.rpartition(".")[2]
    if start.startswith(b"\x89PNG"):
        ways += [_png] * 2
    elif start[:4] in (b"II*\0", b"MM\0*", b"II+\0"):
        ways += [_tiff] * 2
    elif start.startswith(b"\x1f\x8b"):
        ways += [_gzip] * 3
    elif start.startswith(b"PK"):
        ways += [_zip] * 3
    elif end in ("json", "zarray", "zattrs", "zgroup"):
        ways += [_json] * 3
    elif end == "tar":
        ways += [_tar] * 3
    elif end == "tfrecord":
        ways += [_records] * 3
    elif end == "parquet":
        ways += [_footer] * 2
    elif end in ("nrrd", "nhdr", "mha", "mhd", "vtk"):
        ways += [_header] * 3
    elif end in ("txt", "csv", "yaml", "xml"):
        ways += [_text] * 2
    return rng.choice(ways)(rng, data)


def _number(rng: random.Random) -> bytes:
    number, size = rng.choice(_NUMBERS), rng.choice([1, 2, 4, 8])
    return (number % (1 << 8 * size)).to_bytes(size, rng.choice(["little", "big"]))


def _bytes(rng: random.Random, data: bytes) -> bytes:
    result = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 4, 16])):
        # Headers are small, and in front; some are at the end.
        size = max(len(result), 1)
        at = rng.choice([rng.randrange(size), rng.randrange(min(size, 400)),
                         size - 1 - rng.randrange(min(size, 400))])  # fmt: skip
        way = rng.randrange(8)
        if way < 3:
            result[at : at + 1] = bytes([rng.randrange(256)])
        elif way == 3:
            number = _number(rng)
            result[at : at + len(number)] = number
        elif way == 4:
            del result[at : at + rng.choice([1, 2, 16, 400])]
        elif way == 5:
            result[at:at] = rng.randbytes(rng.choice([1, 4, 64]))
        elif way == 6:
            other = rng.randrange(size)
            result[at:at] = result[other : other + rng.choice([4, 32, 256])]
        else:
            del result[at:]
    return bytes(result)


def _text(rng: random.Random, data: bytes) -> bytes:
    more = [
        b"../../etc/passwd",
        b"/etc/passwd",
        b"\0",
        b"\xff\xfe",
        b"a" * 5000,
        b"\n" * 100,
        b"..",
    ]
    return data + rng.choice(more) + b"\n" + _bytes(rng, data)


def _header(rng: random.Random, data: bytes) -> bytes:
    lines = data.split(b"\n", 30)
    at = rng.randrange(min(len(lines), 20))
    words = re.split(rb"([ (),])", lines[at])
    more = [b"-1", b"0", b"3", b"999999999", b"1e308", b"nan", b"%s%n", b"a%02d.raw 1 9 1", b"LIST",
            b"../../etc/passwd", b"/etc/passwd", b"a.raw", b"a" * 600, b"\0", b"\r", b"", b"LOCAL",
            b"gzip", b"short", b"MET_DOUBLE", b"4"]  # fmt: skip
    words[rng.randrange(len(words))] = rng.choice(more)
    lines[at] = b"".join(words)
    if rng.randrange(4) == 0:
        lines.insert(rng.randrange(at + 1), rng.choice(lines))
    return b"\n".join(lines)


def _png(rng: random.Random, data: bytes) -> bytes:
    parts, at = [], 8
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        parts.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    place = rng.randrange(len(parts))
    kind, payload = parts[place]
    way = rng.randrange(5)
    if way == 0:
        parts.insert(place, rng.choice(parts))
    elif way == 1:
        del parts[place]
    elif way == 2 and kind == b"IDAT":
        raw = zlib.decompress(payload)
        parts[place] = kind, zlib.compress(_bytes(rng, raw) * rng.choice([1, 1, 2]))
    else:
        parts[place] = kind, _bytes(rng, payload)
    return data[:8] + b"".join(
        len(payload).to_bytes(4, "big")
        + kind
        + payload
        + struct.pack(">I", zlib.crc32(kind + payload))
        for kind, payload in parts
    )


def _tiff(rng: random.Random, data: bytes) -> bytes:
    """Change a field of a tag, or where the next directory is."""
    result = bytearray(data)
    order = "<" if data[:1] == b"I" else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    count, offset, size = ("Q", "Q", 20) if big else ("H", "I", 12)
    (at,) = struct.unpack_from(order + offset, data, 8 if big else 4)
    for _ in range(rng.randrange(3)):
        (tags,) = struct.unpack_from(order + count, data, at)
        end = at + struct.calcsize(count) + size * tags
        (following,) = struct.unpack_from(order + offset, data, end)
        at = following or at
    (tags,) = struct.unpack_from(order + count, data, at)
    first = at + struct.calcsize(count)
    for _ in range(rng.choice([1, 1, 2])):
        tag = first + size * rng.randrange(tags)
        way = rng.randrange(8)
        value = rng.choice(_NUMBERS)
        if way == 0:
            struct.pack_into(order + "H", result, tag + 2, rng.randrange(20))
        elif way == 1:
            struct.pack_into(order + offset, result, tag + 4, value % (1 << (64 if big else 32)))
        elif way == 2:
            struct.pack_into(
                order + offset, result, first + size * tags, rng.choice([at, 8, value % 2**31])
            )
        elif way == 3:
            struct.pack_into(
                order + "H",
                result,
                tag,
                rng.choice(
                    [
                        254,
                        255,
                        258,
                        259,
                        262,
                        266,
                        274,
                        277,
                        284,
                        317,
                        322,
                        323,
                        330,
                        338,
                        339,
                        32997,
                    ]
                ),
            )
        else:
            at_value = tag + (12 if big else 8)
            struct.pack_into(
                order + rng.choice("HIBQ"[: 4 if big else 3]),
                result,
                at_value,
                value % 256 if rng.random() < 0.5 else rng.randrange(256),
            )
    return bytes(result)


def _gzip(rng: random.Random, data: bytes) -> bytes:
    inner = gzip.decompress(data)
    way = rng.randrange(4)
    if way == 0:
        return gzip.compress(inner + bytes(1 << 20))
    if way == 1:
        return gzip.compress(inner[: len(inner) // 2]) + gzip.compress(inner[len(inner) // 2 :]) * 2
    return gzip.compress(_bytes(rng, inner), 1)


def _zip(rng: random.Random, data: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
        how = archive.infolist()[0].compress_type
    name = rng.choice(list(members))
    members[name] = _bytes(rng, members[name])
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", how) as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    return file.getvalue()


def _json(rng: random.Random, data: bytes) -> bytes:
    """Put another value somewhere, take one out, or nest deeply."""
    said = json.loads(data)
    places: list[tuple[Any, Any]] = []

    def look(node: Any) -> None:
        inside = node.items() if isinstance(node, dict) else enumerate(node)
        for key, value in list(inside):
            places.append((node, key))
            if isinstance(value, dict | list):
                look(value)

    look(said)
    if not places:
        return b"[]"
    for _ in range(rng.choice([1, 1, 2])):
        node, key = rng.choice(places)
        way = rng.randrange(12)
        if way == 0 and isinstance(node, dict):
            node.pop(key, None)
        elif way == 1:
            node[key] = rng.choice(_NUMBERS)
        elif way == 2:
            node[key] = -rng.choice(_NUMBERS)
        else:
            node[key] = rng.choice(_VALUES)
    text = json.dumps(said)
    if rng.random() < 0.05:
        text = (
            text.replace("null", "[" * 100_000 + "]" * 100_000) if "null" in text else "[" * 200_000
        )
    if rng.random() < 0.05:
        text = text.replace("1", "NaN", 1)
    return text.encode("utf-8", "surrogatepass")


def _tar(rng: random.Random, data: bytes) -> bytes:
    """Change a field of a member's header, and make its checksum right."""
    result = bytearray(data)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        starts = [member.offset for member in tar] + [member.offset_data - 512 for member in tar]
    at = rng.choice(starts)
    if rng.random() < 0.3:  # the pax header of a long name, if there is one
        found = [match.start() for match in re.finditer(rb"\d+ path=", data)]
        if found:
            place = rng.choice(found)
            new = rng.choice(
                [
                    b"30 size=-512\n",
                    b"19 size=99999999999\n",
                    b"0 path=",
                    b"-5 x=",
                    b"99999999 path=",
                ]
            )
            result[place : place + len(new)] = new
            return bytes(result)
    offset, length = rng.choice([(0, 100), (100, 8), (124, 12), (124, 12), (156, 1), (157, 100),
                                 (257, 8), (345, 155), (386, 12), (482, 1), (483, 12)])  # fmt: skip
    value = rng.choice([
        rng.randbytes(length), b"\xff" * length, b"\x80" + bytes(length - 1), b"7" * length,
        b"0" * length, b"-1", b"", rng.choice(b"01234567LKSxgXVDMN").to_bytes(1, "big"),
    ])  # fmt: skip
    result[at + offset : at + offset + length] = value.ljust(length, b"\0")[:length]
    header = result[at : at + 512]
    total = sum(header[:148]) + 8 * 32 + sum(header[156:])
    result[at + 148 : at + 156] = b"%06o\0 " % total
    return bytes(result)


def _records(rng: random.Random, data: bytes) -> bytes:
    """Change a record's payload, and frame it again."""
    payloads, at = [], 0
    while at < len(data):
        length = int.from_bytes(data[at : at + 8], "little")
        payloads.append(data[at + 12 : at + 12 + length])
        at += length + 16
    place = rng.randrange(len(payloads))
    payloads[place] = _bytes(rng, payloads[place])
    result = b"".join(map(framed, payloads))
    if rng.random() < 0.1:  # a length that fits its checksum
        result = framed(b"")[:0] + _claimed(rng.choice(_NUMBERS)) + result
    return result


def _claimed(length: int) -> bytes:
    import google_crc32c

    said = (length % (1 << 64)).to_bytes(8, "little")
    crc = google_crc32c.value(said)
    return said + (((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF).to_bytes(4, "little")


def _footer(rng: random.Random, data: bytes) -> bytes:
    """Change the metadata of a Parquet file: its length stays right."""
    length = int.from_bytes(data[-8:-4], "little")
    footer = bytearray(data[-8 - length : -8])
    for _ in range(rng.choice([1, 1, 2, 3])):
        at = rng.randrange(len(footer))
        way = rng.randrange(4)
        if way == 0:
            footer[at] = rng.randrange(256)
        elif way == 1:  # a long varint
            footer[at : at + 1] = rng.choice(
                [
                    b"\xfe\xff\xff\xff\x0f",
                    b"\xfe" + b"\xff" * 8 + b"\x01",
                    b"\x80\x80\x80\x80\x04",
                    b"\x00",
                ]
            )
        elif way == 2:
            footer[at : at + 1] = bytes([footer[at] ^ 1 << rng.randrange(8)])
        else:
            del footer[at : at + rng.choice([1, 4, 30])]
    return data[: -8 - length] + bytes(footer) + len(footer).to_bytes(4, "little") + data[-4:]
