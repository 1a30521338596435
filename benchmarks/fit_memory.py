"""What does ``fit`` hold in memory, beside tf.data with the whole dataset in RAM? Of row 4.

In runs of their own: looking at a process stops it for a moment.
"""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

import children
from figures import Figure, quantity, ratio
from memory import Memory

if TYPE_CHECKING:
    from trial import Trial

_RUNS = 2  # memory hardly varies
_MOST = 1 / 3  # of theirs
_HOW = (
    "memory is that of the process and all that it started, looked at every 50 ms; at its peak, "
    "loading included, unless a line says *while fitting*. RSS counts the pages of our mapped "
    "store in every process that maps them, although they are page cache, and the batches' memory "
    "twice; *PSS* counts shared pages once; *held* is RSS without pages of files, neither the "
    "store's nor those of libraries. *Above the imports* is less what importing TensorFlow, Keras "
    "and zarrfeed takes. tf.data holds its tensors alone, and one field's array beside them while "
    "loading; a script that keeps its arrays holds the dataset once more."
)
_NAMES = {"rss": "RSS", "pss": "PSS", "uss": "USS", "held": "held"}


def compare_memory(trial: Trial, ours: str, theirs: str) -> list[Figure]:
    """Run both, and the base of both, and look."""
    runs = {
        way: [children.run_watched("keras_fit.py", way, trial.to_json()) for _ in range(_RUNS)]
        for way in (ours, theirs, "constant", "nothing")
    }
    at_peak = {way: [peak for peak, _ in found] for way, found in runs.items()}
    fitting = {way: [later for _, later in found] for way, found in runs.items()}
    versus = f"{ours} / {theirs}"
    base = at_peak["nothing"]
    return [
        ratio(
            4,
            f"peak RSS, {versus}",
            _kind(at_peak[ours], "rss"),
            _kind(at_peak[theirs], "rss"),
            at_most=_MOST,
            how=_HOW,
        ),
        *_ratios(f"peak {{}}, {versus}", at_peak[ours], at_peak[theirs], "pss", "uss", "held"),
        *_ratios(f"{{}} while fitting, {versus}", fitting[ours], fitting[theirs], "rss", "pss"),
        *_ratios(
            f"peak {{}} above the imports, {versus}",
            _less(at_peak[ours], base),
            _less(at_peak[theirs], base),
            "rss",
            "pss",
            "held",
        ),
        *(
            quantity(4, f"peak {_NAMES[kind]}, {_said(way)}", "MB", _kind(found, kind))
            for way, found in at_peak.items()
            for kind in ("rss", "pss", "held")
        ),
    ]


def _ratios(what: str, over: list[Memory], under: list[Memory], *kinds: str) -> list[Figure]:
    return [
        ratio(4, what.format(_NAMES[kind]), _kind(over, kind), _kind(under, kind)) for kind in kinds
    ]


def _kind(found: list[Memory], kind: str) -> list[float]:
    return [getattr(memory, kind) / 1e6 for memory in found]


def _less(found: list[Memory], base: list[Memory]) -> list[Memory]:
    return [
        Memory(*(getattr(one, f.name) - getattr(other, f.name) for f in fields(Memory)))
        for one, other in zip(found, base, strict=True)
    ]


def _said(way: str) -> str:
    return "the imports alone" if way == "nothing" else f"fit, {way}"
