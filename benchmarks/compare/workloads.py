"""Workloads: which samples to feed, and in batches of which size."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True)
class Workload:
    """Pairs of image and mask, all of one shape.

    Attributes
    ----------
    name
        Name of the workload, one word.
    samples
        Number of pairs.
    image, mask
        Shapes of one sample.
    dtype
        Data type of the images; masks are uint8.
    batch_size
        Samples per batch.
    compute_ms
        Computing time of the emulated accelerator per batch in milliseconds.
    """

    name: str
    samples: int
    image: tuple[int, ...]
    mask: tuple[int, ...]
    dtype: str
    batch_size: int
    compute_ms: float

    @property
    def batches(self) -> int:
        """Number of full batches per epoch."""
        return self.samples // self.batch_size

    @property
    def sample_nbytes(self) -> int:
        """Decoded size of one sample in bytes, including its mask."""
        image = math.prod(self.image) * np.dtype(self.dtype).itemsize
        return image + math.prod(self.mask)

    @property
    def batch_nbytes(self) -> int:
        """Decoded size of one batch in bytes."""
        return self.batch_size * self.sample_nbytes

    @property
    def label(self) -> str:
        """Name and size as text."""
        image, mask = ("×".join(map(str, shape)) for shape in (self.image, self.mask))
        return (
            f"{self.name}: {self.samples:,} × ({image} {self.dtype} + {mask} uint8), batches of "
            f"{self.batch_size} ({self.batch_nbytes / 1e6:.3g} MB)"
        )

    def with_samples(self, samples: int) -> Workload:
        """Return the workload with fewer samples, in a whole number of batches."""
        whole = max(4, samples // self.batch_size) * self.batch_size
        return replace(self, samples=min(self.samples, whole))

    def to_json(self) -> dict[str, Any]:
        """Return a dict that fits JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> Workload:
        """Make a workload from the return value of :meth:`to_json`."""
        return cls(**{**found, "image": tuple(found["image"]), "mask": tuple(found["mask"])})


WORKLOADS = {
    work.name: work
    for work in (
        Workload("tiles", 4096, (256, 256, 3), (256, 256), "uint8", 32, compute_ms=10.0),
        Workload("patches", 65_536, (64, 64, 3), (64, 64), "uint8", 256, compute_ms=5.0),
        Workload("thumbs", 262_144, (28, 28, 1), (28, 28), "uint8", 1024, compute_ms=2.0),
        # Like unet3d of MLPerf Storage, which has one sample of 140 MB per file and no real masks.
        Workload("volumes", 24, (128, 128, 128), (128, 128, 128), "float32", 2, compute_ms=50.0),
    )
}
