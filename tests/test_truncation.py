"""A shard that is cut while it is being copied is an error, and never the end of the process."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
from zarr import codecs

from case_stores import write_cases
from scripts import running
from stores import write_split

if TYPE_CHECKING:
    from pathlib import Path

# Samples of 48 kB in any codec: several pages each, so that some lie behind the cut.
PIXELS = {"image": np.random.default_rng(4).integers(0, 256, (16, 128, 128, 3), np.uint8)}

CUT_IN_THE_COPY = """
import os, pathlib, sys
import numpy as np
from zarrfeed import ReadError, SplitReader, open_split
from zarrfeed.store.shard_files import ShardFiles

store = pathlib.Path(sys.argv[1])
shard = store / "image/c/1/0/0/0"
whole = shard.read_bytes()
size = int(sys.argv[2])
right = SplitReader(open_split(store), ["image"]).read(range(16))["image"]
reader = SplitReader(open_split(store), ["image"])
reader.read(range(16))

def cutting(call):
    def cut(*arguments, **options):
        answer = call(*arguments, **options) if call is not np_take else None
        os.truncate(shard, size)
        if len(sys.argv) > 3:
            answer = call(*arguments, **options) if call is np_take else answer
            shard.write_bytes(whole)  # as long as before, but what was copied are zeros
            return answer
        return call(*arguments, **options) if call is np_take else answer
    return cut

np_take, data = np.take, ShardFiles.data
np.take, ShardFiles.data = cutting(np.take), cutting(ShardFiles.data)
try:
    found = reader.read([0, 4, 5, 6, 7, 12])["image"]
    assert np.array_equal(found, right[[0, 4, 5, 6, 7, 12]]), "wrong pixels"
    print("read")
except ReadError as error:
    print(error)
np.take, ShardFiles.data = np_take, data
for _ in range(2):
    try:
        reader.read([4, 5, 6, 7])
        print("read")
    except ReadError as error:
        print(error)
shard.write_bytes(whole)
assert np.array_equal(reader.read(range(16))["image"], right)
"""

LAYOUTS = {
    "raw": {"compressors": None},
    "raw with crc32c": {"compressors": codecs.Crc32cCodec()},
    "zstd": {"compressors": codecs.ZstdCodec(level=0)},
    "lz4": {"compressors": codecs.BloscCodec(cname="lz4", shuffle="noshuffle")},
    "gzip": {"compressors": codecs.GzipCodec(level=1)},
}


@pytest.mark.parametrize("size", [0, 60_001])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_shard_cut_while_it_is_copied_is_named(layout: str, size: int, tmp_path: Path) -> None:
    store = write_split(tmp_path / "train", PIXELS, **LAYOUTS[layout])
    with running(CUT_IN_THE_COPY, store, size) as script:
        said, errors = script.communicate(timeout=60)
    assert script.returncode == 0, errors
    assert len(said.splitlines()) == 3
    for line in said.splitlines():
        assert "image/c/1/0/0/0: " in line
        assert "truncated" in line


def test_zeros_in_the_place_of_a_cut_are_never_read_as_pixels(tmp_path: Path) -> None:
    """The file is as long as before when it is looked at again."""
    store = write_split(tmp_path / "train", PIXELS, compressors=None)
    with running(CUT_IN_THE_COPY, store, 0, "and grow") as script:
        said, errors = script.communicate(timeout=60)
    assert script.returncode == 0, errors
    assert "truncated" in said.splitlines()[0]
    assert said.splitlines()[1:] == ["read", "read"]


CUT_IN_A_BOX = """
import os, pathlib, sys
import numpy as np
from zarrfeed import ReadError, open_case
from zarrfeed.store.mapped_shards import MappedShards
from zarrfeed.store.shard_files import ShardFiles

store, size = pathlib.Path(sys.argv[1]), int(sys.argv[2])
shard = store / "image/c/1/0/0/0"
whole = shard.read_bytes()
case = open_case(store, "a")
right = np.asarray(case)

def cutting(call):
    def cut(*arguments):
        answer = call(*arguments)
        os.truncate(shard, size)
        return answer
    return cut

position, data = MappedShards.positions, ShardFiles.data  # what is called before a copy
MappedShards.positions, ShardFiles.data = cutting(position), cutting(data)
for attempt in range(3):
    try:
        case[100:300, 20:]
        print("read")
    except ReadError as error:
        print(error)
    MappedShards.positions, ShardFiles.data = position, data
