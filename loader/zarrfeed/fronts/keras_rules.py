"""Which arguments may `fit` get with a sequence, and which sequences does a user's dataset contain?

The rules are the same for Keras 3 and tf_keras. This module imports neither.
"""

from __future__ import annotations

import traceback
from contextlib import suppress
from itertools import islice
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any

from zarrfeed.errors import look_up
from zarrfeed.feed.batch_arrays import WEIGHT
from zarrfeed.fronts.front_end import FrontEnd
from zarrfeed.user_warning import warn_user

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import FrameType

_CALLERS = 12  # more than there are frames between Keras' `fit` and its choice of an adapter
_METHODS = ("fit", "evaluate", "predict")
_STEPS = ("compute_loss", "train_step", "test_step")  # what a model does with a batch
_INSTEAD = {
    "y": "ZarrSequence(inputs=…, targets=…), or fields=(image, mask) for short, names them",
    "sample_weight": (
        "ZarrSequence(weights=…) names arrays of weights, and ZarrSequence(class_weight=…) weighs "
        "every pixel by its class"
    ),
    "class_weight": "ZarrSequence(class_weight=…) weighs every pixel by its class",
}


def check_given(sequence: FrontEnd, given: Mapping[str, Any], base: type) -> None:
    """Refuse arguments that ``fit``, ``evaluate`` or ``predict`` would ignore.

    Parameters
    ----------
    sequence
        The sequence that was given as `x`.
    given
        The other arguments by their names in Keras.
    base
        Keras' class of models.

    Raises
    ------
    ValueError
        An argument is not allowed, as with a ``PyDataset``, or Keras would use a third array as
        sample weights although it has another name.
    """
    for name, instead in _INSTEAD.items():
        if given.get(name) is not None:
            raise ValueError(
                f"When providing `x` as a ZarrSequence, `{name}` should not be passed. Instead, "
                f"{instead}"
                f"{look_up('fit-arguments')}"
            )
    batch_size = given.get("batch_size")
    if batch_size not in (None, sequence.batch_size):
        warn_user(
            f"batch_size={batch_size} does not apply to a ZarrSequence: this one was made with "
            f"batch_size={sequence.batch_size}",
        )
    names = sequence.fields
    if model_with_loss(base) is not None:
        require_targets(sequence)
    if sequence._request.inputs is not None:
        return  # it is explicit which arrays are weights
    if len(names) > 3 or (len(names) == 3 and WEIGHT not in names[2].lower()):
        raise ValueError(
            f"Keras takes the arrays of a batch as x, y and sample weights, and would take "
            f"{names[2]!r} as weights; this batch has {', '.join(names)}: choose "
            f"ZarrSequence(fields={names[:2]!r}), or use inputs=, targets= and weights= to say "
            "what they are"
            f"{look_up('third-array')}"
        )


def require_targets(sequence: FrontEnd) -> None:
    """Refuse a sequence of inputs alone, from which Keras computes no loss.

    Raises
    ------
    ValueError
        The message says what the batches hold.
    """
    structure = sequence._stream.batch_spec.structure
    if len(structure.parts) > 1:
        return
    masks = sequence._stream.split.field_names
    raise ValueError(
        f"the model's loss needs targets, and batches hold {', '.join(structure.names)} alone, "
        f"which feeds predict; the split has {', '.join(masks)}: name the targets by "
        "ZarrSequence(inputs=…, targets=…), or convert with masks"
        f"{look_up('no-targets')}"
    )


def held_sequences(holder: Any, kind: type) -> list[FrontEnd]:
    """Find the sequences from which a user's dataset may take batches.

    Parameters
    ----------
    holder
        The dataset, or a sequence itself.
    kind
        Class of datasets whose attributes are searched, too.

    Returns
    -------
    list
        Sequences in the dataset's attributes, in lists, tuples and dicts there, and in closures of
        functions there.
    """
    found: dict[int, Any] = {}
    waiting = [holder]
    while waiting:
        value = waiting.pop()
        if id(value) in found:
            continue
        if isinstance(value, FrontEnd):
            found[id(value)] = value
        elif isinstance(value, kind):
            found[id(value)] = value
            waiting += vars(value).values()
        elif isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list | tuple):
            waiting += value
        elif isinstance(value, MethodType):
            waiting.append(value.__self__)
        elif isinstance(value, FunctionType):
            found[id(value)] = value
            for cell in value.__closure__ or ():
                with suppress(ValueError):  # the cell is empty
                    waiting.append(cell.cell_contents)
    return [value for value in found.values() if isinstance(value, FrontEnd)]


def note_predictions(holder: Any, kind: type) -> None:
    """Record in a dataset's sequences whether ``predict`` is using the dataset now.

    Keras uses datasets in the same way for all methods, so that only the call stack tells.
    :meth:`zarrfeed.FrontEnd.batch_keys` needs this for its warning.

    Parameters
    ----------
    holder, kind
        See :func:`held_sequences`.
    """
    caller = _caller()
    predicts = caller is not None and caller.f_code.co_name == "predict"
    for sequence in held_sequences(holder, kind):
        sequence._predicted = sequence.epoch if predicts else None


def model_with_loss(base: type, steps: Sequence[str] = _STEPS) -> Any:
    """Return the model for whose ``fit`` or ``evaluate`` Keras is choosing a data adapter.

    Keras does not tell adapters which model they feed, so that only the call stack does.

    Parameters
    ----------
    base
        Keras' class of models.
    steps
        Methods that must be those of `base`.

    Returns
    -------
    Model or None
        None if there is no such call, or Keras computes no loss of the batches' targets: the model
        was compiled without one, or what it does with a batch is its own.
    """
    caller = _caller()
    if caller is None or caller.f_code.co_name == "predict":
        return None
    found = caller.f_locals
    model = found.get("self")
    if isinstance(found, dict):  # before Python 3.13 a copy, which would hold the last batch
        found.clear()
    kind = type(model)
    own = any(getattr(kind, name, None) is not getattr(base, name, None) for name in steps)
    return None if own or getattr(model, "loss", None) is None else model


def _caller() -> FrameType | None:
    """Return the innermost call of one of Keras' methods that take datasets."""
    for frame, _ in islice(traceback.walk_stack(None), _CALLERS):
        module = frame.f_globals.get("__name__", "")
        if frame.f_code.co_name in ("fit", "evaluate", "predict") and module.startswith(
            ("keras.", "tf_keras.")
        ):
            return frame
    return None


def follow_passes(
    holder: Any, kind: type, passes: Callable[[], Iterator[Any]], batches: int | None
) -> Callable[[], Iterator[Any]]:
    """Make each pass over a dataset one epoch of the sequences in it.

    Parameters
    ----------
    holder, kind
        See :func:`held_sequences`.
    passes
        Function that begins a pass.
    batches
        Number of batches in a pass; None if Keras does not know it.

    Returns
    -------
    callable
        The function to use in place of `passes`.
    """
    for sequence in held_sequences(holder, kind):
        passes = sequence._stream.position.indexed.follow(passes, batches or len(sequence))
    return passes
