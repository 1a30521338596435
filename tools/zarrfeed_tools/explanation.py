"""Which formats are there, and which options does each have?"""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from zarrfeed.errors import SourceError
from zarrfeed_convert import FORMATS, factory_of, parameters_of
from zarrfeed_tools.docstrings import Documented, plain, read_docstring
from zarrfeed_tools.source_options import (
    COLOR_HELP,
    DEFAULT_FORMAT,
    FLAGS,
    MASK_MAP_HELP,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

Default: TypeAlias = str | int | float | bool | None

# Help texts of options of the command line, in place of docstrings, which refer to Python classes.
_HELP = {"color": COLOR_HELP, "mask_map": MASK_MAP_HELP}
_MAPPING = re.compile(r'\{"(\w+)": "([^"]+)"\}')  # on the command line: NAME=ROLE:PLACE


@dataclass(frozen=True, slots=True)
class FormatRow:
    """One line about a format.

    Attributes
    ----------
    name, summary, extra
        See :class:`zarrfeed_convert.Format`.
    missing
        How to install what the format needs; empty if it is installed.
    fields
        Whether it takes further fields (``--field``).
    """

    name: str
    summary: str
    extra: str
    missing: str
    fields: bool


@dataclass(frozen=True, slots=True)
class FormatOption:
    """One option of a format, or several options that share a description.

    Attributes
    ----------
    names
        Names of the arguments of the format's class.
    flags
        The option of the command line for each.
    defaults
        The default of each; None if it is required.
    help
        The description.
    """

    names: tuple[str, ...]
    flags: tuple[str, ...]
    defaults: tuple[Default, ...]
    help: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """A format and its options.

    Attributes
    ----------
    name
        Name of the format.
    usage
        A command line, one part per line.
    about
        Paragraphs that describe the format.
    options
        The format's options.
    examples
        Examples in Python, as an interactive session.
    """

    name: str
    usage: tuple[str, ...]
    about: tuple[str, ...]
    options: tuple[FormatOption, ...]
    examples: str


def list_formats() -> list[FormatRow]:
    """Return all formats. Each is imported to find out whether its packages are installed."""
    rows = []
    for known in FORMATS.values():
        missing, fields = "", False
        try:
            fields = "fields" in parameters_of(known.name)
        except (SourceError, ImportError) as error:
            missing = str(error).removeprefix(f"format {known.name}: ")
        rows.append(FormatRow(known.name, known.summary, known.extra, missing, fields))
    return rows


def explain(name: str, text_of: Callable[[str], str] = plain) -> Explanation:
    """Explain a format by the docstring and the parameters of its class.

    Parameters
    ----------
    name
        Name of the format.
    text_of
        Converts each paragraph, which is reStructuredText.

    Raises
    ------
    OptionError
        There is no such format.
    SourceError
        The format needs a package that is not installed.
    """
    documented = read_docstring(inspect.getdoc(factory_of(name)) or "")
    parameters = parameters_of(name)
    about = tuple(text_of(text) for text in (documented.summary, *documented.paragraphs))
    options = tuple(_options(documented, parameters, text_of))
    return Explanation(name, tuple(_usage(name, parameters)), about, options, documented.examples)


def _options(
    documented: Documented,
    parameters: Mapping[str, inspect.Parameter],
    text_of: Callable[[str], str],
) -> Iterator[FormatOption]:
    """Yield arguments in the order of the class, together with those that share a description."""
    left = list(parameters)
    while left:
        group = next((names for names, _ in documented.parameters if left[0] in names), (left[0],))
        names = tuple(name for name in left if name in group)
        left = [name for name in left if name not in names]
        yield FormatOption(
            names,
            tuple(FLAGS.get(name, f"-o {name}=") for name in names),
            tuple(_default(parameters[name]) for name in names),
            text_of(_HELP.get(names[0]) or _MAPPING.sub(r"\1=\2", documented.of(names[0]))),
        )


def _usage(name: str, parameters: Mapping[str, inspect.Parameter]) -> Iterator[str]:
    yield "zarrfeed convert OUT.zarr --split train"
    if name != DEFAULT_FORMAT:
        yield f"--format {name}"
    for option, parameter in parameters.items():
        flag = f"{FLAGS[option]} {option.upper()}" if option in FLAGS else f"-o {option}=VALUE"
        if parameter.default is parameter.empty:
            yield flag
        elif option == "masks":
            yield f"[{flag}]"
        elif option == "fields":
            yield "[--field NAME=ROLE:PLACE …]"
    if any(option not in FLAGS for option in parameters):
        yield "[-o NAME=VALUE …]"


def _default(parameter: inspect.Parameter) -> Default:
    if parameter.default is parameter.empty:
        return None
    default: Default = "" if parameter.default is None else parameter.default
    return default
