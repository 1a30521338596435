"""Feed sharded Zarr v3 stores of images and masks to Keras at memory speed."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

# Imports nothing heavy, and makes `zarrfeed.errors` an attribute.
from zarrfeed.errors import ReadError, SourceError, StoreError, WorkerError, ZarrfeedError

if TYPE_CHECKING:
    from zarrfeed.evaluation.comparison import evaluate
    from zarrfeed.evaluation.scores import Evaluation
    from zarrfeed.feed.stats import EpochStats
    from zarrfeed.feed.workers.patch_reader import PatchPlace
    from zarrfeed.fronts.callbacks import FeedMonitor
    from zarrfeed.fronts.front_end import FrontEnd
    from zarrfeed.fronts.keras_sequence import ZarrSequence
    from zarrfeed.fronts.prediction import predict
    from zarrfeed.fronts.resume_callback import ResumeCallback
    from zarrfeed.order.class_shares import ClassShare, ClassShares
    from zarrfeed.order.mix import Mix
    from zarrfeed.order.patches import CoverPatches, GridPatches, RandomPatches
    from zarrfeed.order.sampling import Balanced, RepeatFactor, Shares, Weights
    from zarrfeed.store.case_array import CaseArray
    from zarrfeed.store.cases import Cases, open_case, open_cases
    from zarrfeed.store.descriptive_arrays import Normalization, class_pixels
    from zarrfeed.store.reader import SplitReader, read_samples
    from zarrfeed.store.split import Split
    from zarrfeed.store.split_opening import list_splits, open_split
    from zarrfeed.store.stitching import stitch

__version__ = "0.1.0"

__all__ = [
    "Balanced",
    "CaseArray",
    "Cases",
    "ClassShare",
    "ClassShares",
    "CoverPatches",
    "EpochStats",
    "Evaluation",
    "FeedMonitor",
    "FrontEnd",
    "GridPatches",
    "Mix",
    "Normalization",
    "PatchPlace",
    "RandomPatches",
    "ReadError",
    "RepeatFactor",
    "ResumeCallback",
    "Shares",
    "SourceError",
    "Split",
    "SplitReader",
    "StoreError",
    "Weights",
    "WorkerError",
    "ZarrSequence",
    "ZarrfeedError",
    "__version__",
    "class_pixels",
    "evaluate",
    "list_splits",
    "open_case",
    "open_cases",
    "open_split",
    "predict",
    "read_samples",
    "stitch",
]


# Where each other name is defined, below this package.
_HOME = {
    "Balanced": "order.sampling",
    "CaseArray": "store.case_array",
    "Cases": "store.cases",
    "ClassShare": "order.class_shares",
    "ClassShares": "order.class_shares",
    "CoverPatches": "order.patches",
    "EpochStats": "feed.stats",
    "Evaluation": "evaluation.scores",
    "FeedMonitor": "fronts.callbacks",
    "FrontEnd": "fronts.front_end",  # a sequence without Keras, to be iterated over by hand
    "GridPatches": "order.patches",
    "Mix": "order.mix",
    "Normalization": "store.descriptive_arrays",
    "PatchPlace": "feed.workers.patch_reader",
    "RandomPatches": "order.patches",
    "RepeatFactor": "order.sampling",
    "ResumeCallback": "fronts.resume_callback",
    "Shares": "order.sampling",
    "Split": "store.split",
    "SplitReader": "store.reader",
    "Weights": "order.sampling",
    "ZarrSequence": "fronts.keras_sequence",
    "class_pixels": "store.descriptive_arrays",
    "evaluate": "evaluation.comparison",
    "list_splits": "store.split_opening",
    "open_case": "store.cases",
    "open_cases": "store.cases",
    "open_split": "store.split_opening",
    "predict": "fronts.prediction",
    "read_samples": "store.reader",
    "stitch": "store.stitching",
}


def __getattr__(name: str) -> Any:
    """Import a name when it is first used: workers need no Keras, a supervisor no NumPy."""
    if name not in _HOME:
        raise AttributeError(f"module 'zarrfeed' has no attribute {name!r}")
    home = _HOME[name]
    if name == "ZarrSequence":
        from zarrfeed.fronts.keras_version import legacy_keras

        if legacy_keras():
            return import_module("zarrfeed.fronts.tf_keras_sequence").ZarrSequence
    value = getattr(import_module(f"zarrfeed.{home}"), name)
    if name != "ZarrSequence":  # which Keras is used may still change
        globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
