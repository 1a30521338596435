"""What types do the parameters of public functions have?

Docstrings leave types to annotations. For the reference, they are written into the docstrings'
lists, and left out of the signatures. Annotations are read as text, for many names in them are
imported for type checkers only; aliases are replaced by what they stand for.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_SECTION = re.compile(r"^(\w[\w ]*)\n-{3,}$", re.MULTILINE)
_TARGET, _NO_TARGET = re.compile(r"_(?!\w)"), r"\\_"  # np.bool_ would be a link
_LISTS = ("Parameters", "Attributes")


def type_text(annotation: str, module: str) -> str:
    """Return an annotation as numpydoc writes types.

    Parameters
    ----------
    annotation
        As it is in the source.
    module
        Name of the module that has it.

    >>> type_text("Fit | None", "zarrfeed_convert.conversion")
    "{'resize', 'crop', 'pad'} or None"
    """
    tree = _expand(ast.parse(annotation, mode="eval").body, module)
    return " or ".join(dict.fromkeys(map(_alternative, _alternatives(tree))))


def _alternatives(tree: ast.expr) -> list[ast.expr]:
    if isinstance(tree, ast.BinOp):
        return [*_alternatives(tree.left), *_alternatives(tree.right)]
    return [tree]


def _alternative(tree: ast.expr) -> str:
    if isinstance(tree, ast.Subscript):
        name = ast.unparse(tree.value)
        if name == "Literal":
            values = tree.slice.elts if isinstance(tree.slice, ast.Tuple) else [tree.slice]
            return (
                ast.unparse(values[0])
                if len(values) == 1
                else "{" + ", ".join(map(ast.unparse, values)) + "}"
            )
        if name == "os.PathLike":
            return "path"
    return ast.unparse(tree)


class _Expansion(ast.NodeTransformer):
    """Replaces aliases by what they stand for."""

    def __init__(self, module: str) -> None:
        self.module = module

    def visit_Name(self, node: ast.Name) -> ast.expr:
        home, aliases = self.module, _aliases(self.module)
        if node.id not in aliases:
            home = _imports(self.module).get(node.id, "")
            aliases = _aliases(home)
        return _expand(aliases[node.id], home) if node.id in aliases else node


def _expand(tree: ast.expr, module: str) -> ast.expr:
    if isinstance(tree, ast.Constant) and isinstance(tree.value, str):  # an annotation as text
        tree = ast.parse(tree.value, mode="eval").body
    if isinstance(tree, ast.Subscript) and ast.unparse(tree.value) == "Literal":
        return tree
    expanded: ast.expr = _Expansion(module).visit(ast.parse(ast.unparse(tree), mode="eval").body)
    return expanded


@cache
def _tree(module: str) -> ast.Module:
    if module.partition(".")[0] not in ("zarrfeed", "zarrfeed_convert", "zarrfeed_tools"):
        return ast.Module([], [])
    source = import_module(module).__file__
    assert source is not None
    return ast.parse(Path(source).read_text("utf-8"))


@cache
def _aliases(module: str) -> Mapping[str, ast.expr]:
    return {
        node.target.id: node.value
        for node in _tree(module).body
        if isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Name)
        and node.value is not None
        and ast.unparse(node.annotation) == "TypeAlias"
    }


@cache
def _imports(module: str) -> Mapping[str, str]:
    """Return the module of every imported name, those for type checkers included."""
    return {
        name.asname or name.name: node.module
        for node in ast.walk(_tree(module))
        if isinstance(node, ast.ImportFrom) and node.module is not None
        for name in node.names
    }


def annotations_of(documented: Any) -> dict[str, str]:
    """Return the types of the parameters and attributes of a function or class, as text."""
    found: dict[str, str] = {}
    if inspect.isclass(documented):
        for base in reversed(documented.__mro__):
            for name, value in base.__dict__.items():
                if isinstance(value, property) and value.fget is not None:
                    annotation = value.fget.__annotations__.get("return")
                    found |= _texts({name: annotation}, base.__module__)
            found |= _texts(inspect.get_annotations(base), base.__module__)
        maker = documented.__init__
        return found | (annotations_of(maker) if inspect.isfunction(maker) else {})
    inner = inspect.unwrap(documented)
    return _texts(getattr(inner, "__annotations__", {}), getattr(inner, "__module__", ""))


def _texts(annotations: Mapping[str, Any], module: str) -> dict[str, str]:
    return {
        name: type_text(annotation, module)
        for name, annotation in annotations.items()
        if isinstance(annotation, str) and module in sys.modules
    }


def with_types(docstring: str, types: Mapping[str, str]) -> str:
    r"""Return a numpydoc docstring whose lists of parameters and attributes have types.

    >>> with_types("Do.\n\nParameters\n----------\nx, y\n    Two.", {"x": "int", "y": "int"})
    'Do.\n\nParameters\n----------\nx, y : int\n    Two.'
    """
    parts = _SECTION.split(docstring)
    for number in range(1, len(parts), 2):
        if parts[number] in _LISTS:
            parts[number + 1] = re.sub(
                r"^(\*{0,2}\w+(?:, \*{0,2}\w+)*)$",
                lambda names: _typed(names[1], types),
                parts[number + 1],
                flags=re.MULTILINE,
            )
    return parts[0] + "".join(
        f"{name}\n{'-' * len(name)}{body}"
        for name, body in zip(parts[1::2], parts[2::2], strict=True)
    )


def _typed(names: str, types: Mapping[str, str]) -> str:
    found = {types.get(name.strip("* ")) for name in names.split(",")}
    kind = found.pop() if len(found) == 1 else None
    return f"{names} : {_TARGET.sub(_NO_TARGET, kind)}" if kind else names


def without_types(arguments: str) -> str:
    """Return the arguments of a signature without their types.

    >>> without_types("(path: str | None, *, seed: int = 0)")
    '(path, *, seed=0)'
    """
    try:
        [function] = ast.parse(f"def f{arguments}: ...").body
    except SyntaxError:  # a default that is no expression
        return arguments
    for node in ast.walk(function):
        if isinstance(node, ast.arg):
            node.annotation = None
    assert isinstance(function, ast.FunctionDef)
    return f"({ast.unparse(function.args)})"
