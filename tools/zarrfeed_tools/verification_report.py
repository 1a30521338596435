"""Print the result of a verification."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zarrfeed_convert import text_of_bytes
from zarrfeed_tools.terminal import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from zarrfeed_convert import Problem, SplitVerification, Verification

_SHOWN = 10  # problems per group
_WORDS = {
    "metadata": "wrong description",
    "array": "wrong record",
    "keys": "wrong name",
    "tiles": "wrong tile place",
    "file-missing": "missing file",
    "file-damaged": "damaged file",
    "file-extra": "extra file",
    "sample-damaged": "unreadable sample",
    "sample-changed": "changed sample",
    "statistics": "wrong statistic",
    "source": "source that cannot be opened",
    "original-changed": "changed original",
    "original-missing": "missing original",
    "original-new": "new original",
}


def show_verification(found: Verification, out: Console) -> None:
    """Print the result of a verification."""
    for split in found.splits:
        _show_split(split, out)
    for note in found.notes:
        out.print(f"note: {shown(note)}", soft_wrap=True)
    nbytes = sum(split.nbytes for split in found.splits)
    rate = text_of_bytes(int(nbytes / found.seconds))
    out.print(f"{text_of_bytes(nbytes)} in {found.seconds:.1f} s, {rate}/s", soft_wrap=True)


def _show_split(split: SplitVerification, out: Console) -> None:
    groups: dict[str, list[Problem]] = {"store": [], "sample": [], "original": []}
    for problem in split.problems:
        group = problem.kind.partition("-")[0].replace("source", "original")
        groups.get(group, groups["store"]).append(problem)
    listed = ", ".join(_counted(count, _WORDS[kind]) for kind, count in split.counts.items())
    verdict = "[bold green]as it was packed[/]"
    if groups["store"] or groups["sample"]:
        verdict = f"[bold red]not as it was packed[/]: {listed}"
    elif groups["original"]:
        verdict += f", [bold red]its originals are not[/]: {listed}"
    out.print(f"[bold]{shown(split.path)}[/]: {verdict}", soft_wrap=True)
    out.print(f"  checked: {', '.join(_checked(split))}", soft_wrap=True)
    for note in split.notes:
        out.print(f"  note: {shown(note)}", soft_wrap=True)
    for problems in groups.values():
        _show_problems(problems, out)


def _checked(split: SplitVerification) -> list[str]:
    checked = []
    unit = "sample" if split.cases is None else "tile"
    if split.decoded:
        of_cases = "" if split.cases is None else f" of {_counted(split.cases, 'case')}"
        checked.append(f"{_counted(split.decoded, unit)}{of_cases}, decoded")
    if split.files:
        checked.append(f"every byte of {_counted(split.files, 'file')}")
    if split.originals:
        checked.append(f"the originals of {_counted(split.originals, unit)}")
    return checked or ["its description alone"]


def _show_problems(problems: Sequence[Problem], out: Console) -> None:
    for problem in problems[:_SHOWN]:
        where = [file for file in problem.files if file not in problem.what]
        text = problem.what + (f" ({', '.join(where)})" if where else "")
        out.print(f"  [red]{_WORDS[problem.kind]}[/]: {shown(text)}", soft_wrap=True)
    if len(problems) > _SHOWN:
        out.print(f"  … and {len(problems) - _SHOWN:,} more; --json lists all", soft_wrap=True)


def _counted(count: int, what: str) -> str:
    if count == 1:
        return f"1 {what}"
    head, that, tail = what.partition(" that ")
    return f"{count:,} {head}s{that}{tail}"
