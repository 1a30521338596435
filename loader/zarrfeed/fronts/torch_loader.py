"""A stream of batches as a torch ``DataLoader``. The only module that imports torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from zarrfeed.order.ranks import DetectedRank

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from zarrfeed.arrays import Arrays, Nest


class _Stream(IterableDataset[tuple[Any, ...]]):  # type: ignore[misc, unused-ignore]
    def __init__(
        self,
        batches: Callable[[], Iterator[Arrays]],
        nest: Nest,
    ) -> None:
        self._batches = batches
        self._nest = nest

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        for batch in self._batches():
            yield self._nest([torch.from_numpy(array) for array in batch])


def stream_loader(
    batches: Callable[[], Iterator[Arrays]],
    nest: Nest,
) -> DataLoader[Any]:
    """Wrap a stream without copying. Tensors share the batches' memory; Keras would copy arrays.

    Parameters
    ----------
    batches
        Function that starts a pass, which yields tuples of arrays.
    nest
        Function that nests tensors as inputs, targets and weights.

    Returns
    -------
    DataLoader
        A loader of what `nest` returns. Every iterator on it starts a pass.
    """
    return DataLoader(_Stream(batches, nest), batch_size=None)


def process_group() -> DetectedRank:
    """Return the rank of this process in torch's default process group."""
    distributed = torch.distributed
    if not distributed.is_available():
        return DetectedRank()
    if distributed.is_initialized():
        return DetectedRank(
            distributed.get_rank(), distributed.get_world_size(), "torch.distributed"
        )
    return DetectedRank()


def refuse_in_worker(name: str) -> None:
    """Refuse to read in a worker process of a ``DataLoader``, where no epoch would ever end.

    Raises
    ------
    RuntimeError
        This is a worker process.
    """
    if get_worker_info() is not None:
        raise RuntimeError(
            f"a {name} reads ahead by itself, and in a worker of a DataLoader its epochs would not "
            f"advance: iterate over it, with {name}(workers=…), or use DataLoader(sequence, "
            "batch_size=None, num_workers=0)"
        )
