"""Which share of an epoch's draws contains each class?"""

from __future__ import annotations

from dataclasses import dataclass

_HEADINGS = ("class", "target", "achieved")


@dataclass(frozen=True, slots=True)
class ClassShare:
    """The share of an epoch's draws that contain a class.

    Attributes
    ----------
    target
        The share that was asked for, from 0 to 1; None if none was.
    achieved
        The share in the epoch.
    """

    target: float | None
    achieved: float


class ClassShares(dict[str | int, ClassShare]):
    """The share of each class, by name, or by id in a store without names; shown as a table.

    Examples
    --------
    >>> ClassShares({"background": ClassShare(None, 1.0), "lesion": ClassShare(0.5, 0.5)})
    class        target  achieved
    background        –  100.00 %
    lesion      50.00 %   50.00 %
    """

    def __repr__(self) -> str:
        rows = [
            _HEADINGS,
            *(
                (str(name), _percent(row.target), _percent(row.achieved))
                for name, row in self.items()
            ),
        ]
        first, *others = (max(map(len, column)) for column in zip(*rows, strict=True))
        return "\n".join(
            "  ".join([name.ljust(first), *map(str.rjust, numbers, others)])
            for name, *numbers in rows
        )


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.2%}".replace("%", " %")
