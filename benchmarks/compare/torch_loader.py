"""Loaders that use a PyTorch ``DataLoader`` or a subclass of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from compare.peer import Batch, Loader, Setting

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from compare.workloads import Workload


class TorchLoader(Loader):
    """Delivers the tensors of a loader that shuffles again in every epoch.

    Parameters
    ----------
    work
        The workload.
    loader
        Loader of pairs of tensors: batches of images and masks.
    """

    def __init__(self, work: Workload, loader: Any) -> None:
        super().__init__(work)
        self._loader = loader

    def epoch(self, number: int) -> Iterator[Batch]:  # noqa: ARG002 - the loader counts by itself
        """Iterate once. The arrays share the tensors' memory."""
        for image, mask in self._loader:
            yield image.numpy(), mask.numpy()

    def close(self) -> None:
        """Drop the loader, whose processes end with it."""
        self._loader = None


def worker_settings(cores: int) -> list[Setting]:
    """Return settings with no worker process, with one, and with several."""
    return [{"workers": count} for count in sorted({0, 1, min(cores, 4)})]


def worker_options(setting: Setting) -> dict[str, Any]:
    """Return the arguments of a ``DataLoader`` for persistent workers that are not forked."""
    workers = int(setting["workers"])
    return {
        "num_workers": workers,
        "persistent_workers": workers > 0,
        "multiprocessing_context": "forkserver" if workers else None,
    }


class Collate:
    """Joins the bytes of samples to a batch.

    Parameters
    ----------
    work
        The workload.
    """

    def __init__(self, work: Workload) -> None:
        self._fields = ((work.dtype, work.image), ("uint8", work.mask))

    def arrays(self, samples: Sequence[Sequence[Any]]) -> Batch:
        """Join pairs of buffers, one per field of a sample, with one copy."""
        image, mask = (
            np.frombuffer(bytearray().join(parts), dtype).reshape(-1, *shape)
            for (dtype, shape), parts in zip(self._fields, zip(*samples, strict=True), strict=True)
        )
        return image, mask

    def __call__(self, samples: Sequence[Sequence[Any]]) -> tuple[Any, Any]:
        """Join samples to tensors, which torch passes between processes by shared memory."""
        import torch

        image, mask = self.arrays(samples)
        return torch.from_numpy(image), torch.from_numpy(mask)
