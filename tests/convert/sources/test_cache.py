"""What was read is kept within bounds, made once, and stays behind when a source travels."""

from __future__ import annotations

import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from zarrfeed_convert.sources.cache import Cache


def test_the_last_things_are_kept_within_the_bound():
    made = []
    kept = Cache(10, int)

    def ask(weight):
        return kept.get(weight, lambda: made.append(weight) or weight)

    assert [ask(4), ask(5), ask(4), ask(1)] == [4, 5, 4, 1]
    assert made == [4, 5, 1]
    ask(3)  # 5 was asked for longest ago
    ask(4)
    assert made == [4, 5, 1, 3]
    ask(5)
    assert made == [4, 5, 1, 3, 5]


def test_two_things_are_kept_whatever_they_weigh():
    made = []
    kept = Cache(1, int)
    for weight in (100, 200, 100, 200, 100):
        kept.get(weight, lambda weight=weight: made.append(weight) or weight)
    assert made == [100, 200]


def test_what_threads_ask_for_at_once_is_made_once():
    begun, made = threading.Barrier(4), []
    kept = Cache(10, int)

    def ask():
        begun.wait()
        return kept.get("x", lambda: made.append(1) or 7)

    with ThreadPoolExecutor(4) as pool:
        assert [future.result() for future in [pool.submit(ask) for _ in range(4)]] == [7] * 4
    assert made == [1]


def test_a_failure_is_not_kept():
    kept = Cache(10, int)

    def fail():
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        kept.get("x", fail)
    assert kept.get("x", lambda: 3) == 3


def test_it_travels_empty():
    kept = pickle.loads(pickle.dumps(Cache(10, int)))
    assert kept.get("x", lambda: 3) == 3
