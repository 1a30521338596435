"""An image that no machine decodes at once is packed in a bounded amount of memory."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import tifffile
from PIL import Image

import zarrfeed
from large_tiffs import ids_tile, write_ids, write_picture
from zarrfeed_convert import PairedFolders, convert

MIB = 1 << 20
TILE = 256
PACK = """
import sys
from zarrfeed_convert import PairedFolders, convert

if __name__ == "__main__":
    root, workers = sys.argv[1], int(sys.argv[2])
    convert(PairedFolders(f"{root}/i", f"{root}/m"), f"{root}/o.zarr", split="train",
            tile=(256, 256), codec="lz4", workers=workers)
"""


def write(root, size, channels):
    for folder in ("i", "m"):
        (root / folder).mkdir()
    write_picture(root / "i/a.tif", size, channels=channels)
    write_ids(root / "m/a.tif", size)
    (root / "pack.py").write_text(PACK)


def pack_watched(root, workers):
    """Pack in processes of their own; give the largest sum of their resident bytes."""
    command = [sys.executable, str(root / "pack.py"), str(root), str(workers)]
    process = subprocess.Popen(command)
    most = 0
    while process.poll() is None:
        total = 0
        for each in [psutil.Process(process.pid), *_children(process.pid)]:
            try:
                total += each.memory_info().rss
            except psutil.Error:  # it has just ended
                continue
        most = max(most, total)
        time.sleep(0.02)
    assert process.returncode == 0
    return most


def _children(pid):
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return []


def require_tiles(root, size, channels):
    """Require that some tiles, among them the last, hold what the files do."""
    along = -(-size // TILE)
    with tifffile.TiffFile(root / "i/a.tif") as tiff:
        page = tiff.pages.first
        assert page.shape[:2] == (size, size)
        split = str(root / "o.zarr/train")
        image, mask = (zarrfeed.open_case(split, "a", field) for field in ("image", "mask"))
        for number in (0, along + 3, along * along - 1):
            row, column = divmod(number, along)
            box = tuple(slice(at * TILE, min((at + 1) * TILE, size)) for at in (row, column))
            data = tiff.filehandle
            data.seek(page.dataoffsets[number])
            encoded = data.read(page.databytecounts[number])
            pixels = page.decode(encoded, number)[0][0]
            height, width = (along.stop - along.start for along in box)
            np.testing.assert_array_equal(image[box], pixels[:height, :width])
            ids = ids_tile(number % 16, TILE, 4)[:height, :width]
            np.testing.assert_array_equal(mask[box], ids)


def test_an_image_is_packed_in_less_memory_than_it_has_pixels(tmp_path):
    size, channels = 12_000, 1
    write(tmp_path, size, channels)
    most = pack_watched(tmp_path, workers=1)
    assert most < 2 * size * size * 0.8
    require_tiles(tmp_path, size, channels)


@pytest.mark.soak
def test_60000_squared_pixels_are_packed_within_a_gibibyte(tmp_path):
    write(tmp_path, 60_000, 1)
    assert pack_watched(tmp_path, workers=2) < 1024 * MIB
    require_tiles(tmp_path, 60_000, 1)


@pytest.mark.parametrize("kind", ["png", "tif"])
def test_the_plan_says_what_decoding_takes(tmp_path, kind):
    size = 12_000
    for folder in ("i", "m"):
        (tmp_path / folder).mkdir()
        path = tmp_path / folder / f"a.{kind}"
        if kind == "png":
            Image.new("L", (size, size)).save(path)
        else:
            write_ids(path, size)
    source = PairedFolders(tmp_path / "i", tmp_path / "m")
    report = convert(source, tmp_path / "o", split="train", tile=(TILE, TILE), classes=4,
                     workers=1, codec="raw", dry_run=True)  # fmt: skip
    said = str(report)
    assert not Path(tmp_path / "o").exists()
    if kind == "png":
        assert "1 case whole" in said
        assert "a.png, takes 412 MiB" in said
    else:
        assert "case whole" not in said
    each = next(line for line in said.splitlines() if line.lstrip().startswith("workers"))
    assert ("GiB" in each) == (kind == "png"), each
