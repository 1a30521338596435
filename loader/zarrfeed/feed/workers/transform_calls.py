"""How are the user's functions called, and what do errors say when they fail?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.errors import WorkerError, look_up
from zarrfeed.feed.workers.batch_spec import ORIGINALS, Transform, function_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from zarrfeed.feed.workers.batch_spec import Named

_MOST_CHARACTERS = 20_000  # in the text of one error


def apply(function: Transform | None, arrays: Named, rng: np.random.Generator, name: str) -> Named:
    """Call a transform as a worker does, to find out what it returns."""
    if function is None:
        return arrays
    with ORIGINALS.lock:
        return call_transform(function, arrays, rng, name)


def call_transform(
    function: Transform, arrays: Named, rng: np.random.Generator, names: object
) -> Named:
    """Call a transform.

    Parameters
    ----------
    function
        The user's function.
    arrays
        The arrays of a sample or of a batch by name: its first arguments.
    rng
        Its last argument.
    names
        Names of the samples, converted to ``str`` only for an error.

    Returns
    -------
    dict
        Arrays by name: the names of `arrays` if the function returns a tuple, else its own names.

    Raises
    ------
    WorkerError
        The function raised, or returned something else than arrays of numbers.
    """
    called, fields = function_name(function), ", ".join(arrays)
    try:
        results = function(*arrays.values(), rng)
    except Exception as error:
        where = _line_of_transform(error)
        text = error_text(error, repr)
        if not where and isinstance(error, TypeError):  # the call itself failed
            needed = f"({fields}, rng)"
            raise WorkerError(
                f"transform {called} cannot be called as {called}{needed}: {text}; define it as "
                f"{needed} -> ({fields}): one array per field, then a numpy.random.Generator"
                f"{look_up('transform-raises')}"
            ) from error
        raise WorkerError(
            f"transform {called} raised {text}{where} on {names}{look_up('transform-raises')}"
        ) from error
    if not isinstance(results, Mapping):
        if len(arrays) == 1 and isinstance(results, np.ndarray):
            results = (results,)
        if not isinstance(results, tuple | list) or len(results) != len(arrays):
            raise WorkerError(
                f"transform {called} must return {len(arrays)} arrays, one per field ({fields}), "
                f"as a tuple, or a dict {{name: array}}; it returned {_describe(results)} on "
                f"{names}"
                f"{look_up('transform-returns')}"
            )
        results = dict(zip(arrays, results, strict=True))
    made = {name: np.asarray(result) for name, result in results.items()}
    for name, array in made.items():
        if array.dtype.kind not in "biuf":
            raise WorkerError(
                f"transform {called} must return arrays of numbers; it returned "
                f"{_describe(results[name])} as {name} on {names}"
                f"{look_up('transform-returns')}"
            )
    return made


def required(function: Transform, name: str, results: Named, names: object) -> NDArray[Any]:
    """Return one of the arrays that a transform returned.

    Raises
    ------
    WorkerError
        There is no array of this name.
    """
    if name not in results:
        raise WorkerError(
            f"transform {function_name(function)} must return {name!r}, as a batch needs it; it "
            f"returned {', '.join(map(str, results)) or 'nothing'} on {names}"
            f"{look_up('transform-returns')}"
        )
    return results[name]


def copy_results(function: Transform, results: Named, targets: Named, names: object) -> None:
    """Copy the results of a transform into target arrays.

    Raises
    ------
    WorkerError
        A result is missing, or has another shape or dtype than its target, which has those of the
        first sample.
    """
    for name, target in targets.items():
        result = required(function, name, results, names)
        if result.shape != target.shape or result.dtype != target.dtype:
            raise WorkerError(
                f"transform {function_name(function)} returned {name} of shape "
                f"{result.shape}, {result.dtype} on {names}; needed {target.shape}, "
                f"{target.dtype}, as on the first sample: every sample of a batch must have one "
                "shape and dtype"
                f"{look_up('transform-returns')}"
            )
        target[...] = result


def error_text(error: BaseException, form: Callable[[BaseException], str]) -> str:
    """Format an exception of the user's code. Never raises, and shortens a long text in the middle.

    Parameters
    ----------
    error
        The exception.
    form
        Function that formats it, such as ``repr``; it may raise.
    """
    try:
        text = form(error)
    except Exception as failure:
        text = f"(an error that cannot be shown: {type(failure).__name__})"
    if len(text) <= _MOST_CHARACTERS:
        return text
    half = _MOST_CHARACTERS // 2
    return f"{text[:half]} … {len(text) - 2 * half:,} characters … {text[-half:]}"


def _line_of_transform(error: Exception) -> str:
    """Return the line of the user's function that raised, or "" if there is no line in Python."""
    called = error.__traceback__ and error.__traceback__.tb_next  # below our own line
    return f" at {called.tb_frame.f_code.co_filename}:{called.tb_lineno}" if called else ""


def _describe(value: object) -> str:
    """Describe the type and size of a function's result.

    >>> _describe((1, None, np.zeros((2, 3)))), _describe({"image": 1}), _describe(None)
    ('a tuple of 3 (int, None, ndarray)', 'a dict of 1 (image)', 'None')
    """
    if isinstance(value, dict):
        return f"a dict of {len(value)} ({', '.join(map(str, list(value)[:4]))})"
    if isinstance(value, tuple | list):
        kinds = ", ".join("None" if v is None else type(v).__name__ for v in value[:4])
        return f"a {type(value).__name__} of {len(value)} ({kinds})"
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype}{list(value.shape)}"
    return "None" if value is None else f"a {type(value).__name__}"
