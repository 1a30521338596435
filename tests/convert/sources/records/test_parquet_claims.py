"""What a Parquet file says of itself is read before Arrow believes it."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from zarrfeed.errors import SourceError
from zarrfeed_convert import Limits, open_source

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
claims = pytest.importorskip("zarrfeed_convert.sources.records.parquet_claims")
row_groups = pytest.importorskip("zarrfeed_convert.sources.records.row_groups")

SMALL = Limits(sample_nbytes=1 << 20)


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def png(values):
    file = io.BytesIO()
    Image.fromarray(values).save(file, "PNG")
    return file.getvalue()


def table(rows=3, **more):
    values = [png(np.full((4, 5), row, np.uint8)) for row in range(rows)]
    pq.write_table(pa.table({"image": values, "annotation": values}), "a.parquet", **more)


def metadata():
    data = Path("a.parquet").read_bytes()
    length = int.from_bytes(data[-8:-4], "little")
    return data[: -8 - length], data[-8 - length : -8]


def rewrite(body, footer):
    Path("a.parquet").write_bytes(body + footer + len(footer).to_bytes(4, "little") + b"PAR1")


def varint(number):
    """Write an integer as Thrift's compact protocol does: zigzag, 7 bits a byte."""
    number = number << 1 if number >= 0 else (-number << 1) - 1
    parts = []
    while number > 127:
        parts.append(number & 127 | 128)
        number >>= 7
    return bytes([*parts, number])


def refused(match, limits=None, **arguments):
    with pytest.raises(SourceError, match=match):
        open_source("parquet", {"images": "a.parquet", **arguments}, limits=limits)


@pytest.mark.parametrize("row_group_size", [2, 100])
@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_it_says_what_arrow_says(row_group_size, version):
    kind = pa.list_(pa.list_(pa.uint8()))
    columns = {
        "image": pa.array([None, b"x" * 99, None, b"", b"yy"], pa.binary()),
        "annotation": pa.array([[[1, 2], [3]], None, [], [[4]], [[]]], kind),
        "path": pa.array([{"a": 1, "b": {"c": "x"}}] * 5),
    }
    pq.write_table(
        pa.table(columns),
        "a.parquet",
        row_group_size=row_group_size,
        data_page_version=version,
    )
    about = pq.read_metadata("a.parquet")
    groups = claims.read_groups("a.parquet", Limits())
    assert [group.rows for group in groups] == [
        about.row_group(number).num_rows for number in range(about.num_row_groups)
    ]
    for number, group in enumerate(groups):
        for place, part in enumerate(group.parts):
            column = about.row_group(number).column(place)
            assert ".".join(part.path) == column.path_in_schema
            assert part.values == column.num_values
            assert part.nulls == column.statistics.null_count
            assert part.unpacked == column.total_uncompressed_size
            assert part.packed == column.total_compressed_size
            assert part.dictionary == (column.dictionary_page_offset or 0)
    row_groups.require_affordable("a.parquet", groups, {"image", "annotation", "path"}, Limits())


def test_a_hundred_million_rows_of_nothing_are_refused():
    table()
    body, footer = metadata()
    at = footer.index(b"\x16" + varint(3))  # the file's number of rows: field 3, i64
    said = footer[:at] + b"\x16" + varint(10**8) + footer[at + 2 :]
    rewrite(body, said)
    refused(r"a\.parquet: needed the metadata .* 100000000 rows, of which its row groups have 3")


def test_rows_beyond_what_can_be_listed_are_refused():
    columns = {name: pa.nulls(20_000, pa.binary()) for name in ("image", "annotation")}
    pq.write_table(pa.table(columns), "a.parquet")
    refused(r"a\.parquet: needed at most 8192 rows, found a claim of 20000", SMALL)


def test_millions_of_rows_of_nothing_are_refused():
    columns = {name: pa.nulls(1_100_000, pa.binary()) for name in ("image", "annotation")}
    pq.write_table(pa.table(columns), "a.parquet")
    assert Path("a.parquet").stat().st_size < 10_000
    refused(r"a\.parquet: .*hold nothing in annotation, found a claim of 1100000")


def test_a_page_that_claims_more_than_is_allowed_is_refused():
    value = bytes(3 << 20)
    columns = {"image": [value], "annotation": [value]}
    pq.write_table(pa.table(columns), "a.parquet", compression="zstd", use_dictionary=False)
    assert Path("a.parquet").stat().st_size < 100_000
    refused(r"a\.parquet: row group 0, image: needed a page of at most 1 MiB", SMALL)


def test_a_row_of_more_values_than_are_allowed_is_refused():
    columns = {"image": [[0] * 1_000_000], "annotation": [[0]]}
    pq.write_table(pa.table(columns), "a.parquet")
    refused(r"a\.parquet: row group 0, image.*: needed a (row|page) of at most 1 MiB", SMALL)


def test_what_repeats_is_decoded_a_few_rows_at_a_time(tmp_path):
    """A dictionary of one long value, and a million indices in a few bytes."""
    value = np.random.default_rng(0).bytes(1 << 20)
    rows = pa.DictionaryArray.from_arrays(pa.array([0] * 100_000, pa.int32()), pa.array([value]))
    pq.write_table(pa.table({"image": rows, "annotation": rows}), "a.parquet")
    assert Path("a.parquet").stat().st_size < 8 << 20
    [group] = claims.read_groups("a.parquet", Limits())
    dictionary = row_groups.dictionary_nbytes("a.parquet", group.of("image"))
    assert dictionary >= 1 << 20
    assert row_groups._block_rows(group, "image", dictionary) * dictionary <= 128 << 20


@pytest.mark.parametrize("place", range(0, 400, 7))
def test_damaged_metadata_is_named_and_never_ends_the_process(place):
    """Arrow aborts over some of it: a column that is missing, a level histogram that is short."""
    table()
    body, footer = metadata()
    at = place % len(footer)
    for byte in (0, 0x2C, 0xFF):
        rewrite(body, footer[:at] + bytes([byte]) + footer[at + 1 :])
        try:
            source = open_source("parquet", {"images": "a.parquet"})
            for sample in range(len(source.keys)):
                source.read(sample)
        except SourceError as error:
            assert "a.parquet" in str(error)  # noqa: PT017
