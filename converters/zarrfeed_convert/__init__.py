"""Pack images and masks into sharded Zarr v3 stores that :mod:`zarrfeed` feeds from.

>>> from zarrfeed_convert import PairedFolders, convert
>>> pairs = PairedFolders("camvid/train", "camvid/trainannot")  # doctest: +SKIP
>>> convert(pairs, "camvid.zarr", split="train", classes=12)  # doctest: +SKIP
"""

from __future__ import annotations

from zarrfeed_convert.conversion import convert
from zarrfeed_convert.facts import ClassFacts, FieldFacts, classes_of, fields_of
from zarrfeed_convert.formats import (
    FORMATS,
    Format,
    OptionError,
    factory_of,
    open_source,
    options_of_text,
    parameters_of,
)
from zarrfeed_convert.planning.deciding import OnProgress
from zarrfeed_convert.planning.decisions import text_of_bytes
from zarrfeed_convert.repacking.repack import repack
from zarrfeed_convert.report import Report
from zarrfeed_convert.source import Header, Source
from zarrfeed_convert.sources.image_files.paired import PairedFolders
from zarrfeed_convert.verification.comparison import Originals
from zarrfeed_convert.verification.findings import Problem, SplitVerification, Verification
from zarrfeed_convert.verification.verify import verify

__all__ = [
    "FORMATS",
    "ClassFacts",
    "FieldFacts",
    "Format",
    "Header",
    "OnProgress",
    "OptionError",
    "Originals",
    "PairedFolders",
    "Problem",
    "Report",
    "Source",
    "SplitVerification",
    "Verification",
    "classes_of",
    "convert",
    "factory_of",
    "fields_of",
    "open_source",
    "options_of_text",
    "parameters_of",
    "repack",
    "text_of_bytes",
    "verify",
]
