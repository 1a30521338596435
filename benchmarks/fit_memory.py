"""How much memory does ``fit`` take, compared with tf.data and the whole dataset in RAM? Row 4.

Memory is measured in separate runs, because reading it stops a process for a moment.
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
_MOST = 1 / 3  # of the memory of tf.data
_HOW = (
    "memory is that of the process and all of its children, measured every 50 ms: the peak, "
    "including loading, unless a line says *while fitting*. RSS counts the pages of the mapped "
    "store in every process that maps them, although they are page cache, and the batches' memory "
    "twice; *PSS* counts shared pages once; *held* is RSS without pages of files (store and "
    "libraries). *Above the imports* is minus the memory that importing TensorFlow, Keras and "
    "zarrfeed takes. tf.data holds its tensors, and while loading also the array of one field; a "
    "script that keeps its arrays holds the dataset twice."
)
_NAMES = {"rss": "RSS", "pss": "PSS", "uss": "USS", "held": "held"}


def compare_memory(trial: Trial, ours: str, theirs: str) -> list[Figure]:
    """Measure the memory of both ways and of the imports alone."""
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
