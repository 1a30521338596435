"""What is suspicious in a dataset, in a line each?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zarrfeed.spelling import plural
from zarrfeed_tools.report.checks import CHECKS

if TYPE_CHECKING:
    from zarrfeed_tools.report.facts import Report

_SHOWN = 3  # keys
_WIDTH = 100  # of what is said of one


def summary_lines(report: Report) -> list[str]:
    """Say what is in a dataset, what was found, and what could not be looked for, in lines.

    Parameters
    ----------
    report
        The facts.
    """
    lines = [f"{split.name}: {plural(split.units, split.unit)}" for split in report.splits]
    lines += finding_lines(report) or ["nothing suspicious was found"]
    reasons: dict[str, list[str]] = {}
    for split in report.splits:
        for name, why in split.unknown.items():
            reasons.setdefault(f"{split.name}: {why}", []).append(name)
    lines += [f"not looked for: {', '.join(names)} in {where}" for where, names in reasons.items()]
    return lines


def finding_lines(report: Report) -> list[str]:
    """Say what was found, a line for each kind of finding.

    Parameters
    ----------
    report
        The facts.
    """
    lines = []
    for name, check in CHECKS.items():
        count, first = check.find(report)
        if count:
            such = [key if len(key) <= _WIDTH else f"{key[:_WIDTH]}…" for key in first[:_SHOWN]]
            more = " …" if count > len(such) else ""
            lines.append(f"{check.text(count)}: {'; '.join(such)}{more}")
        if name == "leakage" and report.leakage is not None:
            lines += [f"not counted as leakage: {remark}" for remark in report.leakage.numbered]
    return lines
