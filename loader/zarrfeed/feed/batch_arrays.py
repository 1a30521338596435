"""Which arrays make a batch, and what is one sample of each?"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.errors import StoreError
from zarrfeed.feed.slot import Spec
from zarrfeed.feed.workers.batch_maker import generator
from zarrfeed.feed.workers.transform_calls import apply

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from zarrfeed.feed.request import Request
    from zarrfeed.store.schema import ArrayLayout
    from zarrfeed.store.split import Split

WEIGHT = "weight"

# Names that arrays of classes go by, for a proposal.
_MASKS = re.compile(r"mask|label|seg|target|annot|class|truth|^gt|^y")


def default_fields(split: Split) -> tuple[str, ...]:
    """Choose the arrays of a batch where the user names none.

    Returns
    -------
    tuple of str
        Those that a packed split names itself, ``image`` and ``mask``, or the only one.

    Raises
    ------
    StoreError
        Nothing says which of several arrays are the images.
    """
    names = split.default_fields
    if len(names) > 1 and not split.says_fields:
        first = _proposal(split, names)
        raise StoreError(
            f"{split.path}: nothing says which of its arrays are the images and which the masks: "
            f"{', '.join(names)}. Name them in order, such as fields={first!r}"
        )
    return names


def sample_specs(layouts: Mapping[str, ArrayLayout]) -> tuple[Spec, ...]:
    """Describe one sample of each field as it is stored."""
    return tuple(Spec(name, lay.sample_shape, lay.dtype) for name, lay in layouts.items())


def transformed_specs(
    specs: tuple[Spec, ...],
    sample: Sequence[NDArray[Any]],
    name: str,
    request: Request,
) -> tuple[Spec, ...]:
    """Learn what the requested transforms make of a sample, by trying them on one.

    Parameters
    ----------
    specs
        The fields as stored.
    sample
        One (1, *shape) array per field; a transform may write to it.
    name
        Of the sample, for errors.

    Raises
    ------
    WorkerError
        A transform raised, or did not return one array per field.
    """
    fields = [spec.name for spec in specs]
    arrays, seed = [array[0] for array in sample], request.seed
    made = apply(request.transform, arrays, generator(seed, 0, 0, stream=0), fields, name)
    batch, rng = [array[None] for array in made], generator(seed, 0, 0, stream=1)
    made = apply(request.batch_transform, batch, rng, fields, name)
    for spec, array in zip(specs, made, strict=True):
        if array.shape[:1] != (1,):
            raise ValueError(
                f"batch_transform returned {spec.name} of shape {array.shape} for a batch of 1: it "
                "must keep the batch axis"
            )
    return tuple(Spec(s.name, a.shape[1:], a.dtype) for s, a in zip(specs, made, strict=True))


def with_weights(specs: tuple[Spec, ...]) -> tuple[Spec, ...]:
    """Add the weights by which padding is told from samples, where Keras looks for them.

    Metrics such as ``MeanIoU`` take a weight for every pixel alone, losses of other targets one
    that broadcasts; one of shape (b,) fits neither (tried on Keras 3 and tf_keras).

    Raises
    ------
    ValueError
        There are more arrays than Keras would take.

    Examples
    --------
    >>> image = Spec("image", (4, 4, 3), np.dtype("uint8"))
    >>> with_weights((image, Spec("mask", (4, 4), np.dtype("uint8"))))[2].shape
    (4, 4)
    >>> with_weights((image, Spec("depth", (4, 4, 1), np.dtype("float32"))))[2].shape
    (1, 1, 1)
    """
    if len(specs) > 3:
        raise ValueError(
            f"pad_remainder needs at most three arrays, of which the third weighs samples, got "
            f"{', '.join(spec.name for spec in specs)}: choose fields="
        )
    if len(specs) != 2:
        return specs
    inputs, target = specs
    shape = target.shape
    if target.dtype.kind == "f":
        shape = (1,) * len(shape)
    elif len(shape) >= max(3, len(inputs.shape)) and shape[-1] > 1:
        shape = shape[:-1]  # a channel for each class
    return (*specs, Spec(WEIGHT, shape, np.dtype(np.float32)))


def _proposal(split: Split, names: Sequence[str]) -> tuple[str, ...]:
    """Guess an image and its mask: by their names, and by who has more axes."""
    layouts = split.layouts
    likely = sorted(
        names, key=lambda name: (bool(_MASKS.search(name.lower())), -len(layouts[name].shape))
    )
    image = likely[0]
    masks = [n for n in likely[1:] if layouts[n].shape[0] == layouts[image].shape[0]]
    masks.sort(key=lambda name: not _MASKS.search(name.lower()))
    return (image, *masks[:1])
