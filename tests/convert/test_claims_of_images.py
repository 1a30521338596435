"""What an image file claims is checked before memory is taken, and what it lacks is missed."""

from __future__ import annotations

import io
import os
import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from zarrfeed.errors import SourceError
from zarrfeed_convert import open_source
from zarrfeed_convert.decoding.decode import decode, measure
from zarrfeed_convert.decoding.limits import Limits

SMALL = Limits(sample_nbytes=1 << 20)


def photograph(height=96, width=128):
    rng = np.random.default_rng(3)
    smooth = np.add.outer(np.arange(height), np.arange(width))[..., None] * [1, 2, 3] // 4
    return (smooth % 160 + rng.integers(0, 60, (height, width, 3))).astype(np.uint8)


def png_chunk(kind, payload):
    check = struct.pack(">I", zlib.crc32(kind + payload))
    return struct.pack(">I", len(payload)) + kind + payload + check


def png(width, height, pixels, *, bits=8, kind=0, interlaced=0, extra=b""):
    header = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, interlaced)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + extra + (
        png_chunk(b"IDAT", pixels) + png_chunk(b"IEND", b"")
    )  # fmt: skip


def huge(kind):
    """Give a small file that claims 60000×60000 pixels, or as many as its format can."""
    if kind == "png":
        return png(60000, 60000, zlib.compress(bytes(100)))
    if kind == "bmp":
        head = struct.pack("<2sIHHI", b"BM", 100, 0, 0, 54)
        return head + struct.pack("<IiiHHIIiiII", 40, 60000, 60000, 1, 24, 0, 0, 0, 0, 0, 0)
    file = io.BytesIO()
    if kind == "tif":
        tifffile.imwrite(file, np.zeros((16, 16), np.uint8), metadata=None)
        data = bytearray(file.getvalue())
        for tag in (256, 257):  # width, height: one short each
            at = data.index(struct.pack("<H", tag), 8)
            data[at : at + 12] = struct.pack("<HHII", tag, 4, 1, 60000)
        return bytes(data)
    form = {"jpg": "JPEG", "webp": "WEBP", "gif": "GIF"}[kind]
    Image.fromarray(photograph()).save(file, form)
    data = bytearray(file.getvalue())
    if kind == "jpg":
        at = data.index(b"\xff\xc0")
        data[at + 5 : at + 9] = struct.pack(">HH", 60000, 60000)
    elif kind == "gif":
        data[6:10] = struct.pack("<HH", 60000, 60000)
    else:
        data[26:30] = struct.pack("<HH", 16383, 16383)
    return bytes(data)


@pytest.mark.parametrize("kind", ["png", "jpg", "tif", "bmp", "webp", "gif"])
@pytest.mark.parametrize("read", [measure, decode])
def test_a_claim_beyond_the_limit_is_refused_with_the_way_out(tmp_path, kind, read):
    path = tmp_path / f"a.{kind}"
    path.write_bytes(huge(kind))
    claim = "16383×16383" if kind == "webp" else "60000×60000"
    with pytest.raises(SourceError, match=rf"a\.{kind}: .*{claim}.*--max-sample-size \d+GiB"):
        read(path, Limits(sample_nbytes=64 << 20))


