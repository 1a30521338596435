"""Which share of an epoch's draws contains each class?"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ClassShare:
    """The share of an epoch's draws that contain a class, or of patches that had to contain it.

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

    Attributes
    ----------
    heading
        Title of the column of :attr:`ClassShare.achieved`.

    Examples
    --------
    >>> ClassShares({"background": ClassShare(None, 1.0), "lesion": ClassShare(0.5, 0.5)})
    class        target  achieved
    background        –  100.00 %
    lesion      50.00 %   50.00 %
    """

    heading = "achieved"

    def __repr__(self) -> str:
        rows = [
            ("class", "target", self.heading),
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


class ForcedShares(ClassShares):
    """The share of patches that had to contain each class; others may contain it, too.

    Examples
    --------
    >>> ForcedShares({"lesion": ClassShare(0.33, 0.3333)})
    class    target   forced
    lesion  33.00 %  33.33 %
    """

    heading = "forced"


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.2%}".replace("%", " %")
