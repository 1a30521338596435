"""What is there to know of a format, before data are read?"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from zarrfeed.errors import SourceError
from zarrfeed_convert import FORMATS, factory_of, parameters_of
from zarrfeed_tools.docstrings import Documented, plain, read_docstring
from zarrfeed_tools.source_options import (
    COLOR_HELP,
    DEFAULT_FORMAT,
    FIELD_HELP,
    FLAGS,
    MASK_MAP_HELP,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Default: TypeAlias = str | int | float | bool | None

# The command line has texts of its own for these; docstrings name Python's classes.
_HELP = {"color": COLOR_HELP, "mask_map": MASK_MAP_HELP, "fields": FIELD_HELP}


@dataclass(frozen=True, slots=True)
class FormatRow:
    """A format, in short.

    Attributes
    ----------
    name, summary, extra
        As in :class:`zarrfeed_convert.Format`.
    missing
        What is to be done before it can be used here; empty if it can.
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
    """Something that a format is told; or several things that one text is about.

    Attributes
    ----------
    names
        Of the arguments of the format's class.
    flags
        How each is written on the command line.
    defaults
        Of each; None where it must be given.
    help
        What it means.
    """

    names: tuple[str, ...]
    flags: tuple[str, ...]
    defaults: tuple[Default, ...]
    help: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """A format, and all that it is told.

    Attributes
    ----------
    name
        Of the format.
    usage
        A command line, with a line for each of its parts.
    about
        Paragraphs.
    options
        What it is told.
    examples
        In Python, as a session.
    """

    name: str
    usage: tuple[str, ...]
    about: tuple[str, ...]
    options: tuple[FormatOption, ...]
    examples: str


def list_formats() -> list[FormatRow]:
    """List all formats; each is loaded, to see whether what it needs is there."""
    rows = []
    for known in FORMATS.values():
        missing, fields = "", False
        try:
            fields = "fields" in parameters_of(known.name)
        except (SourceError, ImportError) as error:
            missing = str(error).removeprefix(f"format {known.name}: ")
        rows.append(FormatRow(known.name, known.summary, known.extra, missing, fields))
    return rows


def explain(name: str) -> Explanation:
    """Explain a format by what its class says of itself.

    Raises
    ------
    OptionError
        There is no such format.
    SourceError
        It needs a package that is not there.
    """
    said = read_docstring(inspect.getdoc(factory_of(name)) or "")
    parameters = parameters_of(name)
    about = tuple(plain(text) for text in (said.summary, *said.paragraphs))
    options = tuple(_options(said, parameters))
    return Explanation(name, tuple(_usage(name, parameters)), about, options, said.examples)


def _options(
    said: Documented, parameters: Mapping[str, inspect.Parameter]
) -> Iterator[FormatOption]:
    """Describe arguments in the order of the class, together with those that share their text."""
    left = list(parameters)
    while left:
        group = next((names for names, _ in said.parameters if left[0] in names), (left[0],))
        names = tuple(name for name in left if name in group)
        left = [name for name in left if name not in names]
        yield FormatOption(
            names,
            tuple(FLAGS.get(name, f"-o {name}=") for name in names),
            tuple(_default(parameters[name]) for name in names),
            _HELP.get(names[0]) or plain(said.of(names[0])),
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
    if any(option not in FLAGS for option in parameters):
        yield "[-o NAME=VALUE …]"


def _default(parameter: inspect.Parameter) -> Default:
    if parameter.default is parameter.empty:
        return None
    default: Default = "" if parameter.default is None else parameter.default
    return default
