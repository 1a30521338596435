"""Print the scores of predictions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from zarrfeed.spelling import few, plural
from zarrfeed_tools.tables import table_of
from zarrfeed_tools.terminal import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from zarrfeed import Evaluation

_SCORES = 12  # columns of a terminal that two scores and the space between columns take


def show_evaluation(found: Evaluation, out: Console, *, cases: int) -> None:
    """Print the scores of classes, and those of the worst cases.

    Parameters
    ----------
    found
        The scores.
    out
        Where to print.
    cases
        How many cases to print.
    """
    out.print(f"[bold]{shown(found)}[/]", soft_wrap=True)
    for what, keys in (
        ("without a prediction", found.unpredicted),
        ("that the store does not have", found.unknown),
    ):
        if keys:
            listed = shown(few(keys, shown=5))
            out.print(f"left out: {plural(len(keys), 'case')} {what}: {listed}", soft_wrap=True)
    _show_classes(found, out)
    if cases and len(found.keys) > 1:
        _show_cases(found, out, cases)


def _show_classes(found: Evaluation, out: Console) -> None:
    numbers = ("cases", "Dice", "IoU", "pooled\nDice", "pooled\nIoU")
    table = table_of("class", numbers=numbers)
    for row in zip(
        found.classes,
        found.class_cases.tolist(),
        found.class_dice.tolist(),
        found.class_iou.tolist(),
        found.pooled_dice.tolist(),
        found.pooled_iou.tolist(),
        strict=True,
    ):
        name, count, *scores = row
        table.add_row(shown(name), f"{count:,}", *map(_text, scores))
    out.print(table)
    if not found.class_cases.all():
        out.print("– : neither in the masks nor predicted", soft_wrap=True)


def _show_cases(found: Evaluation, out: Console, most: int) -> None:
    dice, iou = found.case_dice.tolist(), found.case_iou.tolist()
    worst = np.argsort(dice, kind="stable")[:most].tolist()  # NaN comes last
    columns = ["Dice", "IoU"]
    longest = max(len(found.keys[case]) for case in worst)
    wide = sum(max(_SCORES, len(name) + 1) for name in found.classes)
    each = longest + _SCORES + wide <= out.width
    columns += [f"{shown(name)}\nDice  IoU" for name in found.classes] if each else []
    texts = ("case",) if each else ("case", "lowest class")
    table = table_of(*texts, numbers=columns)
    for case in worst:
        scores = found.dice[case].tolist()
        cells = [shown(found.keys[case])]
        if not each:
            cells.append(_lowest(found.classes, scores))
        cells += [_text(dice[case]), _text(iou[case])]
        if each:
            cells += [
                f"{_text(a)} {_text(b)}"
                for a, b in zip(scores, found.iou[case].tolist(), strict=True)
            ]
        table.add_row(*cells)
    out.print(table)
    if len(found.keys) > len(worst):
        out.print(
            f"the worst of {len(found.keys):,} cases by Dice; --cases shows more, --json all",
            soft_wrap=True,
        )


def _lowest(classes: Sequence[str], scores: Sequence[float]) -> str:
    """Name the class with the lowest score."""
    if np.isnan(scores).all():
        return ""
    lowest = int(np.nanargmin(scores))
    return f"{shown(classes[lowest])} {_text(scores[lowest])}"


def _text(score: float) -> str:
    return "–" if np.isnan(score) else f"{score:.3f}"
