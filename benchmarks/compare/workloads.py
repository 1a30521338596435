"""Which samples are fed, and in batches of how many?"""

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
        One word.
    samples
        How many pairs.
    image, mask
        Shapes of one sample.
    dtype
        Of the image; masks are uint8.
    batch_size
        Samples per batch.
    compute_ms
        Milliseconds that the emulated accelerator computes on a batch.
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
        """Full batches per epoch."""
        return self.samples // self.batch_size

    @property
    def sample_nbytes(self) -> int:
        """Decoded bytes of one sample, mask included."""
        image = math.prod(self.image) * np.dtype(self.dtype).itemsize
        return image + math.prod(self.mask)

    @property
    def batch_nbytes(self) -> int:
        """Decoded bytes of one batch."""
        return self.batch_size * self.sample_nbytes

    @property
    def label(self) -> str:
        """Name and size in words."""
        image, mask = ("×".join(map(str, shape)) for shape in (self.image, self.mask))
        return (
            f"{self.name}: {self.samples:,} × ({image} {self.dtype} + {mask} uint8), batches of "
            f"{self.batch_size} ({self.batch_nbytes / 1e6:.3g} MB)"
        )

    def with_samples(self, samples: int) -> Workload:
        """Take fewer samples, a whole number of batches of them."""
        whole = max(4, samples // self.batch_size) * self.batch_size
        return replace(self, samples=min(self.samples, whole))

    def to_json(self) -> dict[str, Any]:
        """Give plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> Workload:
        """Take what :meth:`to_json` gave."""
        return cls(**{**found, "image": tuple(found["image"]), "mask": tuple(found["mask"])})


WORKLOADS = {
    work.name: work
    for work in (
        Workload("tiles", 4096, (256, 256, 3), (256, 256), "uint8", 32, compute_ms=10.0),
        Workload("patches", 65_536, (64, 64, 3), (64, 64), "uint8", 256, compute_ms=5.0),
        Workload("thumbs", 262_144, (28, 28, 1), (28, 28), "uint8", 1024, compute_ms=2.0),
        # As unet3d of MLPerf Storage, which has one sample of 140 MB a file and no real masks.
        Workload("volumes", 24, (128, 128, 128), (128, 128, 128), "float32", 2, compute_ms=50.0),
    )
}
