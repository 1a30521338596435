"""Which objects does a user's function refer to, and can any of them change?

Inspects code and variables without calling anything.
"""

from __future__ import annotations

import contextvars
import dis
import functools
import inspect
import re
import sys
import threading
import types
from enum import Enum
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

# Types without state, or with state per thread.
STATELESS = (
    threading.local, contextvars.ContextVar, types.CodeType, types.BuiltinFunctionType,
    types.WrapperDescriptorType, types.MethodDescriptorType, types.GetSetDescriptorType,
)  # fmt: skip
_OWN_PACKAGES = {"zarrfeed", "zarrfeed_convert", "zarrfeed_tools"}
_INSTALLED = {"site-packages", "dist-packages"}
_CONSTANT = (
    type(None), bool, int, float, complex, str, bytes, range, slice, type(...), np.dtype,
    np.generic, np.ufunc, re.Pattern, Enum, PurePath, types.ModuleType, types.MemberDescriptorType,
    *STATELESS,
)  # fmt: skip
# Members that Python adds to a class. The repr of a dataclass keeps a set of running calls.
_MADE_BY_PYTHON = {"_abc_impl", "_field_defaults", "__repr__"}
_NAMES_A_VARIABLE = {"LOAD_GLOBAL", "LOAD_NAME", "STORE_GLOBAL", "DELETE_GLOBAL"}
# Functions that look up a variable by a string, which the code of the caller does not show.
_NAMES_BY_TEXT = {
    "globals", "eval", "exec", "getattr", "vars", "__import__", "import_module", "modules",
}  # fmt: skip
# Functions that seed a generator of the whole process: of Python, NumPy, torch, Keras, TensorFlow.
_SEEDS = {"seed", "manual_seed", "seed_everything", "set_random_seed", "set_seed"}
_LOADS = {"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FAST", "LOAD_FAST_CHECK", "LOAD_DEREF"}
_PARTS = {"LOAD_ATTR", "LOAD_METHOD", "IMPORT_FROM"}
_STORES = {"STORE_FAST", "STORE_DEREF", "STORE_NAME"}


