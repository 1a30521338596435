"""Cases are shuffled, and each is decoded once for each shard that it is in."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
import zarr

from folders import contents
from zarrfeed.errors import SourceError
from zarrfeed_convert import Header, Source, convert, verify

TILE = 4
EDGE = 12  # of an image: nine tiles
LAYOUT = {"shard_size": 20 * TILE * TILE}


@dataclasses.dataclass
class Pictures(Source):
    """Images of nine tiles. Some cannot be read, of some the last tile has an impossible id."""

    count: int
    unreadable: tuple[int, ...] = ()
    impossible: tuple[int, ...] = ()
    log: str | None = None

    @property
    def keys(self):
        return [f"picture{number:03}" for number in range(self.count)]

    def describe(self):
        return {"kind": "pictures"}

    def names(self, sample):
        return f"i{sample}", f"m{sample}"

    def probe(self, sample):
        return Header.of_pair((EDGE, EDGE, 1), "uint8", (EDGE, EDGE))

    def read(self, sample):
        if self.log is not None:
            with open(self.log, "a", encoding="utf-8") as log:
                log.write(f"{sample}\n")
        if sample in self.unreadable:
            raise SourceError(f"i{sample}: is no image")
        image = np.random.default_rng(sample).integers(0, 256, (EDGE, EDGE, 1), np.uint8)
        return image, self.read_mask(sample)

    def read_mask(self, sample):
        mask = np.random.default_rng(sample).integers(0, 3, (EDGE, EDGE), np.uint8)
        mask[-1, -1] = 77 if sample in self.impossible else 0
        return mask


def pack(source, out, **options):
    options = {"split": "s", "workers": 1, "classes": 3, "codec": "raw", **LAYOUT} | options
    return convert(source, out, tile=(TILE, TILE), **options)


def test_a_case_is_decoded_once_for_each_shard_that_it_is_in(tmp_path):
    log = tmp_path / "log"
    pack(Pictures(40, log=str(log)), tmp_path / "o")
    reads = Counter(log.read_text("utf-8").split())
    split = zarr.open_group(tmp_path / "o/s", mode="r")
    shards = np.arange(360) // 20
    keys = [bytes(row).decode() for row in split["case_key"][:]]
    cases = np.repeat([int(key.removeprefix("picture")) for key in keys], 9)
    needed = Counter(str(case) for case, _ in {*zip(cases, shards, strict=True)})
    assert reads == needed
    assert reads.total() <= 40 + 18
    assert verify(tmp_path / "o", workers=1).ok


def test_the_store_does_not_depend_on_workers_failures_or_interruptions(tmp_path):
    source = Pictures(40, unreadable=(3, 20), impossible=(7, 39))
    for workers in (1, 3):
        report = pack(source, tmp_path / str(workers), on_error="skip", workers=workers)
        assert (report.found, report.packed, len(report.skipped)) == (40, 36 * 9, 4)
    for stop in (1, 50, 200, 300):

        def interrupt(what, done, total, stop=stop):
            if what == "packing" and done == stop:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            pack(source, tmp_path / "stopped", on_error="skip", progress=interrupt)
    pack(source, tmp_path / "stopped", on_error="skip")
    assert contents(tmp_path / "1") == contents(tmp_path / "3") == contents(tmp_path / "stopped")
    assert verify(tmp_path / "1", workers=1).ok


def test_the_order_is_said_and_recorded(tmp_path):
    report = pack(Pictures(4), tmp_path / "o", seed=3)
    order = {decision.what: decision for decision in report.decisions}["order"]
    assert order.reason == "cases by seed 3; tiles of a case follow each other"
    packed = zarr.open_group(tmp_path / "o/s", mode="r").attrs["zarrfeed"]["packed"]
    assert {"what": "order", "value": "shuffled", "reason": order.reason} in packed["decisions"]


MEMORY = """
import sys
import numpy as np
from zarrfeed_convert import Header, Source, convert

class Large(Source):
    @property
    def keys(self): return [f"{number:03}" for number in range(32)]
    def describe(self): return {"kind": "large"}
    def names(self, sample): return "i", "m"
    def probe(self, sample): return Header.of_pair((1024, 2048, 3), "uint8", (1024, 2048))
    def read(self, sample):
        image = np.full((1024, 2048, 3), sample, np.uint8)
        return image, self.read_mask(sample)
    def read_mask(self, sample): return np.zeros((1024, 2048), np.uint8)

report = convert(Large(), sys.argv[1], split="s", tile=(128, int(sys.argv[2])),
                 classes=1, workers=1, shard_size=96 << 20, codec="raw")
# (What getrusage says of a process begins with what its parent had.)
status = dict(line.split(":") for line in open("/proc/self/status"))
print(int(status["VmHWM"].split()[0]) << 10)
print(report.decisions[-1].reason)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc for the peak")
@pytest.mark.parametrize("width", [128, pytest.param(2048, marks=pytest.mark.soak)])
def test_a_packer_of_cases_keeps_no_shard_in_memory(tmp_path, width):
    command = [sys.executable, "-c", MEMORY, str(tmp_path / "o"), str(width)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    peak, said = done.stdout.strip().split("\n")
    shard = (96 << 20) * 4 // 3  # image and mask
    stated = float(said.removeprefix("each needs up to ").split(" MiB")[0])
    assert int(peak) < min(shard, stated * (1 << 20))
