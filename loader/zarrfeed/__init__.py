"""Feed sharded Zarr v3 stores of images and masks to Keras at memory speed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zarrfeed.errors import ReadError, SourceError, StoreError, WorkerError, ZarrfeedError
from zarrfeed.feed.stats import EpochStats
from zarrfeed.fronts.keras_version import legacy_keras
from zarrfeed.store.descriptive_arrays import Normalization, class_pixels
from zarrfeed.store.reader import SplitReader, read_samples
from zarrfeed.store.split import Split, list_splits, open_split
from zarrfeed.store.tiles import stitch

if TYPE_CHECKING:
    from zarrfeed.fronts.callbacks import FeedMonitor
    from zarrfeed.fronts.front_end import FrontEnd
    from zarrfeed.fronts.keras_sequence import ZarrSequence
    from zarrfeed.fronts.resume_callback import ResumeCallback

__version__ = "0.1.0"

__all__ = [
    "EpochStats",
    "FeedMonitor",
    "FrontEnd",
    "Normalization",
    "ReadError",
    "ResumeCallback",
    "SourceError",
    "Split",
    "SplitReader",
    "StoreError",
    "WorkerError",
    "ZarrSequence",
    "ZarrfeedError",
    "__version__",
    "class_pixels",
    "list_splits",
    "open_split",
    "read_samples",
    "stitch",
]


def __getattr__(name: str) -> Any:
    """Import Keras only when it is asked for: workers and the converter never do."""
    if name == "ZarrSequence":
        if legacy_keras():
            from zarrfeed.fronts.tf_keras_sequence import ZarrSequence as LegacySequence

            return LegacySequence
        from zarrfeed.fronts.keras_sequence import ZarrSequence

        return ZarrSequence
    if name == "FeedMonitor":
        from zarrfeed.fronts.callbacks import FeedMonitor

        return FeedMonitor
    if name == "ResumeCallback":
        from zarrfeed.fronts.resume_callback import ResumeCallback

        return ResumeCallback
    if name == "FrontEnd":  # a sequence without Keras, to be iterated over by hand
        from zarrfeed.fronts.front_end import FrontEnd

        return FrontEnd
    raise AttributeError(f"module 'zarrfeed' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
