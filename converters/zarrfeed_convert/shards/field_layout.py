"""How is one field of a split stored?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from zarrfeed_convert.shards.codecs import Codec


@dataclass(frozen=True, slots=True)
class FieldLayout:
    """How a field is stored.

    Attributes
    ----------
    name
        Name of the field: ``image``, ``mask``, …
    sample_shape
        Shape of one sample.
    dtype
        Dtype of the array.
    codec
        Codec of the chunks.
    chunk_rows, shard_rows
        Samples per chunk and per file, the same for every field of a split.
    """

    name: str
    sample_shape: tuple[int, ...]
    dtype: np.dtype[Any]
    codec: Codec
    chunk_rows: int
    shard_rows: int

    @property
    def sample_nbytes(self) -> int:
        """Bytes of one decoded sample."""
        return math.prod(self.sample_shape) * self.dtype.itemsize

    @property
    def chunks_per_shard(self) -> int:
        """Number of chunks in one file."""
        return self.shard_rows // self.chunk_rows
