"""Which targets lack the channel axis of the model's output? Keras' losses need it to weigh pixels.

Keras' losses average over the last axis of an output. For masks (b, H, W) and an output (b, H, W,
1) Keras removes the output's last axis first, so that losses are averaged over W, and then
multiplies losses (b, H) by weights (b, H, W): wrong numbers if b is 1 or H, else an error. With
masks (b, H, W, 1) losses and weights are (b, H, W).

Pure; imports no Keras.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from zarrfeed.errors import look_up
from zarrfeed.feed.batch_structure import outputs_of

if TYPE_CHECKING:
    from zarrfeed.arrays import Nest
    from zarrfeed.feed.batch_structure import BatchStructure, Output, Part
    from zarrfeed.feed.slot import Spec

# Shape of an output without the batch axis.
Shape = tuple[int | None, ...]


def shapes_by_output(shapes: Any, names: Sequence[str], targets: Part) -> dict[Output, Shape]:
    """Match the outputs of a model with the targets of a batch, as Keras does.

    Parameters
    ----------
    shapes
        One shape, or a list, tuple or dict of shapes.
    names
        Names of the model's outputs; empty if it has none.
    targets
        Targets of a batch.

    Returns
    -------
    dict
        Shapes by output; those that match no target are missing.

    Examples
    --------
    >>> shapes_by_output([(4, 4, 1), (4, 4, 2)], ["edge", "cell"], {"cell": "mask"})
    {'cell': (4, 4, 2)}
    """
    outputs = outputs_of(targets)
    if isinstance(shapes, Mapping):
        flat, names = list(shapes.values()), list(shapes)
    else:
        nested = isinstance(shapes, list) or (shapes and isinstance(shapes[0], tuple | list))
        flat = list(shapes) if nested else [shapes]
    if len(flat) == len(outputs) == 1:
        found: Mapping[Any, Any] = dict(zip(outputs, flat, strict=True))
    elif isinstance(targets, dict):
        found = dict(zip(names, flat, strict=False))
    else:
        found = dict(enumerate(flat))
    return {output: found[output] for output in outputs if isinstance(found.get(output), tuple)}


def without_channel(
    structure: BatchStructure, specs: Sequence[Spec], shapes: Mapping[Output, Shape]
) -> frozenset[Output]:
    """Find the weighted targets that lack the channel axis of a one-channel output.

    Parameters
    ----------
    structure, specs
        Structure of a batch, and the arrays in it.
    shapes
        Shapes of the model's outputs.
    """
    if len(structure.parts) < 3:
        return frozenset()  # without weights all means are the same
    axes = {spec.name: len(spec.shape) for spec in specs}
    return frozenset(
        output
        for output, name in outputs_of(structure.parts[1]).items()
        if output in shapes
        and shapes[output][-1:] == (1,)
        and len(shapes[output]) == axes[name] + 1 > 1
    )


def require_weights_of_pixels(
    structure: BatchStructure, specs: Sequence[Spec], shapes: Mapping[Output, Shape]
) -> None:
    """Refuse weights with more axes than the losses, which Keras would multiply anyhow.

    Raises
    ------
    ValueError
        Weights have a value for each channel of an output, or the output has no channel axis.
    """
    weights = outputs_of(structure.parts[2]) if len(structure.parts) > 2 else {}
    of_name = {spec.name: spec for spec in specs}
    for output, shape in shapes.items():
        name = weights.get(output, weights.get(None))
        if name is None or not shape:  # of (b,) Keras' loss is the mean over the batch
            continue
        found = of_name[name].shape
        if len(found) >= len(shape) and not (len(found) == len(shape) and found[-1] == 1):
            of = "" if output is None else f" {output!r}"
            raise ValueError(
                f"needed weights without the last axis of the model's output{of}, of shape "
                f"{('b', *shape)}, because Keras' losses are means over it; got {name!r} of shape "
                f"{('b', *found)}. For a value per pixel, give the output a channel axis, such as "
                "that of Conv2D(1, 1); for a weight per channel, write a loss"
                f"{look_up('model-output')}"
            )


def nest_with_channels(structure: BatchStructure, outputs: frozenset[Output]) -> Nest:
    """Return a function like ``structure.nest`` that adds a last axis of 1 to some targets.

    Examples
    --------
    >>> import numpy as np
    >>> from zarrfeed.feed.batch_structure import BatchStructure
    >>> structure = BatchStructure.of("image", {"edge": "mask", "cell": "mask"}, "weight")
    >>> nest = nest_with_channels(structure, frozenset(["edge"]))
    >>> _, y, _ = nest([np.ones((8, 4, 4, 3)), np.ones((8, 4, 4)), np.ones((8, 4, 4))])
    >>> y["edge"].shape, y["cell"].shape
    ((8, 4, 4, 1), (8, 4, 4))
    """
    return partial(_nest, structure, outputs)


def _nest(
    structure: BatchStructure, outputs: frozenset[Output], arrays: Sequence[Any]
) -> tuple[Any, ...]:
    x, y, *weights = structure.nest(arrays)
    if None in outputs:
        y = y[..., None]
    elif isinstance(y, dict):
        y = {out: array[..., None] if out in outputs else array for out, array in y.items()}
    else:
        y = tuple(array[..., None] if n in outputs else array for n, array in enumerate(y))
    return (x, y, *weights)
