"""What does the reference say of each command? What its ``--help`` says."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any

import typer

from generators.markdown import code, escaped, joined, of_help
from zarrfeed_tools.application import app

if TYPE_CHECKING:
    from collections.abc import Iterator

_KEEP = "\b"  # before a paragraph whose lines are kept
_EXAMPLES = re.compile(r"\[bold\](Examples?)\[/\]\s*")


def command_pages() -> dict[str, str]:
    """Return a page for each command, by file name."""
    group = typer.main.get_command(app)
    context = group.make_context("zarrfeed", ["--help"], resilient_parsing=True)
    return {
        f"{name}.md": _page(name, group.get_command(context, name), context)  # type: ignore[attr-defined]
        for name in group.list_commands(context)  # type: ignore[attr-defined]
    }


def _page(name: str, command: Any, parent: Any) -> str:
    context = type(parent)(command, info_name=name, parent=parent)
    usage = " ".join(["zarrfeed", name, *_pieces(command, context)])
    records = [
        (type(parameter).__name__.endswith("Argument"), parameter.get_help_record(context))
        for parameter in command.get_params(context)
    ]
    arguments = [record for positional, record in records if positional and record]
    options = [record for positional, record in records if record and not positional]
    text, examples = _split(inspect.cleandoc(command.help or ""))
    return joined(
        [
            f"# zarrfeed {name}",
            *(of_help(" ".join(paragraph.split())) for paragraph in text),
            f"```text\n{usage}\n```",
            *_examples(examples),
            "## Arguments" if arguments else "",
            *_entries(arguments),
            "## Options",
            *_entries(options),
        ]
    )


def _pieces(command: Any, context: Any) -> list[str]:
    return [piece.strip("{}") for piece in command.collect_usage_pieces(context)]


def _split(text: str) -> tuple[list[str], list[str]]:
    """Return the paragraphs of a help text, and the examples at its end."""
    about, *rest = _EXAMPLES.split(text, maxsplit=1)
    return about.strip().split("\n\n"), rest[1].strip().split("\n\n") if rest else []


def _examples(paragraphs: list[str]) -> Iterator[str]:
    if paragraphs:
        yield "## Examples"
    for paragraph in paragraphs:
        kept = paragraph.removeprefix(_KEEP).strip("\n")
        is_text = paragraph.startswith("(")
        remark = of_help(kept.strip("()")) if is_text else ""
        yield f"{remark[:1].upper()}{remark[1:]}:" if is_text else f"```bash\n{kept}\n```"


def _entries(records: list[tuple[str, str]]) -> Iterator[str]:
    for names, text in records:
        yield f"{code(names)}\n: {_with_default(' '.join(text.split()))}"


def _with_default(text: str) -> str:
    """Return the Markdown of a help text, whose last words in brackets are facts."""
    found = re.fullmatch(r"(.*?)(?: *\[([^][]+)\])?", text)
    assert found is not None
    about, facts = found.groups()
    return of_help(about) + (f" *{escaped(facts)}*" if facts else "")
