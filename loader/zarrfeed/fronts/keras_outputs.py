"""Which shapes do the outputs of a Keras 3 model have, before it gets a batch?"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import keras


def output_shapes(model: Any, inputs: Any) -> Any:
    """Return the shapes of a model's outputs without the batch axis.

    Parameters
    ----------
    model
        Any model. One whose layers are not built yet is built, as `fit` would do next.
    inputs
        (shape, dtype) of an array of a batch, or a tuple or dict of these.

    Returns
    -------
    tuple, list, dict or None
        Nested as the outputs. None if they cannot be known before there are data, or depend on
        them.
    """
    try:
        outputs = model.output  # a functional model
    except (AttributeError, ValueError):
        scope = getattr(model, "_distribute_strategy", None)
        with scope.scope() if scope is not None else nullcontext():
            try:
                outputs = model.compute_output_spec(_symbolic(inputs))
            except Exception:  # of any layer of the user; `fit` meets it, too
                return None
    return keras.tree.map_structure(lambda output: tuple(output.shape[1:]), outputs)


def _symbolic(inputs: Any) -> Any:
    if isinstance(inputs, dict):
        return {name: keras.KerasTensor(*spec) for name, spec in inputs.items()}
    if isinstance(inputs[0][0], tuple):
        return tuple(keras.KerasTensor(*spec) for spec in inputs)
    return keras.KerasTensor(*inputs)


def averages_over_channels(model: Any) -> bool:
    """Whether all losses of a model are of Keras, whose losses are means over the last axis."""
    losses = keras.tree.flatten(model.loss)
    return all(
        isinstance(loss, str) or getattr(loss, "__module__", "").startswith("keras.")
        for loss in losses
    )
