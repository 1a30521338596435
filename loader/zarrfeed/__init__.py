"""Feed sharded Zarr v3 stores of images and masks to Keras at memory speed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zarrfeed.errors import ReadError, SourceError, StoreError, WorkerError, ZarrfeedError
from zarrfeed.reader import class_pixels, read_samples
from zarrfeed.store import Split, list_splits, open_split

if TYPE_CHECKING:
    from zarrfeed.sequence import ZarrSequence

__version__ = "0.1.0"

__all__ = [
    "ReadError",
    "SourceError",
    "Split",
    "StoreError",
    "WorkerError",
    "ZarrSequence",
    "ZarrfeedError",
    "__version__",
    "class_pixels",
    "list_splits",
    "open_split",
    "read_samples",
]


def __getattr__(name: str) -> Any:
    """Import Keras only when the sequence is asked for: workers and the converter never are."""
    if name == "ZarrSequence":
        from zarrfeed.sequence import ZarrSequence

        return ZarrSequence
    raise AttributeError(f"module 'zarrfeed' has no attribute {name!r}")
