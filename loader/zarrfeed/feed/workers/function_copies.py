"""How does every worker thread get its own copy of the user's functions?

Worker processes load their functions from a pickle. Threads could share functions, but a pipeline
that is seeded for every sample must belong to one thread, wherever it is kept: in an object, a
closure, a default, an attribute of a function or a global variable. Functions are therefore copied
with all objects that they refer to. Objects that libraries define are shared, and so are the user's
classes. If instances of a class share state, the copies are called one at a time.
"""

from __future__ import annotations

import functools
import io
import pickle
import sys
import types
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.errors import WorkerError, look_up
from zarrfeed.feed.workers.batch_spec import CallLock
from zarrfeed.feed.workers.function_references import STATELESS, References, is_full

if TYPE_CHECKING:
    from zarrfeed.feed.workers.batch_spec import BatchSpec

_ATTRIBUTES = ("__defaults__", "__kwdefaults__", "__dict__", "__module__", "__qualname__")


def own_copies(batch_spec: BatchSpec, count: int) -> list[BatchSpec]:
    """Return a spec with its own copies of the functions for each of `count` threads.

    Raises
    ------
    WorkerError
        The functions cannot be copied, and there are several threads.
    """
    functions = batch_spec.transform, batch_spec.batch_transform
    if functions == (None, None):
        return [batch_spec] * count
    try:
        with batch_spec.call_lock.lock:
            original = _Original(functions)
            copies = [original.copy() for _ in range(count)]
    except Exception as error:  # the user's objects may raise anything
        if count == 1:
            return [batch_spec]  # the caller's thread shares the functions, under one lock
        raise WorkerError(
            f"transform {batch_spec.function_names} cannot be copied, and each of {count} worker "
            f"threads needs a copy of its own: {error}; make files, locks, generators and models "
            "inside the function, or set workers=1. If the function is in a module, worker "
            "processes (use_multiprocessing=True) can import it instead"
            f"{look_up('transform-copies')}"
        ) from error
    locks = [batch_spec.call_lock if original.shares_state else CallLock() for _ in copies]
    return [
        replace(batch_spec, transform=transform, batch_transform=batch_transform, call_lock=lock)
        for (transform, batch_transform), lock in zip(copies, locks, strict=True)
    ]


class _Shared:
    """Placeholder of an object that copies share."""

    def __init__(self, value: object) -> None:
        self.value = value


class _Module:
    """Placeholder of one of the user's modules. A copy has only the names that are used."""

    def __init__(self, name: str) -> None:
        self.name = name


class _Globals:
    """Placeholder of a module's global variables."""

    def __init__(self, module: _Module) -> None:
        self.module = module


class _Original(pickle.Pickler):
    """The user's functions, pickled with the objects that they refer to."""

    def __init__(self, functions: tuple[object, ...]) -> None:
        self._file = io.BytesIO()
        super().__init__(self._file, pickle.HIGHEST_PROTOCOL)
        self._shared: list[object] = []
        # Placeholders of cells and of modules' variables, by the object's id. The object itself is
        # kept, too, because an id is unique only while its object lives.
        self._placeholders: dict[int, tuple[object, Any]] = {}
        self._references = References(functions)
        self.dump(functions)

    @property
    def shares_state(self) -> bool:
        """Whether copies share state, so that they must be called one at a time."""
        return self._references.shares_state

    def copy(self) -> Any:
        """Return a copy of the functions."""
        unpickler = pickle.Unpickler(io.BytesIO(self._file.getbuffer()))
        unpickler.persistent_load = self._shared.__getitem__  # type: ignore[method-assign]
        return unpickler.load()

    def persistent_id(self, obj: Any) -> int | None:
        """Return a number for an object that is shared, None for one that is copied."""
        if isinstance(obj, _Shared):
            obj = obj.value
        elif isinstance(obj, type):
            self._references.inspect_class(obj)
        elif not (
            isinstance(obj, STATELESS)
            or type(obj) is object  # a sentinel, which code compares by `is`
            or (
                isinstance(obj, types.ModuleType)
                and not self._references.is_user_module(obj.__name__)
            )
            or (isinstance(obj, types.FunctionType) and self._references.is_library_function(obj))
            or (isinstance(obj, np.ndarray) and not obj.flags.writeable)
        ):
            return None
        self._shared.append(obj)
        return len(self._shared) - 1

    def reducer_override(self, obj: Any) -> Any:
        """Copy objects that pickle would refuse or load by name."""
        if isinstance(obj, types.FunctionType):
            return self._reduce(obj)
        if isinstance(obj, functools._lru_cache_wrapper):
            if self._references.is_user_module(obj.__module__):
                return cached, (obj.__wrapped__, obj.cache_parameters())
            return NotImplemented
        if isinstance(obj, types.ModuleType):
            return _identity, (self._module(vars(obj)),)
        if isinstance(obj, types.CellType):  # a placeholder
            return types.CellType, ()
        if isinstance(obj, _Module):
            return _fresh_module, (obj.name, _Shared(sys.modules.get(obj.name)))
        if isinstance(obj, _Globals):
            return vars, (obj.module,)
        return NotImplemented

    def _reduce(self, function: types.FunctionType) -> Any:
        variables: Any = _Shared(function.__globals__)
        if self._references.is_user_module(function.__globals__.get("__name__")):
            variables = _Globals(self._module(function.__globals__))
        cells = [(self._cell(cell), cell) for cell in function.__closure__ or ()]
        names = self._references.names(function)
        made = function.__code__, variables, function.__name__, None, tuple(c for c, _ in cells)
        state = (
            [(ours, cell.cell_contents) for ours, cell in cells if is_full(cell)],
            [(self._module(home), name, home[name]) for home, name in names],
            [(name, getattr(function, name)) for name in _ATTRIBUTES],
        )
        return types.FunctionType, made, state, None, None, _fill

    def _cell(self, cell: types.CellType) -> types.CellType:
        found: types.CellType = self._placeholders.setdefault(id(cell), (cell, types.CellType()))[1]
        return found

    def _module(self, variables: dict[str, Any]) -> _Module:
        module = _Module(variables.get("__name__", "?"))
        found: _Module = self._placeholders.setdefault(id(variables), (variables, module))[1]
        return found


# -- What makes a copy ----------------------------------------------------------------------------


def _identity(value: Any) -> Any:
    return value


def cached(function: Any, parameters: dict[str, Any]) -> Any:
    """Wrap a function in ``functools.lru_cache`` with an empty cache."""
    return functools.lru_cache(**parameters)(function)


def _fresh_module(name: str, original: types.ModuleType | None) -> types.ModuleType:
    module = types.ModuleType(name)
    if original is not None:  # for names that code looks up as strings
        module.__getattr__ = functools.partial(getattr, original)  # type: ignore[method-assign]
    return module


def _fill(function: types.FunctionType, state: Any) -> None:
    cells, variables, attributes = state
    for cell, value in cells:
        cell.cell_contents = value
    for module, name, value in variables:
        vars(module)[name] = value
    for name, value in attributes:
        setattr(function, name, value)
