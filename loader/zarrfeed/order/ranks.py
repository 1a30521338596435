"""Which share of every epoch does this process read in a distributed run?

Pure. The modules of the frameworks detect a rank (:class:`DetectedRank`); this module combines it
with the one that the user requested.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from zarrfeed.errors import look_up

if TYPE_CHECKING:
    from collections.abc import Mapping

AUTO: Final = "auto"
Auto: TypeAlias = int | Literal["auto"]


@dataclass(frozen=True, slots=True)
class DetectedRank:
    """The rank that the frameworks report.

    Attributes
    ----------
    rank, world_size
        The share of the data that this process trains on.
    source
        What reports the rank, such as "torch.distributed"; "" if nothing does.
    warning
        Why there may be more than one process although none was detected; "" if there is no sign
        of that.
    """

    rank: int = 0
    world_size: int = 1
    source: str = ""
    warning: str = ""


# What starts several processes, by the variables that it sets for each: its name, the variable with
# their number, and what to call before the first batch. In the script of a SLURM job, outside of
# srun, SLURM_NTASKS counts the tasks that srun would start: there is only one process.
_LAUNCHERS = {
    "SLURM_PROCID": (
        "srun",
        "SLURM_STEP_NUM_TASKS",
        "keras.distribution.initialize and set_distribution (JAX), or "
        "torch.distributed.init_process_group",
    ),
    "TORCHELASTIC_RUN_ID": ("torchrun", "WORLD_SIZE", "torch.distributed.init_process_group"),
    "OMPI_COMM_WORLD_RANK": ("mpirun", "OMPI_COMM_WORLD_SIZE", "your framework's initialisation"),
}


def undetected(environment: Mapping[str, str]) -> DetectedRank:
    """Return one process, with a warning if a launcher says that it has started several.

    Its number is not taken for the rank: the processes may well be independent experiments.

    Parameters
    ----------
    environment
        Environment variables of this process, which no framework has given a rank.

    Examples
    --------
    >>> undetected({"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "8"}).warning[:26]
    'srun started 8 processes: '
    >>> undetected({"SLURM_PROCID": "0", "SLURM_NTASKS": "8"}).warning
    ''
    """
    if "TF_CONFIG" in environment:  # TensorFlow itself shares out every batch
        return DetectedRank()
    for mark, (name, count, call) in _LAUNCHERS.items():
        processes = environment.get(count, "1")
        if mark in environment and processes != "1":
            return DetectedRank(
                warning=f"{name} started {processes} processes: call {call} first, or give rank "
                "and world_size"
            )
    return DetectedRank()


@dataclass(frozen=True, slots=True)
class RequestedRank:
    """The rank that the user requested; None stands for "auto".

    Examples
    --------
    >>> detected = DetectedRank(1, 2, "torch.distributed")
    >>> RequestedRank(None, None).resolve(detected), RequestedRank(0, 4).resolve(detected)
    ((1, 2), (0, 4))
    """

    rank: int | None
    world_size: int | None

    def resolve(self, detected: DetectedRank) -> tuple[int, int]:
        """Combine the requested with the detected rank.

        Returns
        -------
        rank, world_size
            The requested numbers, or the detected ones in place of "auto".

        Raises
        ------
        ValueError
            `rank` is not below `world_size`.
        """
        world_size = detected.world_size if self.world_size is None else self.world_size
        rank = self.rank
        if rank is None:
            rank = detected.rank if detected.world_size == world_size else 0
        if rank >= world_size:
            hint = "" if self.world_size else ": give world_size, too"
            raise ValueError(
                f"rank must be below world_size, not {rank} of {world_size}{hint}{look_up('rank')}"
            )
        return rank, world_size

    def conflict(self, detected: DetectedRank) -> str:
        """Return a warning if the requested rank does not fit the detected one, else ""."""
        rank, world_size = self.resolve(detected)
        if detected.source and (rank, world_size) != (detected.rank, detected.world_size):
            return (
                f"the sequence was given rank {rank} of {world_size}, but {detected.source} says "
                f"{detected.rank} of {detected.world_size}: samples will be missed or seen twice. "
                "Leave rank and world_size out to use the detected ones"
            )
        if self.rank is None and world_size != detected.world_size:
            return (
                f"the sequence was given world_size={world_size} without a rank, and the rank of "
                "this process could not be detected: it uses rank 0. Give rank, too"
            )
        return ""
