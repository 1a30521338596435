"""Does a user's function or model do the same as one of another process?

A digest of all that it depends on: code with its constants, variables, defaults and attributes, and
arrays by their values. Names alone do not tell lambdas apart; pickles differ between processes for
equal functions; and what Python prints of objects holds their addresses.
"""

from __future__ import annotations

import functools
import hashlib
import sys
import types
from typing import Any

import numpy as np

from zarrfeed.feed.workers.function_references import References, is_full

# Members of a class that Python makes, or that decide nothing.
_LEFT_OUT = {
    "__dict__", "__weakref__", "__doc__", "__module__", "__firstlineno__", "__annotations__",
    "__annotate__", "__annotate_func__", "__annotations_cache__", "__static_attributes__",
    "__dataclass_fields__", "__dataclass_params__", "__abstractmethods__", "_abc_impl", "__repr__",
}  # fmt: skip
_PLAIN = (type(None), bool, int, float, complex, str, bytes, type(...), range, slice, np.dtype)
_NAMED = (
    types.BuiltinFunctionType, types.WrapperDescriptorType, types.MethodDescriptorType,
    types.ClassMethodDescriptorType, types.MethodWrapperType, np.ufunc,
)  # fmt: skip
_OF_CODE = (
    "co_code", "co_consts", "co_names", "co_varnames", "co_freevars", "co_cellvars", "co_flags",
    "co_argcount", "co_posonlyargcount", "co_kwonlyargcount", "co_exceptiontable",
)  # fmt: skip


def identity_of(value: object) -> str | None:
    """Return a digest that is equal, also in other processes, for what does the same.

    Functions and classes of installed packages count by their names and the package's version,
    Keras models and layers by configuration and weights, and other objects by what ``pickle``
    would store of them.

    Parameters
    ----------
    value
        A function, or an object such as a model.

    Returns
    -------
    str or None
        None if it has something that is in this process alone, such as a lock or a session.

    Examples
    --------
    >>> identity_of(lambda x: x + 1) == identity_of(lambda x: x + 1)
    True
    >>> identity_of(lambda x: x + 1) == identity_of(lambda x: x + 2)
    False
    """
    found = _Identity()
    try:
        found.add(value)
    except Exception:
        return None
    return found.digest()


class _Identity:
    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=16)
        self._references = References(())
        # By id, which is unique only while the object lives.
        self._seen: dict[int, tuple[int, object]] = {}

    def digest(self) -> str:
        return self._hash.hexdigest()

    def add(self, value: Any) -> None:
        """Add an object and all that it refers to."""
        kind = type(value)
        if isinstance(value, _PLAIN) and kind.__module__ in ("builtins", "numpy", "numpy.dtypes"):
            self._note(kind.__name__, repr(value))
        elif isinstance(value, tuple) and kind is tuple:
            self._all("tuple", *value)
        elif isinstance(value, frozenset) and kind is frozenset:
            self._unordered(value)
        elif isinstance(value, types.CodeType):
            self._all("code", *(getattr(value, name) for name in _OF_CODE))
        elif isinstance(value, np.ndarray | np.generic) and not value.dtype.hasobject:
            self._note("array", value.dtype.descr, value.shape)
            self._hash.update(np.ascontiguousarray(value).tobytes())
        elif id(value) in self._seen:
            self._note("again", self._seen[id(value)][0])
        else:
            self._seen[id(value)] = len(self._seen), value
            self._compound(value)

    def _compound(self, value: Any) -> None:
        kind = type(value)
        if kind is list:
            self._all("list", *value)
        elif kind is dict:
            self._all("dict", *(part for item in value.items() for part in item))
        elif kind is set:
            self._unordered(value)
        elif isinstance(value, types.ModuleType):
            self._library("module", value.__name__, "")
        elif isinstance(value, types.FunctionType):
            self._function(value)
        elif isinstance(value, type):
            self._class(value)
        elif isinstance(value, _NAMED):
            home = getattr(value, "__self__", None)
            self._note("builtin", value.__name__, getattr(value, "__module__", None))
            self.add(None if isinstance(home, types.ModuleType) else home)
        elif isinstance(value, types.MethodType):
            self._all("method", value.__func__, value.__self__)
        elif isinstance(value, functools.partial):
            self._all("partial", value.func, value.args, value.keywords)
        elif isinstance(value, staticmethod | classmethod):
            self._all(kind.__name__, value.__func__)
        elif isinstance(value, property):
            self._all("property", value.fget, value.fset, value.fdel)
        elif isinstance(value, functools.cached_property):
            self._all("cached property", value.func)
        elif isinstance(value, functools._lru_cache_wrapper):
            self._all("cached", value.__wrapped__)
        elif isinstance(value, types.GetSetDescriptorType | types.MemberDescriptorType):
            self._note("member", value.__name__)
        elif hasattr(value, "get_config") and hasattr(value, "get_weights"):
            self._keras(value)
        elif hasattr(value, "__array__"):  # a tensor
            found = value.detach().cpu() if hasattr(value, "detach") else value
            self._note("tensor", kind.__name__)
            self.add(np.asarray(found))
        else:
            self._object(value)

    def _function(self, function: types.FunctionType) -> None:
        if self._references.is_library_function(function):
            self._library("function", function.__module__, function.__qualname__)
            return
        cells = [c.cell_contents if is_full(c) else None for c in function.__closure__ or ()]
        names = [(name, home[name]) for home, name in self._references.names(function)]
        self._all(
            "function", function.__code__, function.__defaults__, function.__kwdefaults__,
            function.__dict__, *cells, *names,
        )  # fmt: skip

    def _class(self, kind: type) -> None:
        if not self._references.is_user_module(kind.__module__):
            self._library("class", kind.__module__, kind.__qualname__)
            return
        members = sorted((n, member) for n, member in vars(kind).items() if n not in _LEFT_OUT)
        self._all("class", kind.__qualname__, kind.__bases__, *members)

    def _keras(self, value: Any) -> None:
        """Add a model or layer of Keras."""
        # The configuration has the names of the layers' classes, but not their code.
        layers = value._flatten_layers() if hasattr(value, "_flatten_layers") else ()
        kinds = dict.fromkeys(type(layer) for layer in layers)
        self._all("keras", type(value), value.get_config(), value.get_weights(), *kinds)

    def _object(self, value: Any) -> None:
        if type(value) is object:  # a sentinel
            self._note("object")
            return
        reduced = value.__reduce_ex__(4)
        if isinstance(reduced, str):  # a global variable
            self._library("global", getattr(value, "__module__", None), reduced)
            return
        # The items of a list or dict come from an iterator.
        self._all("object", *(list(p) if hasattr(p, "__next__") else p for p in reduced))

    def _library(self, kind: str, module: str | None, name: str) -> None:
        package = sys.modules.get(str(module).partition(".")[0])
        self._note(kind, module, name, getattr(package, "__version__", None))

    def _unordered(self, values: set[Any] | frozenset[Any]) -> None:
        parts = []
        for value in values:
            part = _Identity()
            part._seen = dict(self._seen)
            part.add(value)
            parts.append(part.digest())
        self._note("set", sorted(parts))

    def _all(self, kind: str, *parts: Any) -> None:
        self._note(kind, len(parts))
        for part in parts:
            self.add(part)

    def _note(self, *what: object) -> None:
        text = repr(what).encode(errors="surrogateescape")
        self._hash.update(len(text).to_bytes(8, "little") + text)
