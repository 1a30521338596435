"""How fast is repacking, compared with compression alone?

    python benchmarks/repacking.py --images DIR --masks DIR [--cache DIR] [--samples N]

The workload is N × (256×256×3 + 256×256) uint8, raw, with a warm page cache: random crops of your
pictures and masks, or of drawn cells. `zarrfeed repack --codec lz4` with two processes takes turns
with two processes that only encode the same samples from memory by the same codecs. The first round
is a warm-up and dropped; the verdict is on the median of the ratios within each round. Trust the
ratios, not the absolute figures. Prints Markdown, or with ``--json`` one line about the machine and
one per figure.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from contextlib import ExitStack, closing
from pathlib import Path

from encoders import Encoders
from figures import Figure, quantity, ratio, table
from machine import load_average, machine
from trial import take_turns
from workload import pack, warm
from zarrfeed_convert import repack

ROW = 4
WORKERS = 2


def repacking(raw: str, scratch: Path, rounds: int, codec: str = "lz4") -> list[Figure]:
    """Compare repacking with encoding, in decoded bytes per second.

    Parameters
    ----------
    raw
        A split of raw chunks of one sample each.
    scratch
        Folder for the output.
    rounds
        Number of rounds, in each of which both take a turn. The first is dropped.
    codec
        Codec to encode with, ``lz4`` or ``zstd``.
    """
    with closing(Encoders(raw, codec, WORKERS)) as encoders:
        found = take_turns(
            {
                "repacking": lambda: _repack(raw, scratch, codec, encoders.nbytes),
                "encoding": lambda: (encoders.rate(),) * 2,
            },
            rounds,
        )
    whole = {way: [rate for rate, _ in rates] for way, rates in found.items()}
    alone = [rate for _, rate in found["repacking"]]
    size = encoders.nbytes / 1e9
    how = (
        f"{size:.2f} GB, {WORKERS} processes on both sides. The whole call includes starting its "
        "processes, recomputing every digest, writing every file to the disk (fsync), and the "
        "metadata. The copying alone is from the first sample to the last, including fsync."
    )
    what = f"repacking raw to {codec}"
    return [
        ratio(ROW, f"{what}, the whole call / encoding from RAM", whole["repacking"],
              whole["encoding"], at_least=0.7, how=how),
        ratio(ROW, f"{what}, the copying alone / encoding from RAM", alone, whole["encoding"]),
        *(quantity(ROW, f"{way}, {codec}", "MB/s", [rate / 1e6 for rate in whole[way]])
          for way in whole),
    ]  # fmt: skip


def _repack(raw: str, scratch: Path, codec: str, nbytes: int) -> tuple[float, float]:
    """Repack once; return the decoded bytes per second of the whole call and of the copying."""
    out = scratch / "repacked.zarr"
    updates: list[float] = []
    warm(raw)  # the kernel may have dropped files during the other turn

    def note(what: str, done: int, total: int) -> None:  # noqa: ARG001
        if done:
            updates.append(time.perf_counter())

    start = time.perf_counter()
    repack(raw, out, split="train", codec=codec, workers=WORKERS, progress=note)
    end = time.perf_counter()
    shutil.rmtree(out)
    return nbytes / (end - start), nbytes / (updates[-1] - updates[0])


def main() -> int:
    """Pack, measure, print."""
    options = _options()
    load = load_average()
    with ExitStack() as stack:
        folder = options.cache or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        work = pack(
            folder.resolve(),
            samples=options.samples,
            size=options.size,
            batch_size=32,
            images=options.images,
            masks=options.masks,
        )
        scratch = options.scratch or stack.enter_context(tempfile.TemporaryDirectory(dir=folder))
        warm(work.raw)
        figures = repacking(work.raw, Path(scratch), options.rounds, options.codec)
    if options.json:
        about = {"machine": machine(), "load_before": load, "origin": work.origin}
        for line in (about, *(figure.to_json() for figure in figures)):
            print(json.dumps(line))
    else:
        print(f"{work.samples} samples of {work.size}×{work.size}: {work.origin}\n")
        print(f"{machine()}; load average before: {load}\n\n{table(figures)}")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--images", help="folder of pictures (default: drawn cells)")
    parser.add_argument("--masks", help="folder of their masks with the same names")
    parser.add_argument("--cache", type=Path, help="folder in which to keep the packed stores")
    parser.add_argument("--scratch", type=Path, help="output folder (default: within the cache)")
    parser.add_argument("--samples", type=int, default=16384, help="number of samples (16384)")
    parser.add_argument("--size", type=int, default=256, help="height and width in pixels (256)")
    parser.add_argument("--codec", choices=("lz4", "zstd"), default="lz4", help="codec (lz4)")
    parser.add_argument("--rounds", type=int, default=5,
                        help="number of rounds, at least 2; the first is dropped (5)")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print JSON lines, not Markdown")
    options = parser.parse_args()
    if (options.images is None) != (options.masks is None):
        parser.error("--images and --masks belong together")
    if options.rounds < 2:
        parser.error(f"--rounds must be at least 2, not {options.rounds}: the first is dropped")
    return options


if __name__ == "__main__":
    sys.exit(main())
