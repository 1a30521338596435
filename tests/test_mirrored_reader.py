"""What is read through a mirror is what the remote split holds, whatever comes and goes when."""

from __future__ import annotations

import pickle
import re
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from case_stores import random_case, write_cases
from mirror_trials import URL, DeadMirror, TrialMirror, hook_copies
from stores import traced_pixels, write_split
from zarrfeed.errors import ReadError
from zarrfeed.store.box_plan import BoxPlan
from zarrfeed.store.case_reading import read_case_table
from zarrfeed.store.local_split import open_local_split
from zarrfeed.store.mirror import file_table
from zarrfeed.store.mirror.file_table import FileTable
from zarrfeed.store.mirror.origin import Origin, Remote
from zarrfeed.store.reader import BatchReader, SplitReader
from zarrfeed.store.split import Split

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SAMPLES = 11
QUICK = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    deadline=None,
)
CODECS: dict[str, Any] = {
    "raw": {"compressors": None},
    "lz4": {"compressors": zarr.codecs.BloscCodec(cname="lz4")},
    "zstd": {"compressors": zarr.codecs.ZstdCodec(level=1)},
    "index first": {"compressors": None, "shard_index_location": "start"},
}


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards of a few kilobytes then have several blocks, and blocks several chunks."""
    monkeypatch.setattr(file_table, "BLOCK_NBYTES", 256)


def stored(folder: Path, codec: str, chunk: int) -> Path:
    codecs = dict(CODECS[codec])
    if codecs.pop("shard_index_location", None):
        inner = [zarr.codecs.BytesCodec()]
        path = folder / "start"
        group = zarr.open_group(str(path), mode="w")
        for name, values in traced_pixels(SAMPLES).items():
            array = group.create_array(
                name, shape=values.shape, dtype=values.dtype, filters=None, compressors=None,
                chunks=(4, *values.shape[1:]),
                serializer=zarr.codecs.ShardingCodec(
                    chunk_shape=(chunk, *values.shape[1:]), codecs=inner, index_location="start"
                ),
            )  # fmt: skip
            array[:] = values
        return path
    return write_split(folder / "plain", traced_pixels(SAMPLES), chunk=chunk, **codecs)


@pytest.fixture(scope="module", params=[(c, n) for c in CODECS for n in (1, 2)], ids=str)
def original(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, NDArray[Any]]]:
    path = stored(tmp_path_factory.mktemp("original"), *request.param)
    with SplitReader(open_local_split(path)) as reader:
        return path, reader.read(range(SAMPLES))


def arrays_for(ids: NDArray[np.int64], true: dict[str, NDArray[Any]]) -> list[NDArray[Any]]:
    return [np.full_like(values[:1], 99).repeat(ids.size, 0) for values in true.values()]


class Trouble:
    """Evicts blocks right before a copy, and may bring them back, or others, right after it."""

    def __init__(self, mirror: TrialMirror, plan: list[tuple[list[int], bool]]) -> None:
        self.mirror, self.plan, self.gone = mirror, plan, None
        self.came = 0

    def before(self) -> None:
        self.gone = None
        if self.plan:
            blocks, back = self.plan.pop()
            self.came += 1
            self.mirror.evict(blocks)
            self.gone = blocks if back else None

    def after(self) -> None:
        if self.gone is not None:
            self.mirror.deliver(self.gone)


@settings(QUICK, max_examples=15)
@given(data=st.data())
def test_batches_are_those_of_the_origin(
    data: st.DataObject, original: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path, true = original
    mirror = TrialMirror(path, tmp_path_factory.mktemp("mirror") / "train", true)
    blocks = st.lists(st.integers(0, mirror.files.blocks - 1), max_size=mirror.files.blocks)
    everything = st.just(list(range(mirror.files.blocks)))
    mirror.deliver(data.draw(blocks | everything))
    some = st.tuples(blocks | everything, st.booleans())
    trouble = Trouble(mirror, data.draw(st.lists(some, max_size=6)))
    reader = BatchReader(mirror.split, list(true), cache_nbytes=data.draw(st.integers(0, 2000)))
    hook_copies(reader, trouble.before, trouble.after)
    ids = st.lists(st.integers(0, SAMPLES - 1), min_size=1, max_size=7)
    for batch in data.draw(st.lists(ids, min_size=1, max_size=4)):
        wanted = np.array(batch, np.int64)
        out = arrays_for(wanted, true)
        reader.prefetch(wanted)
        reader.read_into(wanted, out)
        for array, values in zip(out, true.values(), strict=True):
            np.testing.assert_array_equal(array, values[wanted])


@settings(QUICK, max_examples=25)
@given(data=st.data(), codec=st.sampled_from(["raw", "lz4", "zstd"]), chunk=st.sampled_from([1, 2]))
def test_boxes_are_those_of_the_origin(
    data: st.DataObject, codec: str, chunk: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("cases")
    sizes = [(9, 14), (5, 5), (17, 8)]
    cases = {f"case{i}": random_case(size, "int16", 2, i) for i, size in enumerate(sizes)}
    path = write_cases(folder / "origin", cases, (4, 5), chunk=chunk, **CODECS[codec])
    mirror = TrialMirror(path, folder / "train", ["image", "mask"])
    blocks = st.lists(st.integers(0, mirror.files.blocks - 1), max_size=mirror.files.blocks)
    everything = st.just(list(range(mirror.files.blocks)))
    mirror.deliver(data.draw(blocks | everything))
    trouble = Trouble(mirror, data.draw(st.lists(st.tuples(blocks, st.booleans()), max_size=6)))
    reader = BatchReader(mirror.split, ["image", "mask"], cache_nbytes=1000)
    hook_copies(reader, trouble.before, trouble.after)
    table = read_case_table(mirror.split)
    for number, case in data.draw(st.lists(st.sampled_from(list(enumerate(cases.values()))))):
        box = []
        for extent in sizes[number]:
            start = data.draw(st.integers(0, extent - 1))
            box.append(slice(start, data.draw(st.integers(start + 1, extent))))
        plan = BoxPlan.of_box(int(table.first_tile[number]), table.grid(number), box)
        true = [values[tuple(box)] for values in case.values()]
        out = [np.full_like(values, 99) for values in true]
        reader.read_box_into(plan, out)
        for array, values in zip(out, true, strict=True):
            np.testing.assert_array_equal(array, values)


def test_what_is_whole_is_read_without_asking(original: Any, tmp_path: Path) -> None:
    path, true = original
    mirror = TrialMirror(path, tmp_path / "train", true)
    ids = np.arange(SAMPLES)
    reader = BatchReader(mirror.split, list(true))
    reader.read_into(ids, arrays_for(ids, true))
    assert mirror.required > 0
    mirror.deliver(range(mirror.files.blocks))
    mirror.required = 0
    for _ in range(3):
        reader.read_into(ids, arrays_for(ids, true))
    assert not mirror.required


def test_readers_that_are_always_disturbed_say_so(original: Any, tmp_path: Path) -> None:
    path, true = original
    mirror = TrialMirror(path, tmp_path / "train", true)
    reader = BatchReader(mirror.split, list(true))
    everything = range(mirror.files.blocks)
    hook_copies(reader, lambda: mirror.evict(everything), lambda: None)
    ids = np.arange(2)
    with pytest.raises(ReadError, match="20 times while they were read: give a larger cache_limit"):
        reader.read_into(ids, arrays_for(ids, true))


@pytest.mark.parametrize("codec", ["raw", "lz4"])
def test_batches_are_right_while_another_thread_evicts(codec: str, tmp_path: Path) -> None:
    path, true = stored(tmp_path, codec, 2), traced_pixels(SAMPLES)
    mirror = TrialMirror(path, tmp_path / "train", true)
    lock = threading.Lock()  # the fetcher does one thing after the other
    deliver = mirror.deliver

    def deliver_alone(blocks: Any) -> None:
        with lock:
            deliver(blocks)

    mirror.deliver = deliver_alone  # type: ignore[method-assign]
    done = threading.Event()
    rng = np.random.default_rng(0)

    def evict() -> None:
        while not done.wait(0.01):
            with lock:
                mirror.evict(rng.integers(0, mirror.files.blocks, 4))

    thread = threading.Thread(target=evict)
    thread.start()
    try:
        reader = BatchReader(mirror.split, list(true))
        order = np.random.default_rng(1)
        for _ in range(300):
            ids = order.integers(0, SAMPLES, 5)
            out = arrays_for(ids, true)
            reader.read_into(ids, out)
            for array, values in zip(out, true.values(), strict=True):
                np.testing.assert_array_equal(array, values[ids])
    finally:
        done.set()
        thread.join()
    assert mirror.table.evictions > 10


def test_wrong_bytes_are_an_error_that_names_the_address(tmp_path: Path) -> None:
    pixels = traced_pixels(SAMPLES)
    path = write_split(tmp_path / "origin", pixels, **CODECS["lz4"])
    mirror = TrialMirror(path, tmp_path / "train", pixels)
    mirror.deliver(range(mirror.files.blocks), lambda data: bytes(len(data)))
    reader = BatchReader(mirror.split, ["image"])
    ids = np.arange(2)
    with pytest.raises(ReadError) as caught:
        reader.read_into(ids, arrays_for(ids, {"image": pixels["image"]}))
    said = str(caught.value)
    assert f"{URL}/image/c/0/0/0/0: chunk 0 (sample 0 of 'image') is damaged" in said
    assert said.count(str(mirror.folder)) == 1
    assert f"(mirrored in {mirror.folder})" in said


@pytest.mark.parametrize("whole", [False, True])
def test_bytes_that_cannot_be_decoded_are_fetched_again(whole: bool, tmp_path: Path) -> None:
    path, true = stored(tmp_path, "zstd", 1), traced_pixels(SAMPLES)
    mirror = TrialMirror(path, tmp_path / "mirror" / "train", true)
    mirror.trusts = False
    blocks = range(mirror.files.blocks if whole else mirror.files.blocks - 1)
    mirror.indexes(mirror.folder, np.arange(mirror.files.files))
    mirror.deliver(blocks, lambda content: bytes(len(content)))
    mirror.indexes(mirror.folder, np.arange(mirror.files.files))
    ids = np.arange(SAMPLES)
    out = arrays_for(ids, true)
    BatchReader(mirror.split, list(true)).read_into(ids, out)
    for array, values in zip(out, true.values(), strict=True):
        np.testing.assert_array_equal(array, values)
    assert mirror.required


def test_a_fetcher_that_does_not_answer_is_an_error(original: Any, tmp_path: Path) -> None:
    path, true = original
    mirror = DeadMirror(path, tmp_path / "train", true)
    reader = BatchReader(mirror.split, list(true))
    with pytest.raises(ReadError, match=re.escape(f"blocks of {URL}: did not come within 1 s")):
        reader.read_into(np.arange(2), arrays_for(np.arange(2), true))


def test_options_are_shown_nowhere(original: Any, tmp_path: Path) -> None:
    path, true = original
    split = TrialMirror(path, tmp_path / "train", true).split
    assert split.origin is not None
    for text in (repr(split), str(split), repr(split.origin), repr(split.origin.remote)):
        assert "XYZZY" not in text
    for text in (repr(split.origin), repr(split.origin.remote)):
        assert "secret_access_key" in text


def test_a_mirrored_split_can_be_pickled() -> None:
    origin = Origin(URL, Remote.of("/cache", 5), FileTable(("a",), 1, [5], [7]))
    split = Split(None, {}, {}, {}, origin=origin)  # type: ignore[arg-type]
    again = pickle.loads(pickle.dumps(split)).origin
    assert again.url == URL
    assert again.remote == origin.remote
    assert again.files.blocks == 1
