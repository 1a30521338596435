"""What do notebooks show of a sequence?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zarrfeed.feed.batch_structure import outputs_of
from zarrfeed.feed.workers.batch_spec import function_name
from zarrfeed.fronts.sequence_views import sequence_views
from zarrfeed.pictures.palette import Palette
from zarrfeed.views.drawn_arrays import Drawing, View
from zarrfeed.views.notebook_page import LARGEST, PICTURES, NotebookPage
from zarrfeed.views.stored_views import palette_of

if TYPE_CHECKING:
    from zarrfeed.feed.stream import Stream
    from zarrfeed.fronts.base_sequence import BaseSequence

_PARTS = ("input", "target", "weight")


def sequence_html(sequence: BaseSequence) -> str:
    """Return what a notebook shows of a sequence.

    The pictures are the first samples of the next epoch, as transforms made them. No worker starts,
    and the sequence stays at its position. Never raises; a problem is part of the page.
    """
    stream = sequence._stream
    split = stream.split
    facts, fields = [("path", split.address)], list[tuple[str, ...]]()
    views, problem = list[View](), ""
    palette = Palette()
    try:
        palette = palette_of(split)
        facts, fields = _facts(sequence, stream), _fields(stream)
        drawing = Drawing(palette, most=LARGEST)
        views = sequence_views(sequence, PICTURES, drawing, whole_batches=False)
    except Exception as error:  # a damaged store, or a transform that fails
        problem = f"can't be drawn: {error or type(error).__name__}"
    title = type(sequence).__name__
    return NotebookPage(title, facts, fields, palette, views, problem).html()


def _facts(sequence: BaseSequence, stream: Stream) -> list[tuple[str, str]]:
    request = stream.request
    shuffle = {True: "yes", False: "no", "block": "in blocks"}[stream.schedule.shuffle]
    what = "samples" if request.patches is None else "patches"
    position = f"epoch {sequence.epoch}, batch {sequence.batch}"
    facts = [
        ("path", stream.split.address),
        (what, f"{sequence.samples:,}"),
        ("batches", f"{len(sequence):,} of {sequence.batch_size:,} {what}"),
        ("next", position),
        ("shuffled", f"{shuffle}, seed {request.seed}"),
    ]
    for name in ("patches", "sampling", "class_weight"):
        value = getattr(request, name)
        if value is not None:
            facts.append((name, repr(value)))
    facts += [
        (name, function_name(function))
        for name, function in (
            ("transform", request.transform), ("batch_transform", request.batch_transform),
        )
        if function is not None
    ]  # fmt: skip
    kind = "process" if request.processes else "thread"
    number = f"{request.workers} {kind}"
    if request.workers != 1:
        number += "es" if request.processes else "s"
    workers = number if request.workers else "0, in the caller's thread"
    facts.append(("workers", workers))
    schedule = stream.schedule
    if schedule.world_size > 1:
        facts.append(("rank", f"{schedule.rank} of {schedule.world_size}"))
    return facts


def _fields(stream: Stream) -> list[tuple[str, ...]]:
    spec = stream.batch_spec
    parts = {
        name: part
        for part, names in zip(_PARTS, spec.structure.parts, strict=False)
        for name in outputs_of(names).values()
    }
    return [
        ("array", "part of a batch", "shape of one", "dtype"),
        *(
            (
                each.name, parts.get(each.name, ""), " × ".join(map(str, each.shape)),
                str(each.dtype),
            )
            for each in stream.specs
        ),
    ]  # fmt: skip
