"""How much is under way: no more memory than there is, no more batches than help."""

from __future__ import annotations

import itertools
import resource
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

from stores import traced_pixels, write_split
from zarrfeed import ZarrSequence, machine_memory
from zarrfeed.feed.feeder import HELD
from zarrfeed.feed.lookahead import Lookahead
from zarrfeed.feed.workers import batch_maker
from zarrfeed.machine_memory import affordable_depth, free_memory, total_memory
from zarrfeed.store.chunk_table import merge_ranges
from zarrfeed.store.file_limits import descriptors_each, share_of
from zarrfeed.store.reader import BatchReader

if TYPE_CHECKING:
    from pathlib import Path


@given(st.integers(1, 1000), st.integers(1, 10**9), st.integers(0, 10**12))
def test_the_depth_fits_half_of_the_free_memory_or_is_one(
    depth: int, slot_nbytes: int, available: int
) -> None:
    found = affordable_depth(depth, slot_nbytes, available, held=HELD)
    assert 1 <= found <= depth
    assert found == 1 or (found + HELD) * slot_nbytes <= available / 2
    if found < depth:  # one more would not have fitted
        assert (found + 1 + HELD) * slot_nbytes > available / 2 - 1


def test_little_memory_means_fewer_slots_and_a_warning_with_the_arithmetic(
    split: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Little:
        available = 2 * 7 * 4096  # half of it is seven slots of a page

    monkeypatch.setattr(psutil, "virtual_memory", Little)
    with ZarrSequence(split, 2, workers=2) as seq:
        with pytest.warns(RuntimeWarning, match=r"\(10 \+ 4\) batches × 4,096 bytes = 57,344"):
            batches: list[Any] = list(seq)
        assert len(batches) == 11


V1 = {"limit": "memory.limit_in_bytes", "used": "memory.usage_in_bytes", "stat": "total_inactive_"}
V2 = {"limit": "memory.max", "used": "memory.current", "stat": "inactive_"}


@pytest.mark.parametrize("root_only", [False, True])  # a container sees no group by its path
@pytest.mark.parametrize(
    ("line", "folder", "names"), [("4:memory:/job/step", "memory", V1), ("0::/job/step", "", V2)]
)
def test_the_memory_of_a_container_is_its_own(
    line: str,
    folder: str,
    names: dict[str, str],
    root_only: bool,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    (tmp_path / "cgroup").write_text(f"9:name=systemd:/\n{line}\n")
    group = tmp_path / folder / ("" if root_only else "job")
    (group / "step").mkdir(parents=True)
    (group / names["limit"]).write_text("5000000\n")
    (group / names["used"]).write_text("4000000\n")
    (group / "memory.stat").write_text(f"anon 7\n{names['stat']}file 1500000\n")
    (group / "step" / names["limit"]).write_text("max\n")
    monkeypatch.setattr(machine_memory, "_GROUP", tmp_path / "cgroup")
    monkeypatch.setattr(machine_memory, "_GROUPS", tmp_path)
    total_memory.cache_clear()
    try:
        assert (total_memory(), free_memory()) == (5_000_000, 2_500_000)
    finally:
        total_memory.cache_clear()


def test_without_control_groups_the_memory_is_the_machines(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(machine_memory, "_GROUP", tmp_path / "none")
    total_memory.cache_clear()
    try:
        assert abs(total_memory() - psutil.virtual_memory().total) < 1 << 20
        assert 0 < free_memory() < total_memory()
    finally:
        total_memory.cache_clear()


@given(st.integers(0, 1 << 14), st.integers(0, 64))
def test_workers_leave_the_process_descriptors_of_its_own(limit: int, workers: int) -> None:
    threads = share_of(limit, workers, processes=False)
    assert threads == 8 or threads * max(1, workers) <= limit / 4
    assert share_of(limit, workers, processes=True) == max(8, limit // 2)


@pytest.mark.parametrize("limit", [256, resource.RLIM_INFINITY])
def test_the_limit_of_open_files_is_the_systems(
    monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))
    assert descriptors_each(2, processes=True) == (128 if limit == 256 else 8192)


moments = st.tuples(st.floats(0, 9), st.floats(0, 1), st.floats(0, 3))


@given(st.integers(1, 5), st.integers(0, 20), st.lists(moments, max_size=100))
def test_the_lookahead_stays_within_its_bounds(
    least: int, more: int, notes: list[tuple[float, float, float]]
) -> None:
    ahead = Lookahead(least=least, most=least + more, workers=2)
    for seconds, share, worked in notes:
        ahead.note(seconds=seconds, waited=seconds * share, worked=worked)
        assert least <= ahead.batches <= least + more


def after(ahead: Lookahead, *, waited: float, worked: float) -> int:
    for _ in range(200):
        ahead.note(seconds=1.0, waited=waited, worked=worked)
    return ahead.batches


def test_the_lookahead_grows_only_where_it_helps() -> None:
    ahead = Lookahead(least=2, most=10, workers=2)
    assert after(ahead, waited=0.01, worked=0.5) == 2  # the model is the limit
    assert after(ahead, waited=0.5, worked=0.5) == 10  # workers starve while the consumer waits
    assert after(ahead, waited=0.01, worked=0.5) == 10
    assert after(ahead, waited=0.5, worked=1.9) == 2  # the workers are the limit


@pytest.mark.parametrize("workers", [{"workers": 0}, {"workers": 2}], ids=str)
def test_a_disk_that_was_waited_for_is_prefetched(
    split: Path, monkeypatch: pytest.MonkeyPatch, workers: dict[str, Any]
) -> None:
    """Every batch after the first that waited carries the ids of one further ahead."""
    waits = itertools.count()
    prefetched: list[list[int]] = []
    monkeypatch.setattr(batch_maker, "_disk_reads", lambda: next(waits))
    monkeypatch.setattr(BatchReader, "prefetch", lambda self, ids: prefetched.append(ids.tolist()))
    with ZarrSequence(split, 2, max_queue_size=3, seed=1, **workers) as seq:
        order = [mask[:, 0, 0].tolist() for _ in range(2) for _, mask in seq]
    assert len(prefetched) > 11
    at = sorted(order.index(ids) for ids in prefetched if ids in order)
    assert at == list(range(at[0], len(order)))


def test_a_store_in_the_page_cache_is_not_prefetched(
    split: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_maker, "_disk_reads", lambda: 0)
    monkeypatch.setattr(BatchReader, "prefetch", lambda self, ids: pytest.fail("prefetched"))
    with ZarrSequence(split, 2, workers=1) as seq:
        assert len(list(seq)) == 11


@pytest.mark.parametrize("codec", ["raw", "blosc"])
def test_batches_that_were_prefetched_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, codec: str
) -> None:
    pixels = traced_pixels(22)
    compressors = None if codec == "raw" else zarr.codecs.BloscCodec(cname="lz4")
    path = write_split(tmp_path / "s", pixels, compressors=compressors)
    waits = itertools.count()
    monkeypatch.setattr(batch_maker, "_disk_reads", lambda: next(waits))
    with ZarrSequence(path, 4, workers=1, max_queue_size=2) as seq:
        for _ in range(2):
            for image, mask in seq:
                assert np.array_equal(image, pixels["image"][mask[:, 0, 0]])


ranges = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 10**6), st.integers(1, 10**5)), max_size=30
)


@given(ranges)
def test_ranges_that_are_prefetched_hold_all_that_is_needed_and_little_more(
    wanted: list[tuple[int, int, int]],
) -> None:
    wanted = sorted(wanted)
    shard, start, nbytes = np.array(wanted, np.int64).reshape(-1, 3).T
    found = merge_ranges(shard, start, start + nbytes)
    for one, begin, size in wanted:
        assert any(s == one and a <= begin and begin + size <= b for s, a, b in found)
    for s, a, b in found:  # nowhere a gap that is worth a request of its own
        inside = [(x, x + n) for one, x, n in wanted if one == s and a <= x and x + n <= b]
        reached = a
        for begin, end in inside:
            assert begin - reached <= 64 << 10
            reached = max(reached, end)
        assert reached == b