class References:
    """Distinguishes the user's objects from those of libraries.

    Parameters
    ----------
    functions
        The transforms. Their packages count as the user's even if they are installed.

    Attributes
    ----------
    shares_state
        Whether state was found that a copy of a function would share with the original.
    """

    def __init__(self, functions: tuple[object, ...]) -> None:
        named = (innermost(function) or type(function) for function in functions)
        self._packages = {_package_of(kind.__module__) for kind in named}
        self._seen: dict[int, object] = {}  # by id, which is unique only while the object lives
        self.shares_state = False

    def inspect_class(self, kind: type) -> None:
        """Look for state in a class or its methods."""
        self.shares_state = self._has_state(kind) or self.shares_state

    def names(self, function: types.FunctionType) -> Iterator[tuple[dict[str, Any], str]]:
        """Yield (variables, name) of each global variable of the user's that a function may use."""
        if not self.is_user_module(function.__globals__.get("__name__")):
            return
        variables = function.__globals__
        names, attributes = set[str](), set[str]()
        self.shares_state = self._seeds_a_library(function) or self.shares_state
        for code in _codes(function.__code__):
            for step in dis.get_instructions(code):
                if step.opname == "IMPORT_NAME" and self._is_imported(step.argval, function):
                    self.shares_state = True  # an import returns the original module
                elif step.opname in _NAMES_A_VARIABLE:
                    names.add(step.argval)
            attributes.update(code.co_names)
        if attributes & _NAMES_BY_TEXT:
            self.shares_state = True
            names.update(name for name in variables if name[:2] != "__")
        homes = [(variables, names)]
        for home, wanted in homes:
            for name in sorted(wanted & home.keys()):
                yield home, name
                value = home[name]
                if isinstance(value, types.ModuleType) and self.is_user_module(value.__name__):
                    further = vars(value), attributes
                    if not any(further[0] is met and further[1] is w for met, w in homes):
                        homes.append(further)

    def _seeds_a_library(self, function: types.FunctionType) -> bool:
        """Whether a function seeds a shared generator, as ``np.random.seed`` does."""
        cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
        held = {name: cell.cell_contents for name, cell in cells if is_full(cell)}
        held = {**function.__globals__, **held}
        for code in _codes(function.__code__):
            found: Any = None
            for step in dis.get_instructions(code):
                name = step.argval
                if step.opname in _LOADS:
                    found = held.get(name)
                elif step.opname in _STORES:
                    held[name] = found
                elif step.opname == "IMPORT_NAME":
                    found = sys.modules.get(name)
                elif step.opname in _PARTS and isinstance(found, types.ModuleType):
                    if step.opname != "IMPORT_FROM" or not found.__name__.endswith(f".{name}"):
                        found = vars(found).get(name)  # else: import found.name as …
                elif step.opname not in ("SWAP", "POP_TOP"):  # between the parts of an import
                    found = None
                if inspect.isroutine(found) and found.__name__ in _SEEDS:
                    return not self.is_user_module(getattr(found, "__module__", None) or "builtins")
        return False

    def _is_imported(self, name: str, function: types.FunctionType) -> bool:
        """Whether an import inside a function returns one of the user's modules."""
        beside = f"{function.__globals__.get('__package__')}.{name}".rstrip(".")
        return any(found in sys.modules and self.is_user_module(found) for found in (name, beside))

    def _has_state(self, value: Any) -> bool:
        """Whether an object that copies share can change."""
        if isinstance(value, _CONSTANT) or type(value).__module__ in ("typing", "logging"):
            return False
        if id(value) in self._seen:
            return False
        self._seen[id(value)] = value
        if isinstance(value, tuple | frozenset):
            return any(map(self._has_state, value))
        if isinstance(value, type):
            return self.is_user_module(value.__module__) and any(
                map(self._has_state, self._members(value))
            )
        if isinstance(value, types.FunctionType):
            return not self.is_library_function(value) and any(
                map(self._has_state, self._refers_to(value))
            )
        if isinstance(value, property):
            return any(map(self._has_state, (value.fget, value.fset, value.fdel)))
        if isinstance(value, functools.cached_property):
            return self._has_state(value.func)
        return innermost(value) is None or self._has_state(_parts(value))

    def _members(self, kind: type) -> Iterator[Any]:
        """Yield the members that all instances of one of the user's classes share."""
        for base in inspect.getmro(kind) + inspect.getmro(type(kind)):
            if self.is_user_module(base.__module__) and not issubclass(base, Enum):
                for name, member in vars(base).items():
                    if name not in _MADE_BY_PYTHON and (name[:2] != "__" or innermost(member)):
                        yield member

    def _refers_to(self, function: types.FunctionType) -> Iterator[Any]:
        yield from function.__defaults__ or ()
        yield from (function.__kwdefaults__ or {}).values()
        yield from vars(function).values()
        yield from (cell.cell_contents for cell in function.__closure__ or () if is_full(cell))
        yield from (home[name] for home, name in self.names(function))

    def is_library_function(self, function: types.FunctionType) -> bool:
        """Whether a library defines a function, rather than has made it for the user."""
        if self.is_user_module(function.__module__):
            return False
        found: Any = sys.modules.get(function.__module__)
        for name in function.__qualname__.split("."):
            found = getattr(found, name, None)
        return found is function

    def is_user_module(self, name: str | None) -> bool:
        """Whether a module is not Python's, not installed and not zarrfeed's."""
        package = _package_of(name)
        if package in _OWN_PACKAGES or package in sys.stdlib_module_names:
            return False
        if package in self._packages or name not in sys.modules:
            return True
        module = sys.modules[name]
        file = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", ())), "")
        if not file:
            return name == "__main__"
        return not file.endswith((".so", ".pyd")) and not _INSTALLED & set(Path(file).parts)


def _package_of(module: str | None) -> str:
    return str(module).partition(".")[0]


def innermost(function: Any) -> types.FunctionType | None:
    """Return the function inside partial objects and methods; None for anything else."""
    while isinstance(function, functools.partial | types.MethodType | staticmethod | classmethod):
        function = _parts(function)[0]
    return function if isinstance(function, types.FunctionType) else None


def _parts(function: Any) -> tuple[Any, ...]:
    """Return the parts of a partial object or a method, the function first."""
    if isinstance(function, functools.partial):
        return function.func, function.args, tuple(function.keywords.values())
    return function.__func__, getattr(function, "__self__", None)


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    """Yield the code of a function and of the functions that it defines."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes(constant)


def is_full(cell: types.CellType) -> bool:
    """Whether a variable has a value."""
    try:
        cell.cell_contents  # noqa: B018 - raises if it is empty
    except ValueError:
        return False
    return True
