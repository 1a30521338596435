"""Fork while a sequence is in use: `python fork_client.py SPLIT KIND`, a kind of :mod:`kinds`.

Prints what was wrong. A process of its own: with TensorFlow loaded nobody should fork.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

import transforms
from kinds import KINDS, children, ids_of
from stores import traced_pixels
from zarrfeed import ZarrSequence

if TYPE_CHECKING:
    from collections.abc import Callable

warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
pixels = traced_pixels(22)
split, kind = sys.argv[1], KINDS[sys.argv[2]]
options: dict[str, Any] = {"seed": 3, "transform": transforms.noisy}
with ZarrSequence(split, 2, workers=0, **options) as plain:
    expected = [[(image.copy(), ids_of((image, mask))) for image, mask in plain] for _ in range(3)]


def in_a_child(work: Callable[[], Any]) -> Callable[[], Any]:
    """Begin in a forked child; what is returned waits for what the work returns."""
    theirs, ours = os.pipe()
    pid = os.fork()
    if not pid:
        signal.alarm(60)  # a hang ends
        os.close(theirs)
        try:
            with os.fdopen(ours, "wb") as pipe:
                pickle.dump(work(), pipe)
        finally:
            sys.exit(0)  # as a script ends, finalisers and all
    os.close(ours)

    def answer() -> Any:
        with os.fdopen(theirs, "rb") as pipe:
            said = pipe.read()
        _, status = os.waitpid(pid, 0)
        return pickle.loads(said) if said else f"ended with {status}"

    return answer


def taken(batches: Any) -> list[tuple[np.ndarray, list[int]]]:
    return [(image.copy(), ids_of((image, mask))) for image, mask in batches]


def same(found: Any, wanted: list[tuple[np.ndarray, list[int]]]) -> bool:
    return (
        isinstance(found, list)
        and [ids for _, ids in found] == [ids for _, ids in wanted]
        and all(np.array_equal(a, b) for (a, _), (b, _) in zip(found, wanted, strict=True))
    )


def require(claim: str, holds: bool) -> None:
    if not holds:
        print("not so:", claim, flush=True)


seq = ZarrSequence(split, 2, max_queue_size=3, **kind, **options)
batches = iter(seq)
first = taken(next(batches) for _ in range(3))
held = next(batches)
content = held[0].copy()
before = {child.pid for child in children()}


def hold(image: np.ndarray) -> bool:
    time.sleep(0.5)  # the parent goes on meanwhile
    kept = np.array_equal(image, content)
    image[...] = 0  # which is nobody else's business
    return kept


goes_on = in_a_child(lambda: taken(batches))
anew = in_a_child(lambda: [taken(seq) for _ in range(2)])
items = in_a_child(lambda: taken(seq[i] for i in range(11)))
holds = in_a_child(lambda image=held[0]: hold(image))
closes = in_a_child(seq.close)
first.append((held[0].copy(), ids_of(held)))
del held
rest = taken(batches)
require("the parent's epoch is whole", same(first + rest, expected[0]))
require("a child goes on with an iterator", same(goes_on(), expected[0][4:]))
found = anew()
for epoch in range(2):
    require("a child's epochs are its own", same(found[epoch : epoch + 1][0], expected[epoch]))
require("a child's items are right", same(items(), expected[0]))
require("a batch that a child holds stays as it is", holds() is True)
require("a child may close", closes() is None)
require("the parent's next epoch is right", same(taken(seq), expected[1]))
require("nobody ended the parent's workers", {child.pid for child in children()} == before)

# In the middle of whatever another thread does.
going = True


def read() -> None:
    while going:
        for _ in seq:
            pass
        seq[0]


reader = threading.Thread(target=read)
reader.start()
answers = []
for _ in range(4):
    time.sleep(0.01)
    answers.append(in_a_child(lambda: (seq.set_epoch(2), taken(seq), taken([seq[1]]))[1]))
for answer in answers:
    require("a fork at any moment is right", same(answer(), expected[2]))
going = False
reader.join()
seq.set_epoch(2)
require("the parent is right ever after", same(taken(seq), expected[2]))


def item(index: int) -> list[int]:
    return ids_of(seq[index])


seq.set_epoch(1)
with multiprocessing.get_context("fork").Pool(2) as pool:
    require("a pool reads items", pool.map(item, range(11)) == [ids for _, ids in expected[1]])
seq.close()
require("nothing is left", not children())
print("done")
