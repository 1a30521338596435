"""Which arrays make a batch, and which shape and dtype do they have?"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from zarrfeed.errors import StoreError, WorkerError, look_up
from zarrfeed.feed.batch_structure import BatchStructure, Output, outputs_of
from zarrfeed.feed.class_weights import WEIGHABLE
from zarrfeed.feed.slot import Spec
from zarrfeed.feed.workers.batch_maker import generator
from zarrfeed.feed.workers.batch_spec import function_name
from zarrfeed.feed.workers.transform_calls import apply, required
from zarrfeed.spelling import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping, Sequence

    from zarrfeed.feed.request import Request
    from zarrfeed.feed.workers.batch_spec import Named
    from zarrfeed.store.schema import ArrayLayout
    from zarrfeed.store.split import Split

WEIGHT = "weight"

# Typical names of arrays of classes, for the suggestion in an error message.
_MASKS = re.compile(r"mask|label|seg|target|annot|class|truth|^gt|^y")


def default_fields(split: Split) -> tuple[str, ...]:
    """Choose the arrays of a batch if the user names none.

    Returns
    -------
    tuple of str
        ``image`` and ``mask``, or the fields in the split's attributes, or the only array.

    Raises
    ------
    StoreError
        There are several arrays, and nothing says which of them are the images.
    """
    names = split.batch_fields
    if len(names) > 1 and not split.has_field_names:
        first = _proposal(split, names)
        raise StoreError(
            f"{split.address}: nothing says which of its arrays are the images and which the "
            f"masks: {', '.join(names)}. Name them in order, such as fields={first!r}"
            f"{look_up('fields')}"
        )
    return names


def sample_specs(layouts: Mapping[str, ArrayLayout]) -> tuple[Spec, ...]:
    """Return the stored shape and dtype of one sample of each field."""
    return tuple(Spec(name, lay.sample_shape, lay.dtype) for name, lay in layouts.items())


def fields_to_read(request: Request, split: Split, structure: BatchStructure) -> tuple[str, ...]:
    """Choose the arrays to read: those of a batch, and those that transforms take besides.

    Parameters
    ----------
    request, split
        The request, and the split that it reads.
    structure
        Structure of a batch. If there is a transform, it must make the arrays that the split lacks.
    """
    if not request.transforms:
        return structure.names
    stored = split.layouts.keys() | split.unfit.keys()
    used = (name for name in structure.names if name in stored)
    return tuple(dict.fromkeys((*(request.fields or ()), *used))) or structure.names


def transformed_specs(
    request: Request, structure: BatchStructure, sample: Named, name: str, stored: Iterable[str]
) -> tuple[tuple[Spec, ...], tuple[str, ...]]:
    """Call the requested transforms on one sample to find out what they return.

    Parameters
    ----------
    request, structure
        The request with the transforms, and the structure of a batch.
    sample
        One (1, *shape) array per field. A transform may write to it.
    name
        Name of the sample for error messages.
    stored
        Names of the split's fields, of which an error suggests the nearest.

    Returns
    -------
    specs
        Shape and dtype of one sample of each array of a batch.
    between
        Names of the arrays that `batch_transform` takes.

    Raises
    ------
    ValueError
        A transform returned an array that is not part of a batch, or dropped the batch axis.
    WorkerError
        A transform raised, or did not return all arrays of a batch.
    """
    seed, last = request.seed, request.transforms[-1]
    made: Named = {}
    arrays = {field: array[0] for field, array in sample.items()}
    try:
        made = apply(request.transform, arrays, generator(seed, 0, 0, stream=0), name)
        between = tuple(
            [field for field in sample if field in made]
            + [field for field in made if field not in sample]
        )
        batch = {field: made[field][None] for field in between}
        made = apply(request.batch_transform, batch, generator(seed, 0, 0, stream=1), name)
        results = {field: required(last, field, made, name) for field in structure.names}
    except WorkerError as error:
        lacking = [field for field in structure.names if field not in sample]
        if not lacking:
            raise
        hint = did_you_mean(lacking[0], {*stored, *made})
        raise WorkerError(
            f"{error}; the split has no array {lacking[0]!r}, so that a transform must return it"
            f"{hint and f'; {hint}'}"
        ) from error
    known = {*sample, *structure.names, *(between if request.batch_transform else ())}
    for field in made:
        if field not in known:
            raise ValueError(
                f"transform {function_name(last)} returned {field!r}, which is not part of a "
                "batch: name it in ZarrSequence(inputs=…, targets=…, weights=…)"
                f"{look_up('transform-returns')}"
            )
    specs = []
    for field, array in results.items():
        if array.shape[:1] != (1,):
            raise ValueError(
                f"batch_transform returned {field} of shape {array.shape} for a batch of 1: it "
                "must keep the batch axis"
                f"{look_up('transform-returns')}"
            )
        specs.append(Spec(field, array.shape[1:], array.dtype))
    return tuple(specs), between


def with_weights(
    request: Request, structure: BatchStructure, specs: tuple[Spec, ...]
) -> tuple[BatchStructure, tuple[Spec, ...], dict[str, str | None]]:
    """Add the weights that Keras needs for `class_weight`, for padding and for unweighted targets.

    Metrics such as ``MeanIoU`` accept only one weight per pixel; losses of other targets need
    weights that broadcast. Weights of shape (b,) fit neither (tried with Keras 3 and tf_keras).

    Returns
    -------
    structure, specs
        The structure and the specs of a batch with the weights.
    added
        For each added array of weights, the mask whose classes it weighs; None if all weigh 1.

    Raises
    ------
    ValueError
        It is ambiguous which target the weights belong to.
    """
    of_field = {spec.name: spec for spec in specs}
    inputs = specs[0]
    weighed: Output = None
    unweighted = structure.unweighted
    if request.inputs is None:
        if request.class_weight is not None:  # weighs the last field, which is the target
            weight = Spec(_unused(WEIGHT, of_field), specs[-1].shape, np.dtype(np.float32))
            structure = BatchStructure((*structure.parts, weight.name))
            return structure, (*specs, weight), {weight.name: specs[-1].name}
        if request.pad_remainder and len(specs) > 3:
            raise ValueError(
                f"pad_remainder needs at most three arrays, of which the third weighs samples, got "
                f"{', '.join(of_field)}: use inputs=, targets= and weights= to say what they are"
            )
    elif request.class_weight is not None:
        weighed = _mask_among(structure, of_field)
    if not (request.class_weight is not None or request.pad_remainder or len(structure.parts) > 2):
        return structure, specs, {}
    names: dict[Output, str] = {}
    added: dict[str, str | None] = {}
    for output, field in unweighted.items():
        name = _unused(WEIGHT if output is None else f"{WEIGHT} of {output}", of_field)
        by_class = request.class_weight is not None and output == weighed
        shape = of_field[field].shape if by_class else _weight_shape(inputs, of_field[field])
        of_field[name] = Spec(name, shape, np.dtype(np.float32))
        names[output], added[name] = name, field if by_class else None
    if names:
        structure = structure.with_weights(names)
    return structure, tuple(of_field[name] for name in structure.names), added


def _mask_among(structure: BatchStructure, of_field: Mapping[str, Spec]) -> Output:
    """Return the output of the model whose target is the mask that `class_weight` weighs."""
    if len(structure.parts) < 2:
        raise ValueError("class_weight weighs targets, got targets=None: name the mask, too")
    if len(structure.parts) > 2:
        raise ValueError(
            f"class_weight and weights={structure.parts[2]!r} both weigh the targets: give one of "
            "them, or multiply them in a transform"
            f"{look_up('class-weight')}"
        )
    targets = outputs_of(structure.parts[1])
    masks = [out for out, name in targets.items() if of_field[name].dtype in WEIGHABLE]
    if len(targets) > 1 and len(masks) != 1:
        found = ", ".join(f"{name} ({of_field[name].dtype})" for name in targets.values())
        raise ValueError(
            f"class_weight needs exactly one uint8 or uint16 mask among several targets, got "
            f"{found}: compute the weights in a transform, and name them in weights="
            f"{look_up('class-weight')}"
        )
    output: Output = (masks or list(targets))[0]
    return output


def _weight_shape(inputs: Spec, target: Spec) -> tuple[int, ...]:
    """Return the shape of weights that are all 1.

    Examples
    --------
    >>> image = Spec("image", (4, 4, 3), np.dtype("uint8"))
    >>> _weight_shape(image, Spec("mask", (4, 4), np.dtype("uint8")))
    (4, 4)
    >>> _weight_shape(image, Spec("depth", (4, 4, 1), np.dtype("float32")))
    (1, 1, 1)
    >>> _weight_shape(image, Spec("labels", (5,), np.dtype("uint8")))
    (1,)
    """
    shape = target.shape
    along_signal = len(inputs.shape) == 2 and shape == inputs.shape[:1]
    if target.dtype.kind == "f" or (len(shape) == 1 and not along_signal):
        return (1,) * len(shape)
    if len(shape) >= max(3, len(inputs.shape)) and shape[-1] > 1:
        return shape[:-1]  # a channel for each class
    return shape


def _unused(name: str, taken: Container[str]) -> str:
    while name in taken:
        name += "_"
    return name


def _proposal(split: Split, names: Sequence[str]) -> tuple[str, ...]:
    """Guess which arrays are the image and its mask, by their names and numbers of axes."""
    layouts = split.layouts
    likely = sorted(
        names, key=lambda name: (bool(_MASKS.search(name.lower())), -len(layouts[name].shape))
    )
    image = likely[0]
    masks = [n for n in likely[1:] if layouts[n].shape[0] == layouts[image].shape[0]]
    masks.sort(key=lambda name: not _MASKS.search(name.lower()))
    return (image, *masks[:1])
