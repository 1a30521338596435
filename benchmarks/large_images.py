"""How fast are huge tiled TIFFs packed as tiles, compared with reading the same windows alone?

    python benchmarks/large_images.py [--size N] [--tile N] [--deflate] [--codec raw|lz4] …

The workload is a picture of N × N × 3 uint8, in tiles of JPEG (or of deflate), and its mask, in
tiles of deflate (see `large_tiffs.py`). `convert(…, tile=(256, 256))` with two processes takes
turns with two processes that only read, by the same source, the windows that the packer reads. The
first round is a warm-up and dropped; the verdict is on the median of the ratios within each round.
Trust the ratios, not the absolute figures.
"""

from __future__ import annotations

import argparse
import multiprocessing
import shutil
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from figures import Figure, quantity, ratio, table
from large_tiffs import write_ids, write_picture
from machine import load_average, machine
from trial import take_turns
from zarrfeed_convert import PairedFolders, convert
from zarrfeed_convert.shards.case_parts import divide_tiles

if TYPE_CHECKING:
    from multiprocessing.pool import Pool

    from zarrfeed_convert.source import Window

ROW = 13
WORKERS = 2
_CLASSES = 4
_PIXEL_NBYTES = 4


def large_images(
    folder: Path, size: int, codec: str, rounds: int, *, source_tile: int = 256, jpeg: bool = True
) -> list[Figure]:
    """Compare packing with reading, in decoded bytes per second.

    Parameters
    ----------
    folder
        Where the picture, the mask and the store are written.
    size
        Height and width of the picture.
    codec
        Codec of the store.
    rounds
        Number of rounds, in each of which both take a turn. The first is dropped.
    source_tile
        Height and width of the tiles of the TIFFs.
    jpeg
        Whether those of the picture are JPEGs; else they are compressed by deflate.
    """
    for name in ("i", "m"):
        (folder / name).mkdir(exist_ok=True)
    write_picture(folder / "i/a.tif", size, tile=source_tile, jpeg=jpeg)
    write_ids(folder / "m/a.tif", size, tile=source_tile)
    nbytes = _PIXEL_NBYTES * size * size
    with multiprocessing.get_context("spawn").Pool(WORKERS) as pool:
        pool.map(_open, [folder] * WORKERS)
        found = take_turns(
            {
                "packing": lambda: _pack(folder, codec, nbytes),
                "reading": lambda: (_read(pool, folder, size, nbytes),) * 2,
            },
            rounds,
        )
    whole = {way: [rate for rate, _ in rates] for way, rates in found.items()}
    alone = [rate for _, rate in found["packing"]]
    how = (
        f"{size}×{size} RGB and mask, {nbytes / 1e9:.2f} GB, from tiles of {source_tile}² "
        f"({'JPEG' if jpeg else 'deflate'}), "
        f"{WORKERS} processes on both sides. The whole call includes starting its processes, "
        "trying codecs, digests, statistics and fsync. Packing alone is from the first shard to "
        "the last."
    )
    what = f"packing a TIFF of {'JPEG' if jpeg else 'deflate'} tiles, {codec}"
    return [
        ratio(ROW, f"{what}, the whole call / reading its windows", whole["packing"],
              whole["reading"], at_least=0.7, how=how),
        ratio(ROW, f"{what}, packing alone / reading its windows", alone, whole["reading"]),
        *(quantity(ROW, f"{way}, {codec}", "MB/s", [rate / 1e6 for rate in whole[way]])
          for way in whole),
    ]  # fmt: skip


def _open(folder: Path) -> PairedFolders:
    return PairedFolders(folder / "i", folder / "m")


def _pack(folder: Path, codec: str, nbytes: int) -> tuple[float, float]:
    """Pack once; return the decoded bytes per second of the whole call, and without its start."""
    out = folder / "packed.zarr"
    began: list[float] = []

    def note(what: str, done: int, total: int) -> None:  # noqa: ARG001
        if what == "packing":
            began.append(time.perf_counter())

    start = time.perf_counter()
    convert(_open(folder), out, split="train", tile=(256, 256), classes=_CLASSES, codec=codec,
            workers=WORKERS, progress=note)  # fmt: skip
    end = time.perf_counter()
    shutil.rmtree(out)
    return nbytes / (end - start), nbytes / (end - began[0])


def _read(pool: Pool, folder: Path, size: int, nbytes: int) -> float:
    """Read all windows once, in turn by each process; return the decoded bytes per second."""
    origins = [(y, x) for y in range(0, size, 256) for x in range(0, size, 256)]
    windows = [
        part.window
        for part in divide_tiles(range(len(origins)), origins, size=(size, size), tile=(256, 256),
                                 pixel_nbytes=_PIXEL_NBYTES)
    ]  # fmt: skip
    start = time.perf_counter()
    half = -(-len(windows) // WORKERS)
    pool.map(partial(_read_windows, folder), [windows[:half], windows[half:]], chunksize=1)
    return nbytes / (time.perf_counter() - start)


def _read_windows(folder: Path, windows: list[Window]) -> None:
    source = _open(folder)
    for window in windows:
        source.read_window(0, window)


def main() -> int:
    """Write, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--size", type=int, default=12288, help="height and width (12288)")
    parser.add_argument("--tile", type=int, default=256, help="tiles of the TIFFs (256)")
    parser.add_argument("--deflate", action="store_true", help="compress the picture by deflate")
    parser.add_argument("--codec", choices=("raw", "lz4"), default="raw", help="codec (raw)")
    parser.add_argument("--rounds", type=int, default=4,
                        help="number of rounds, at least 2; the first is dropped (4)")  # fmt: skip
    options = parser.parse_args()
    if options.rounds < 2:
        parser.error(f"--rounds must be at least 2, not {options.rounds}: the first is dropped")
    load = load_average()
    with tempfile.TemporaryDirectory() as folder:
        figures = large_images(Path(folder), options.size, options.codec, options.rounds,
                               source_tile=options.tile, jpeg=not options.deflate)  # fmt: skip
    print(f"{machine()}; load average before: {load}\n\n{table(figures)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