shard.write_bytes(whole)
assert np.array_equal(case[100:300, 20:], right[100:300, 20:])
"""


@pytest.mark.parametrize("size", [0, 60_001])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_shard_cut_while_a_box_is_copied_is_named(layout: str, size: int, tmp_path: Path) -> None:
    image = np.random.default_rng(4).integers(0, 256, (512, 512, 3), np.uint8)
    options = LAYOUTS[layout]
    store = write_cases(tmp_path / "train", {"a": {"image": image}}, (128, 128), **options)
    with running(CUT_IN_A_BOX, store, size) as script:
        said, errors = script.communicate(timeout=60)
    assert script.returncode == 0, errors
    assert len(said.splitlines()) == 3
    for line in said.splitlines():
        assert "image/c/1/0/0/0: " in line
        assert "truncated" in line
        assert line.endswith("(read for case 'a') (look up: damaged-store)")


CUT_UNDER_THREADS = """
import os, pathlib, sys, threading
import numpy as np
from zarrfeed import ReadError, SplitReader, open_split

store = pathlib.Path(sys.argv[1])
shards = sorted(store.glob("image/c/*/0/0/0"))
whole = [shard.read_bytes() for shard in shards]
right = SplitReader(open_split(store), ["image"]).read(range(16))["image"]
errors = [0, 0, 0]
rounds = 60
over = threading.Event()

def read(number):
    rng = np.random.default_rng(number)
    reader = SplitReader(open_split(store), ["image"])
    while not over.is_set():
        ids = rng.integers(0, 16, 8)
        try:
            found = reader.read(ids)["image"]
        except ReadError:
            errors[number] += 1
            reader = SplitReader(open_split(store), ["image"])
            continue
        assert np.array_equal(found, right[ids])

threads = [threading.Thread(target=read, args=[number]) for number in range(3)]
failed = []
threading.excepthook = lambda about: failed.append(about)
for thread in threads:
    thread.start()
rng = np.random.default_rng(9)
for number in range(rounds):
    shard = number % len(shards)
    os.truncate(shards[shard], int(rng.integers(0, len(whole[shard]))))
    over.wait(0.005)
    shards[shard].with_name("new").write_bytes(whole[shard])
    shards[shard].with_name("new").rename(shards[shard])
over.set()
for thread in threads:
    thread.join()
assert not failed, failed
print(sum(errors))
"""


@pytest.mark.parametrize("layout", ["raw", "zstd"])
def test_shards_cut_under_reading_threads_end_no_process(layout: str, tmp_path: Path) -> None:
    store = write_split(tmp_path / "train", PIXELS, **LAYOUTS[layout])
    with running(CUT_UNDER_THREADS, store) as script:
        said, errors = script.communicate(timeout=100)
    assert script.returncode == 0, errors
    assert said.strip().isdigit()


IN_THREADS = """
import gc, sys, threading, weakref
from zarrfeed import SplitReader, open_split

readers, failed = [], []
threading.excepthook = failed.append

def read():
    reader = SplitReader(open_split(sys.argv[1]), ["image"])
    reader.read(range(16))
    readers.append(reader)

def mapped():
    with open("/proc/self/maps") as maps:
        return sum(sys.argv[1] in line for line in maps)

for _ in range(3):
    thread = threading.Thread(target=read)
    thread.start()
    thread.join()
assert not failed, failed
assert mapped() > 0
# The interpreter goes through this as it exits, whatever other threads map at that moment.
assert not weakref.finalize._registry
readers[1:] = []
gc.collect()
print(mapped())
readers[0].close()
gc.collect()
print(mapped())
readers[0].read(range(16))  # and what is mapped now stays to the end
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("layout", ["raw", "zstd"])
def test_files_are_unmapped_when_they_are_closed_and_not_at_exit(
    layout: str, tmp_path: Path
) -> None:
    store = write_split(tmp_path / "train", PIXELS, **LAYOUTS[layout])
    with running(IN_THREADS, store) as script:
        said, errors = script.communicate(timeout=60)
    assert (script.returncode, errors) == (0, "")
    one, none = map(int, said.split())
    assert one > none == 0


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing is caught")
@pytest.mark.parametrize("kind", ["sent", "a file of somebody else"])
def test_other_bus_errors_end_the_process_as_ever(kind: str, tmp_path: Path) -> None:
    store = write_split(tmp_path / "train", PIXELS, compressors=None)
    script = f"""
import mmap, os, signal
from zarrfeed import read_samples, open_split
from zarrfeed.store.reader import SplitReader
reader = SplitReader(open_split({str(store)!r}))
reader.read([0])
if {kind == "sent"}:
    os.kill(os.getpid(), signal.SIGBUS)
else:
    with open({str(tmp_path / "other")!r}, "w+b") as file:
        file.write(bytes(9000))
        file.flush()
        mapped = mmap.mmap(file.fileno(), 9000)
        os.ftruncate(file.fileno(), 0)
        mapped[0:9000]
"""
    ended = subprocess.run([sys.executable, "-c", script], timeout=60, check=False)
    assert ended.returncode == -signal.SIGBUS
