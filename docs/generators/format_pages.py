"""What does the documentation say of each format? What ``zarrfeed formats NAME`` says."""

from __future__ import annotations

from generators.markdown import code, joined, of_docstring
from zarrfeed_convert import FORMATS, factory_of
from zarrfeed_tools.explanation import Explanation, FormatOption, explain


def format_pages() -> dict[str, str]:
    """Return a page for each format, by file name, and the table of all of them.

    Raises
    ------
    SourceError
        A format needs a package that is not installed.
    """
    explained = {name: explain(name, of_docstring) for name in FORMATS}
    pages = {f"{name}.md": _page(explained[name]) for name in FORMATS}
    return {**pages, "table.txt": _table(explained)}


def _table(explained: dict[str, Explanation]) -> str:
    lines = [
        "| `--format` | what it reads | `--images` | `--masks` | extra |",
        "|---|---|---|---|---|",
    ]
    for known in FORMATS.values():
        cells = (
            f"[`{known.name}`]({known.name}.md)",
            of_docstring(known.summary),
            *_places(explained[known.name].options),
            known.extra and code(known.extra),
        )
        lines.append("| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |")
    toctree = "```{toctree}\n:hidden:\n\n" + "\n".join(FORMATS) + "\n```"
    return joined(["\n".join(lines), toctree])


def _places(options: tuple[FormatOption, ...]) -> tuple[str, str]:
    """Return what `--images` and `--masks` are, by the first sentence about them."""
    about = {name: option for option in options for name in option.names}
    images, masks = about["images"], about.get("masks")
    said = "" if masks is None else "the same" if masks is images else _first(masks)
    return _first(images), said


def _first(option: FormatOption) -> str:
    return option.help.partition(". ")[0].removesuffix(".")


def _page(explanation: Explanation) -> str:
    known = FORMATS[explanation.name]
    usage = " \\\n  ".join(explanation.usage)
    factory = factory_of(explanation.name)
    return joined(
        [
            f"# {explanation.name}",
            *explanation.about,
            f"Needs `pip install 'zarrfeed[{known.extra}]'`." if known.extra else "",
            f"```text\n{usage}\n```",
            "## Options",
            *map(_entry, explanation.options),
            "## In Python",
            f"The format is the class `{factory.__module__}.{factory.__name__}`; `convert` takes "
            f'an object of it, or `zarrfeed_convert.open_source("{explanation.name}", …)`.',
            f"```pycon\n{explanation.examples}\n```" if explanation.examples else "",
        ]
    )


def _entry(option: FormatOption) -> str:
    names = ", ".join(map(code, option.flags))
    return f"{names}\n: {option.help} {_defaults(option)}"


def _defaults(option: FormatOption) -> str:
    required = [flag for flag, value in zip(option.flags, option.defaults, strict=True)
                if value is None]  # fmt: skip
    if required:
        every = len(required) == len(option.flags)
        return "*Required.*" if every else f"*Required:* {', '.join(map(code, required))}."
    shown = dict.fromkeys(_text(value) for value in option.defaults if value is not None)
    facts = ", ".join(fact for fact in shown if fact)
    return f"*Default:* {facts}." if facts else ""


def _text(default: str | float) -> str:
    """Write a value as in ``-o NAME=VALUE``."""
    if isinstance(default, bool):
        return code("yes" if default else "no")
    return code(str(default)) if default != "" else ""
