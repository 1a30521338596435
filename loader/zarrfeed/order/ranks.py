"""Which share of every epoch is this process's, where several train together?

Pure: the frameworks' own modules find out who says so (:class:`Found`); here it is weighed against
what the user asked for. The order itself takes the outcome as two numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

AUTO: Final = "auto"
Auto: TypeAlias = int | Literal["auto"]


@dataclass(frozen=True, slots=True)
class Found:
    """What the surroundings say.

    Attributes
    ----------
    rank, world_size
        The share of the data that this process trains on.
    source
        Who says so, such as "torch.distributed"; "" where nobody does.
    doubt
        Why one process may not be the truth; "" where there is no doubt.
    """

    rank: int = 0
    world_size: int = 1
    source: str = ""
    doubt: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the user asked for; None stands for "auto".

    Examples
    --------
    >>> pair = Found(1, 2, "torch.distributed")
    >>> Asked(None, None).share(pair), Asked(None, None).share(Found()), Asked(0, 4).share(pair)
    ((1, 2), (0, 1), (0, 4))
    """

    rank: int | None
    world_size: int | None

    def share(self, found: Found) -> tuple[int, int]:
        """Decide.

        Returns
        -------
        rank, world_size
            As asked for, and otherwise as found.

        Raises
        ------
        ValueError
            There is no such rank.
        """
        world_size = found.world_size if self.world_size is None else self.world_size
        rank = self.rank
        if rank is None:
            rank = found.rank if found.world_size == world_size else 0
        if rank >= world_size:
            hint = "" if self.world_size else ": give world_size, too"
            raise ValueError(f"rank must be below world_size, not {rank} of {world_size}{hint}")
        return rank, world_size

    def complaint(self, found: Found) -> str:
        """Say what is wrong with what was asked for; "" if nothing is."""
        rank, world_size = self.share(found)
        if found.source and (rank, world_size) != (found.rank, found.world_size):
            return (
                f"the sequence was given rank {rank} of {world_size}, but {found.source} says "
                f"{found.rank} of {found.world_size}: samples will be missed or seen twice. Leave "
                "rank and world_size out to take what is found"
            )
        if self.rank is None and world_size != found.world_size:
            return (
                f"the sequence was given world_size={world_size} without a rank, and nothing says "
                "which rank this process is; it takes rank 0: give rank, too"
            )
        return ""
