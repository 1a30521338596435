"""The pure parts of ``zarrfeed bench``: what is tried, what came out, and what it means."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from zarrfeed import EpochStats
from zarrfeed_tools.bench.bounds import Bound, Limit, best_of, bound_of, judge
from zarrfeed_tools.bench.functions import find_function
from zarrfeed_tools.bench.job import affordable_samples, endless_batches
from zarrfeed_tools.bench.rows import Row, Spread, Turn, between, row_of
from zarrfeed_tools.bench.running import take_turns
from zarrfeed_tools.bench.settings import Setting, argument_text, sweep, worker_counts
from zarrfeed_tools.bench.word_sums import sum_of_words

counts = st.integers(0, 20)
seconds = st.floats(0, 100)
ONE_THREAD, ONE_PROCESS, TWO_PROCESSES = Setting(1, False), Setting(1, True), Setting(2, True)
NO_WORKER = Setting(0, False)


def stats(**parts: float) -> EpochStats:
    defaults = {
        "epoch": 0, "batches": 100, "samples": 800, "nbytes": 10**9, "seconds": 10.0, "waited": 9.0,
        "read": 0.0, "decoded": 0.0, "transformed": 0.0, "idle": 0.0, "rss": 10**8,
    }  # fmt: skip
    return EpochStats(**{**defaults, **parts})


def turn(samples: int = 800, took: float = 10.0, **more: object) -> Turn:
    made = Turn(took, samples, samples * 10**6, (0.01, 0.02), 0.5, 4.0, 10**8, 1, stats())
    return dataclasses.replace(made, **more)


def row(setting: Setting, rate: float, **parts: float) -> Row:
    return row_of(setting, [turn(round(rate * 80), stats=stats(**parts))], batch_size=8)


@given(st.integers(1, 512))
def test_a_default_sweep_has_no_worker_and_no_more_than_cores(cores: int) -> None:
    found = worker_counts(cores)
    assert found[0] == 0
    assert found[-1] == min(cores, 8)
    assert sorted(set(found)) == list(found)


@given(st.lists(counts, min_size=1), st.lists(st.booleans(), min_size=1, max_size=2, unique=True))
def test_a_sweep_tries_every_number_and_kind_once(workers: list[int], kinds: list[bool]) -> None:
    found = sweep(workers, kinds)
    assert len(set(found)) == len(found)
    some = {(count, kind) for count in workers if count for kind in kinds}
    assert {(s.workers, s.processes) for s in found if s.workers} == some
    assert [s for s in found if not s.workers] == ([NO_WORKER] if 0 in workers else [])


def test_settings_are_named_and_written_as_python() -> None:
    assert [str(s) for s in (NO_WORKER, ONE_THREAD, Setting(3, False), TWO_PROCESSES)] == [
        "no worker", "1 thread", "3 threads", "2 processes",
    ]  # fmt: skip
    text = argument_text("s", 4, {"transform": sum, "shuffle": "block", **ONE_THREAD.arguments})
    assert text == "ZarrSequence('s', 4, transform=sum, shuffle='block', workers=1)"


@given(st.lists(st.floats(0.1, 1e6), min_size=1))
def test_a_spread_holds_its_median(values: list[float]) -> None:
    found = Spread.of(values)
    assert found.least <= found.median <= found.most
    assert {found.least, found.most} <= set(values)


def test_a_row_on_paper() -> None:
    """Two turns of 800 and 400 samples in 10 s: 10 and 5 full batches of 8 a second."""
    found = row_of(ONE_THREAD, [turn(800), turn(400, waits=(0.03,))], batch_size=8)
    assert found.batches_per_second == Spread(7.5, 5.0, 10.0)
    assert found.samples_per_second.median == 60
    assert found.megabytes_per_second.most == 80
    assert found.wait_p50 == 0.02
    assert 0.02 < found.wait_p95 < found.wait_p99 < 0.03
    assert found.cpu_per_1000 == pytest.approx(1000 * 8 / 1200)
    assert (found.epochs, found.waited) == (2, 0.9)


@given(st.lists(st.tuples(seconds, seconds, seconds, seconds), min_size=2, max_size=5), st.data())
def test_between_two_looks_is_what_was_added(
    passes: list[tuple[float, ...]], data: st.DataObject
) -> None:
    names = ("waited", "read", "decoded", "transformed")
    after = [stats(**dict(zip(names, parts, strict=True))) for parts in passes]
    seen = data.draw(st.integers(1, len(after) - 1))
    found = between(after[:seen], after, seconds=1000.0, workers=2)
    for place, name in enumerate(names):
        assert getattr(found, name) == pytest.approx(sum(parts[place] for parts in passes[seen:]))
    assert found.samples == 800 * (len(after) - seen)
    busy = found.read + found.decoded + found.transformed
    assert found.idle == pytest.approx(2000 - busy)


def test_the_verdict_names_what_takes_the_workers_time() -> None:
    def bound(python: float = 0.1, setting: Setting = TWO_PROCESSES, **parts: float) -> str:
        reached: dict[Bound, float] = {"memory": 0.4, "decode": 0.5, "python": python}
        return bound_of(row(setting, 10, **parts), reached, cold=False)

    assert bound(decoded=15.0, read=3.0, idle=2.0) == "decode"
    assert bound(transformed=15.0, decoded=5.0) == "transform"
    assert bound(read=15.0, decoded=5.0) == "memory"
    assert bound(read=15.0, python=0.5) == "python"
    assert bound(idle=15.0, read=5.0) == "python"
    assert bound(idle=15.0, read=5.0, waited=0.1) == "consumer"
    assert bound(decoded=20.0, waited=0.1) == "consumer"
    assert bound(decoded=9.0, idle=1.0, setting=NO_WORKER) == "decode"
    assert bound(read=1.0, idle=9.0, waited=1.0, setting=NO_WORKER) == "consumer"


def test_on_cold_data_the_nearer_limit_tells_the_disk_from_decoding() -> None:
    """A mapped file is waited for while its chunks are decoded."""

    def bound(disk: float, decode: float, **parts: float) -> str:
        return bound_of(
            row(ONE_PROCESS, 10, **parts),
            {"disk": disk, "decode": decode, "memory": 1.0},
            cold=True,
        )

    assert bound(0.6, 0.3, decoded=10.0) == "disk"
    assert bound(0.2, 0.7, decoded=10.0) == "decode"
    assert bound(0.6, 0.3, read=10.0) == "disk"
    assert bound(0.6, 0.3, transformed=10.0) == "transform"
    assert (
        bound_of(row(ONE_PROCESS, 10, read=9.0), {"disk": 0.1, "memory": 1.0}, cold=True) == "disk"
    )


rows = st.lists(
    st.builds(
        lambda count, processes, rate: row(Setting(count, processes and count > 0), rate),
        st.integers(0, 4), st.booleans(), st.floats(1, 1000),
    ),
    min_size=1, max_size=8,
)  # fmt: skip


@given(rows)
def test_the_best_setting_is_as_fast_as_any_that_works_ahead(tried: list[Row]) -> None:
    best = best_of(tried)
    able = [r for r in tried if r.setting.workers] or tried
    assert best in able
    rates = [r.batches_per_second.median for r in able]
    assert best.batches_per_second.median >= 0.95 * max(rates)
    as_fast = [r for r, rate in zip(able, rates, strict=True) if rate >= 0.95 * max(rates)]
    assert best.setting.workers == min(r.setting.workers for r in as_fast)


def test_of_settings_that_are_as_fast_the_one_that_costs_a_model_least_is_best() -> None:
    tried = [row(NO_WORKER, 120), row(ONE_THREAD, 99), row(ONE_PROCESS, 98), row(TWO_PROCESSES, 99)]
    assert best_of(tried).setting == ONE_PROCESS
    assert best_of(tried[:1]).setting == NO_WORKER


def test_shares_are_of_each_limit_and_the_fastest_that_was_passed_over_is_named() -> None:
    tried = [row(NO_WORKER, 120, read=10.0), row(ONE_THREAD, 100, read=9.0, idle=1.0)]
    limits = [
        Limit("memory", "copying", Spread.of([125.0])),
        Limit("memory", "copying by more", Spread.of([400.0])),
        Limit("python", "handing out", Spread.of([250.0])),
        Limit("consumer", "looking", Spread.of([1000.0])),
    ]
    found = judge(tried, limits, cold=False)
    assert found.best.setting == ONE_THREAD
    assert found.shares == {
        "copying": 0.8, "copying by more": 0.25, "handing out": 0.4, "looking": 0.1,
    }  # fmt: skip
    assert found.bound == "python"  # which is nearer than memory is to what memory allows
    assert "workers: read 90%" in found.why
    assert found.aside == "no worker made 120 batches/s, but reads nothing while a model computes"
    assert judge(tried, limits[:1], cold=False).bound == "memory"
    assert judge(tried[1:], limits, cold=False).aside == ""


@given(st.integers(1, 20), st.sampled_from([8, 24, 40]), st.randoms())
def test_the_sum_of_words_sees_samples_and_not_their_order(n: int, nbytes: int, rnd) -> None:
    pixels = np.random.default_rng(n).integers(0, 256, (n, nbytes), np.uint8)
    total = sum_of_words([pixels])
    order = rnd.sample(range(n), n)
    cut = rnd.randrange(n + 1)
    assert total == (sum_of_words([pixels[order[:cut]]]) + sum_of_words([pixels[order[cut:]]])) % (
        1 << 64
    )
    pixels[0, 3] ^= 1
    assert sum_of_words([pixels]) != total


def test_every_byte_counts_those_after_the_last_word_too() -> None:
    array = np.zeros(13, np.uint8)
    for place in range(13):
        array[:] = 0
        array[place] = 1
        assert sum_of_words([array]) == 256 ** (place if place < 8 else 0)


@given(st.integers(1, 50), st.integers(1, 20), st.sampled_from([True, False, "block"]))
def test_limits_visit_every_sample_that_full_batches_hold(n: int, size: int, shuffle) -> None:
    size = min(n, size)
    batches = list(itertools.islice(endless_batches(n, size, shuffle, 3), n // size))
    ids = np.concatenate(batches)
    assert {batch.size for batch in batches} == {size}
    assert len(set(ids.tolist())) == ids.size == n // size * size
    assert ids.max() < n


@given(st.integers(1, 1000), st.integers(1, 100), st.integers(1, 10**4))
def test_samples_fit_what_they_may_take(samples: int, each: int, nbytes: int) -> None:
    found = affordable_samples(samples, each, nbytes)
    assert 1 <= found <= samples
    assert found * each <= nbytes or found == 1
    assert found == samples or (found + 1) * each > nbytes


def test_every_round_begins_with_another_way() -> None:
    order: list[str] = []
    said: list[tuple[int, int]] = []
    ways = {name: lambda name=name: order.append(name) for name in "abc"}
    take_turns(ways, 3, lambda step, done, total: said.append((done, total)))
    assert "".join(order) == "abcbcacab"
    assert said == [(done, 9) for done in range(1, 10)]


def test_a_function_is_found_in_the_current_folder(tmp_path, monkeypatch) -> None:
    (tmp_path / "bench_mine.py").write_text(
        "import json\nclass Flip:\n    def __call__(self): ...\n    @staticmethod\n"
        "    def both(): ...\nflip = Flip()\n"
    )
    (tmp_path / "bench_lacks.py").write_text("import bench_not_there\n")
    (tmp_path / "bench_raises.py").write_text("1 / 0\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", ["", *__import__("sys").path])
    assert type(find_function("bench_mine:flip", option="--transform")).__name__ == "Flip"
    assert find_function("bench_mine:Flip.both", option="--transform").__name__ == "both"
    for text, said in {
        "bench_mine": "needed MODULE:FUNCTION",
        ":flip": "needed MODULE:FUNCTION",
        "bench_nothing:flip": "no module 'bench_nothing'; looked for it in",
        "bench_mine:flop": "no 'flop' in bench_mine",
        "bench_mine:json.__name__": "needed a function, found 'bench_mine:json.__name__', a str",
        "bench_lacks:flip": "no module 'bench_not_there', which 'bench_lacks' imports",
        "bench_raises:flip": "raised ZeroDivisionError",
    }.items():
        with pytest.raises(typer.BadParameter, match=r".*") as caught:
            find_function(text, option="--transform")
        assert said in str(caught.value)
