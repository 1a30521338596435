"""Call a model with batches of patches, and check what it returns."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from zarrfeed.errors import look_up

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray


class Model(Protocol):
    """What predicts batches, such as a Keras model."""

    def predict_on_batch(self, x: Any, /) -> Any:
        """Return the predictions of a batch."""
        ...


def patch_predictions(
    model: Model,
    batches: Iterable[Any],
    *,
    names: tuple[str, ...],
    size: tuple[int, ...],
    batch_size: int,
    patches: int,
    case_of: Callable[[int], str],
    follow: Callable[[int], None],
) -> Iterator[NDArray[np.float32]]:
    """Predict patches.

    Parameters
    ----------
    model
        The model. All its batches have the same size, because models are compiled for one: the last
        one is filled up with copies of its last patch.
    batches
        The inputs of the model, batch by batch.
    names
        The fields that they are made of.
    size
        Size of a patch in pixels.
    batch_size
        Patches per batch.
    patches
        Number of patches.
    case_of
        Returns the key of the case of a patch, by its number.
    follow
        Called with the number of patches done, after every batch.

    Yields
    ------
    (b, P, …, K) float32
        The predictions of a batch's patches, without copies that fill it up.

    Raises
    ------
    ValueError
        The model returns something else than one array of floats that fits the patches, or NaN.
    """
    done = 0
    for batch in batches:
        rows = min(batch_size, patches - done)
        inputs = batch if rows == batch_size else _filled(batch, batch_size)
        with _errors_of_models(inputs, names, size):
            found = checked(model.predict_on_batch(inputs), batch_size, size)[:rows]
        if np.isnan(found.min()):  # 1 pass without a mask: min returns NaN if there is one
            bad = next(row for row in range(rows) if np.isnan(found[row].min()))
            raise ValueError(
                f"predict needs scores without NaN, got NaN from the model {model_name(model)} for "
                f"case {case_of(done + bad)!r}: if the image has NaN, replace it by a transform; "
                "else look for weights that are NaN, or for values too large for float16"
                f"{look_up('nan')}"
            )
        yield found
        done += rows
        follow(done)


def checked(outputs: Any, rows: int, size: tuple[int, ...]) -> NDArray[np.float32]:
    """Return the outputs of a model as (b, P, …, K) float32.

    Examples
    --------
    >>> checked(np.ones((2, 8, 8)), 2, (8, 8)).shape
    (2, 8, 8, 1)
    """
    needed = f"({rows}, {', '.join(map(str, size))}, K)"
    if isinstance(outputs, Mapping | tuple | list):
        raise ValueError(
            f"predict needs a model with one output {needed}, got {type(outputs).__name__} of "
            f"{len(outputs)}: make a model of one of them, such as keras.Model(model.input, "
            "model.outputs[0])"
            f"{look_up('model-output')}"
        )
    found = np.asarray(outputs)
    if found.shape[: 1 + len(size)] != (rows, *size) or found.ndim - len(size) not in (1, 2):
        raise ValueError(
            f"predict needs one value per pixel and class, {needed} from patches of {size}, got "
            f"{found.shape} from the model: its output must be as large as its input"
            f"{look_up('model-output')}"
        )
    if found.dtype.kind in "biuc":
        raise ValueError(
            f"predict needs scores of classes as floats, got {found.dtype} from the model: leave "
            "out its last step (argmax), because class ids cannot be blended"
            f"{look_up('model-output')}"
        )
    if found.ndim == 1 + len(size):
        found = found[..., None]
    if not found.shape[-1]:
        raise ValueError(f"predict needs at least one class, got {found.shape} from the model")
    return found.astype(np.float32, copy=False)


def model_name(model: Model) -> str:
    """Return the name of a model, or of its class."""
    return str(getattr(model, "name", type(model).__name__))


def weights_digest(model: Model) -> str | None:
    """Return a digest of a model's weights; None if it has no ``get_weights()``, as in Keras."""
    get_weights = getattr(model, "get_weights", None)
    if get_weights is None:
        return None
    digest = hashlib.blake2b(digest_size=16)
    for weights in get_weights():
        digest.update(np.ascontiguousarray(weights).view(np.uint8).data)
    return digest.hexdigest()


def require_model(model: Model) -> None:
    """Refuse what cannot predict batches, such as the path of a model.

    Raises
    ------
    TypeError
        It has no ``predict_on_batch``.
    """
    if not callable(getattr(model, "predict_on_batch", None)):
        advice = ": keras.models.load_model(path)" if isinstance(model, str | os.PathLike) else ""
        raise TypeError(
            f"model must be a Keras model, or have predict_on_batch(x), not {model!r:.100}{advice}"
        )


@contextmanager
def _errors_of_models(inputs: Any, names: tuple[str, ...], size: tuple[int, ...]) -> Iterator[None]:
    """Add the shapes of the inputs to errors, and blame a transform that has changed their size."""
    try:
        yield
    except Exception as error:
        shapes = _shapes(inputs, names)
        if isinstance(error, ValueError) and not _have_size(inputs, size):
            raise ValueError(
                f"predict needs a transform that keeps the size of patches, {size}, because the "
                f"output of the model must have it; after the transform, {shapes}"
                f"{look_up('transform-returns')}"
            ) from error
        error.add_note(shapes)
        raise


def _shapes(batch: Any, names: tuple[str, ...]) -> str:
    """Describe the inputs of a model."""
    shapes = [
        f"{name!r} have shape {array.shape}"
        for name, array in zip(names, _arrays(batch), strict=False)
    ]
    return f"patches of {', of '.join(shapes)}"


def _have_size(batch: Any, size: tuple[int, ...]) -> bool:
    return all(array.shape[1 : 1 + len(size)] == size for array in _arrays(batch))


def _arrays(batch: Any) -> Iterator[NDArray[Any]]:
    if isinstance(batch, Mapping | tuple):
        for part in batch.values() if isinstance(batch, Mapping) else batch:
            yield from _arrays(part)
    else:
        yield batch


def _filled(batch: Any, rows: int) -> Any:
    """Fill up the arrays of a batch with copies of their last row."""
    if isinstance(batch, Mapping):
        return {name: _filled(part, rows) for name, part in batch.items()}
    if isinstance(batch, tuple):
        return tuple(_filled(part, rows) for part in batch)
    return np.concatenate([batch, np.repeat(batch[-1:], rows - len(batch), axis=0)])