def test_the_default_limit_refuses_60000_squared_pixels_on_every_machine(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(huge("png"))
    with pytest.raises(SourceError, match="60000×60000"):
        measure(path)


def test_an_honest_image_above_pillows_limit_is_no_bomb(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    for form in ("PNG", "JPEG", "BMP", "GIF", "TIFF"):  # no WebP is so large
        path = tmp_path / f"a.{form.lower()}"
        Image.new("L", (64, 48)).save(path, form)
        assert measure(path).width == 64
        assert decode(path).values.shape[:2] == (48, 64)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("exif", [False, True])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_jpeg_that_is_cut_and_closed_again_is_truncated(tmp_path, progressive, exif, share):
    file = io.BytesIO()
    more = {}
    if exif:
        said = Image.Exif()
        said[0x0112] = 6
        more = {"exif": said}
    Image.fromarray(photograph()).save(file, "JPEG", progressive=progressive, **more)
    data = file.getvalue()
    path = tmp_path / "a.jpg"
    path.write_bytes(data)
    assert decode(path).values.shape[:2] == ((128, 96) if exif else (96, 128))
    path.write_bytes(data[: int(share * len(data))].rstrip(b"\xff") + b"\xff\xd9")
    with pytest.raises(SourceError, match=r"a\.jpg: cannot be decoded: truncated"):
        decode(path)


@pytest.mark.parametrize("kind", ["L", "RGB", "CMYK"])
def test_jpegs_of_one_colour_are_whole(tmp_path, kind):
    path = tmp_path / "a.jpg"
    for progressive in (False, True):
        Image.new(kind, (40, 24)).save(path, progressive=progressive)
        assert decode(path).values.shape[:2] == (24, 40)


def test_a_jpeg_of_thousands_of_passes_is_refused(tmp_path):
    file = io.BytesIO()
    Image.fromarray(photograph()).save(file, "JPEG", progressive=True)
    data = file.getvalue()
    at = data.rindex(b"\xff\xda")
    path = tmp_path / "a.jpg"
    path.write_bytes(data[:at] + data[at:-2] * 5000 + data[-2:])
    with pytest.raises(SourceError, match=r"a\.jpg: .*at most 256 passes"):
        decode(path)


@pytest.mark.parametrize("bits", [1, 4, 8])
@pytest.mark.parametrize("interlaced", [0, 1])
@pytest.mark.parametrize("kind", [0, 3])
def test_a_png_whose_pixels_end_early_is_truncated(tmp_path, bits, interlaced, kind):
    width, height = 33, 17
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2),
              (1, 0, 2, 1)] if interlaced else [(0, 0, 1, 1)]  # fmt: skip
    raw = bytes(
        sum(
            len(range(top, height, down)) * (1 + -(-len(range(left, width, right)) * bits // 8))
            for top, left, down, right in passes
        )
    )
    extra = png_chunk(b"PLTE", bytes(3 << bits)) if kind == 3 else b""
    path = tmp_path / "a.png"
    path.write_bytes(png(width, height, zlib.compress(raw), bits=bits, kind=kind,
                         interlaced=interlaced, extra=extra))  # fmt: skip
    assert decode(path).values.shape == (height, width)
    for short in (raw[: len(raw) // 2], raw[:-1]):
        path.write_bytes(png(width, height, zlib.compress(short), bits=bits, kind=kind,
                             interlaced=interlaced, extra=extra))  # fmt: skip
        with pytest.raises(SourceError, match=r"a\.png: cannot be decoded: truncated"):
            decode(path)


def test_a_tiff_that_lacks_a_strip_is_not_filled_up(tmp_path):
    path = tmp_path / "a.tif"
    values = photograph()
    tifffile.imwrite(path, values, rowsperstrip=16, compression="zlib", metadata=None)
    np.testing.assert_array_equal(decode(path).values, values)
    with tifffile.TiffFile(path, mode="r+") as tiff:
        counts = list(tiff.pages[0].databytecounts)
        tiff.pages[0].tags["StripByteCounts"].overwrite([*counts[:-1], 0])
    with pytest.raises(SourceError, match=r"a\.tif: .*contains 5 of its 6 strips"):
        decode(path)


def looped(data, *, to_itself):
    """Let the last directory of a TIFF be followed by one that was there before."""
    (first,) = struct.unpack_from("<I", data, 4)
    at = first
    while True:
        end = at + 2 + 12 * struct.unpack_from("<H", data, at)[0]
        (following,) = struct.unpack_from("<I", data, end)
        if not following:
            struct.pack_into("<I", data, end, at if to_itself else first)
            return bytes(data)
        at = following


@pytest.mark.parametrize("pages", [1, 3])
@pytest.mark.parametrize("to_itself", [False, True])
def test_tiff_directories_that_form_a_loop_are_refused(tmp_path, pages, to_itself):
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, np.zeros((pages, 16, 16), np.uint8), metadata=None, photometric="minisblack"
    )
    path.write_bytes(looped(bytearray(path.read_bytes()), to_itself=to_itself))
    for read in (measure, decode):
        with pytest.raises(SourceError, match=r"a\.tif: .*leads back to byte"):
            read(path)


@pytest.mark.parametrize("order", "<>")
def test_a_loop_of_directories_below_another_is_refused(tmp_path, order):
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path, byteorder=order) as tiff:
        tiff.write(np.zeros((32, 32), np.uint8), subifds=1, metadata=None)
        tiff.write(np.zeros((16, 16), np.uint8), subfiletype=1, metadata=None)
    with tifffile.TiffFile(path) as tiff:
        [below] = tiff.pages[0].subifds
    data = bytearray(path.read_bytes())
    end = below + 2 + 12 * struct.unpack_from(f"{order}H", data, below)[0]
    struct.pack_into(f"{order}I", data, end, below)
    path.write_bytes(data)
    with pytest.raises(SourceError, match=rf"a\.tif: .*leads back to byte {below}"):
        measure(path)


def test_a_tag_of_more_values_than_the_file_has_bytes_is_refused(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((16, 16), np.uint8), metadata=None)
    data = bytearray(path.read_bytes())
    at = data.index(struct.pack("<H", 273), 8)  # the offsets of strips
    data[at + 4 : at + 8] = struct.pack("<I", 1 << 31)
    path.write_bytes(data)
    with pytest.raises(SourceError, match=r"a\.tif: .*tag 273 with 2147483648 values"):
        decode(path)


def test_a_name_never_chooses_a_decoder_that_starts_a_program(tmp_path, monkeypatch):
    """EPS makes Pillow start whatever ``gs`` is found first."""
    program = tmp_path / "gs"
    program.write_text(f"#!/bin/sh\necho started > {tmp_path}/started\n", "ascii")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n%%EOF\n"
    for name in ("a.png", "a.tif", "a.jpg", "a.eps"):
        path = tmp_path / name
        path.write_bytes(eps)
        for read in (measure, decode):
            with pytest.raises(SourceError, match="it does not begin like an image"):
                read(path)
    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize(
    "begin",
    [
        b"\x00\x00\x01\x00\x01\x00\x10\x10",  # ICO
        b"\xd7\xcd\xc6\x9a" + bytes(20),  # WMF
        b"#define a_width 8\n#define a_height 8\n",  # XBM
        b"SIMPLE  =                    T",  # FITS
        b"\x76\x2f\x31\x01",  # OpenEXR
        b"8BPS\x00\x01",  # PSD
    ],
)
def test_formats_that_are_not_listed_are_not_opened(tmp_path, begin):
    path = tmp_path / "a.png"
    path.write_bytes(begin + bytes(100))
    with pytest.raises(SourceError, match="it does not begin like an image"):
        measure(path)


def test_an_image_without_rows_names_its_file(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((16, 16), np.uint8), metadata=None)
    with tifffile.TiffFile(path, mode="r+") as tiff:
        tiff.pages[0].tags["ImageLength"].overwrite(0)
    for read in (measure, decode):
        with pytest.raises(SourceError, match=r"a\.tif: needed pixels, found an image of 0×16"):
            read(path)


@pytest.mark.parametrize("read", [measure, decode])
def test_pipes_devices_and_endless_files_are_not_read(tmp_path, read):
    path = tmp_path / "a.png"
    os.mkfifo(path)
    with pytest.raises(SourceError, match=r"a\.png: needed a file, found a pipe"):
        read(path)
    path.unlink()
    path.symlink_to("/dev/zero")
    with pytest.raises(SourceError, match=r"a\.png: needed a file, found a device"):
        read(path)
    path.unlink()
    path.touch()
    os.truncate(path, 1 << 40)
    with pytest.raises(SourceError, match=r"a\.png: needed a file of at most 1 MiB"):
        read(path, SMALL)


@pytest.mark.parametrize("tile", [None, (48, 64)])
@pytest.mark.parametrize("stack", [False, True])
def test_a_jpeg_in_a_tiff_that_is_cut_and_closed_again_is_truncated(tmp_path, tile, stack):
    path, masks = tmp_path / "a.tif", tmp_path / "m.tif"
    tifffile.imwrite(path, photograph(), compression="jpeg", tile=tile, metadata=None)
    tifffile.imwrite(masks, np.zeros((96, 128), np.uint8), metadata=None)

    def read():
        if stack:
            return open_source("tiff", {"images": str(path), "masks": str(masks)}).read(0)[0]
        return decode(path).values

    assert read().shape == (96, 128, 3)
    with tifffile.TiffFile(path) as tiff:
        offset, count = (it[0] for it in (tiff.pages[0].dataoffsets, tiff.pages[0].databytecounts))
    data = bytearray(path.read_bytes())
    cut = bytes(data[offset : offset + count // 2]).rstrip(b"\xff") + b"\xff\xd9"
    data[offset : offset + count] = cut.ljust(count, b"\0")
    path.write_bytes(data)
    with pytest.raises(SourceError, match=r"a\.tif.*truncated"):
        read()
