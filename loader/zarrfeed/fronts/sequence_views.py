"""What do the batches of a sequence look like?"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from zarrfeed.errors import StoreError
from zarrfeed.store.names import origin_text
from zarrfeed.views.drawn_arrays import Drawing, View, draw
from zarrfeed.views.field_roles import find_roles
from zarrfeed.views.stored_views import palette_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from zarrfeed.feed.stream import Stream
    from zarrfeed.fronts.base_sequence import BaseSequence


def sequence_views(
    sequence: BaseSequence,
    count: int,
    drawing: Drawing,
    *,
    epoch: int | None = None,
    whole_batches: bool = True,
) -> list[View]:
    """Draw the first samples or patches that a sequence hands out, as its transforms made them.

    No worker starts, and the sequence stays at its position.

    Parameters
    ----------
    sequence
        Any sequence.
    count
        How many.
    drawing
        How to draw; its palette is the store's.
    epoch
        Number of the epoch; by default the one that the next iterator goes through.
    whole_batches
        Whether the batch transform gets whole batches, as in training. Otherwise no more samples
        are read than drawn.

    Raises
    ------
    ReadError, WorkerError
        The store cannot be read, or a transform fails.
    StoreError
        The batches have no images or masks.
    """
    stream = sequence._stream
    epoch = sequence.epoch if epoch is None else epoch
    drawing = replace(drawing, palette=palette_of(stream.split), spatial=_spatial(stream))
    views: list[View] = []
    for batch in stream.schedule.grid(epoch).numbers:
        missing = count - len(views)
        if missing <= 0:
            break
        arrays = stream.peek(batch, epoch, None if whole_batches else missing)
        titles = _titles(stream, batch, epoch)
        rows = min(missing, len(next(iter(arrays.values()))))
        views += [_drawn(arrays, row, titles[row], drawing) for row in range(rows)]
    return views


def shows_volumes(sequence: BaseSequence) -> bool:
    """Whether a sequence reads volumes, or patches of volumes."""
    return _spatial(sequence._stream) == 3


def _spatial(stream: Stream) -> int | None:
    """Return the number of spatial axes, if the patches or a packed split say it."""
    spec = stream.batch_spec
    if spec.patches is not None:
        return len(spec.patches.size)
    if not stream.split.packed:
        return None
    shapes = {each.name: each.shape for each in spec.source}
    image = find_roles({each.name: (each.shape, each.dtype) for each in spec.source}).image
    return None if image is None else len(shapes[image]) - 1


def _titles(stream: Stream, batch: int, epoch: int) -> list[str]:
    if stream.batch_spec.patches is None:
        return stream.names(batch, epoch)
    places = stream.places(batch, epoch)
    return [f"{place.key} at {origin_text(place.origin)}" for place in places]


def _drawn(arrays: Mapping[str, NDArray[Any]], row: int, title: str, drawing: Drawing) -> View:
    roles = find_roles({name: (rows.shape[1:], rows.dtype) for name, rows in arrays.items()})
    if roles.image is None and roles.mask is None:
        shapes = ", ".join(f"{name} {rows.shape}" for name, rows in arrays.items())
        raise StoreError(f"needed images or masks of 2 to 4 axes in a batch, found {shapes}")
    image, mask = (None if name is None else arrays[name][row] for name in roles)
    return draw(image, mask, drawing, title=title)
