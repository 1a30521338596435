"""Find and verify the records of TFRecord files.

    length (8 bytes)   checksum of it (4)   payload (length bytes)   checksum of it (4)   next …

Numbers are little-endian. Checksums are CRC-32C, masked (rotated and shifted) because a CRC of data
that contain CRCs is weak.
"""

from __future__ import annotations

import os
import struct
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import google_crc32c
import numpy as np

from zarrfeed.errors import SourceError
from zarrfeed_convert.sources.file_discovery import list_files
from zarrfeed_convert.sources.item_index import ItemIndex
from zarrfeed_convert.sources.name_pairs import in_order_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

EXTENSIONS = (".tfrecord", ".tfrecords", ".tfrec", ".record")

_HEAD = struct.Struct("<QI")
_CHECKSUM = struct.Struct("<I")
_GZIP = b"\x1f\x8b"
_LENGTH_HINT = "copy or write the file again"


@dataclass(frozen=True, slots=True)
class Records:
    """The records of several files.

    Attributes
    ----------
    paths, stems
        The files, and the beginnings of the keys of their records.
    index
        The files by their records.
    offsets
        (records,) int64: the offset of each record in its file.
    broken
        Records from which on a file cannot be read, each with the reason.
    """

    paths: tuple[str, ...]
    stems: tuple[str, ...]
    index: ItemIndex
    offsets: NDArray[np.int64]
    broken: tuple[tuple[str, str], ...]

    @classmethod
    def find(cls, where: str, *, what: str, beside: Sequence[str] = ()) -> Records:
        """Find the records of a file, a folder or a glob.

        Parameters
        ----------
        where, what
            As for :func:`~zarrfeed_convert.sources.file_discovery.list_files`.
        beside
            Names of the files that these belong to, one to one.

        Raises
        ------
        SourceError
            There is no record, or the names of some files do not pair.
        """
        files = list_files(where, what=what, extensions=EXTENSIONS)
        files = in_order_of(beside, files) if beside else files
        found = [index_records(path) for path in files]
        broken = [
            (name_of_record(path, len(offsets)), why)
            for path, (offsets, why) in zip(files, found, strict=True)
            if why
        ]
        index = ItemIndex.of(len(offsets) for offsets, _ in found)
        if not len(index):
            if broken:
                raise SourceError(f"{next(iter(files))}: {broken[0][1]}")
            raise SourceError(
                f"{what}: needed records, found no record in {where} ({len(files)} files in all); "
                "give other files"
            )
        offsets = np.concatenate([offsets for offsets, _ in found])
        return cls(tuple(files), tuple(files.values()), index, offsets, tuple(broken))

    def __len__(self) -> int:
        """Count the records."""
        return len(self.index)

    def key(self, record: int) -> str:
        """Name a record by its file and its number."""
        file, number = self.index.locate(record)
        return f"{self.stems[file]}/{number:06}"

    def name(self, record: int, feature: str) -> str:
        """Name a feature of a record for a person."""
        file, number = self.index.locate(record)
        return name_of_record(self.paths[file], number, feature)

    def read(self, record: int, *, name: str) -> bytes:
        """Read the payload of a record with :func:`read_record`."""
        file, _ = self.index.locate(record)
        return read_record(self.paths[file], int(self.offsets[record]), name=name)


def name_of_record(path: str, number: int, feature: str = "") -> str:
    """Name a record, or a feature of it."""
    return f"{path}[record={number}{f', {feature}' if feature else ''}]"


def index_records(path: str) -> tuple[NDArray[np.int64], str]:
    """Find the records of a file without reading their payloads.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    offsets, broken
        (n,) int64: the offsets of the complete records. The reason why the rest of the file cannot
        be read; empty if there is none.

    Raises
    ------
    SourceError
        The file cannot be opened.
    """
    offsets: list[int] = []
    with _opened(path) as file:
        end, at = os.fstat(file).st_size, 0
        while at < end:
            head = os.pread(file, _HEAD.size, at)
            length = _length_of(head)
            if length is None:
                return np.array(offsets, np.int64), _why_no_record(head, len(offsets))
            following = at + _HEAD.size + length + _CHECKSUM.size
            if following > end:
                return np.array(offsets, np.int64), (
                    f"needed {following} bytes for record {len(offsets)}, found a file of {end}: "
                    f"it ends early; {_LENGTH_HINT}"
                )
            offsets.append(at)
            at = following
    return np.array(offsets, np.int64), ""


def read_record(path: str, offset: int, *, name: str) -> bytes:
    """Read the payload of one record, and verify its checksum.

    Raises
    ------
    SourceError
        The record is damaged, or the file has changed.
    """
    with _opened(path, name) as file:
        length = _length_of(os.pread(file, _HEAD.size, offset))
        if length is None or length > os.fstat(file).st_size:
            raise SourceError(
                f"{name}: needed a record at byte {offset}, found none: the file has changed since "
                "it was opened"
            )
        data = os.pread(file, length + _CHECKSUM.size, offset + _HEAD.size)
    payload = data[:length]
    if len(data) != length + _CHECKSUM.size or _masked(payload) != data[length:]:
        raise SourceError(
            f"{name}: needed a record that fits its checksum, found a damaged one; {_LENGTH_HINT}"
        )
    return payload


@contextmanager
def _opened(path: str, name: str = "") -> Iterator[int]:
    """Open a file for `os.pread`, which has no position that threads would have to lock."""
    try:
        file = os.open(path, os.O_RDONLY)
        try:
            yield file
        finally:
            os.close(file)
    except OSError as error:
        raise SourceError(
            f"{name or path}: cannot be read: {error.strerror}; restore it, or take it out"
        ) from error


def _length_of(head: bytes) -> int | None:
    """Return the length of a record; None if its checksum does not match."""
    if len(head) != _HEAD.size or _masked(head[:8]) != head[8:]:
        return None
    length, _ = _HEAD.unpack(head)
    return int(length)


def _masked(data: bytes) -> bytes:
    crc = google_crc32c.value(data)
    return _CHECKSUM.pack(((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def _why_no_record(head: bytes, records: int) -> str:
    if records:
        return f"the length of record {records} does not fit its checksum; {_LENGTH_HINT}"
    if head.startswith(_GZIP):
        return (
            "needed an uncompressed TFRecord file, found a GZIP-compressed one; decompress it "
            "first: gzip -dc FILE > FILE.tfrecord"
        )
    if len(head) > 1 and head[0] == 0x78 and int.from_bytes(head[:2], "big") % 31 == 0:
        return (
            "needed an uncompressed TFRecord file, found a ZLIB-compressed one; write it again "
            "without compression"
        )
    return "needed a TFRecord file, found something else: its first length fits no checksum"
