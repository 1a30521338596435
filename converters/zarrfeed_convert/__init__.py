"""Pack images and masks into sharded Zarr v3 stores that :mod:`zarrfeed` feeds from.

>>> from zarrfeed_convert import PairedFolders, convert
>>> pairs = PairedFolders("camvid/train", "camvid/trainannot")  # doctest: +SKIP
>>> convert(pairs, "camvid.zarr", split="train", classes=12)  # doctest: +SKIP
"""

from __future__ import annotations

from zarrfeed_convert.conversion import convert
from zarrfeed_convert.deciding import OnProgress
from zarrfeed_convert.decisions import text_of_bytes
from zarrfeed_convert.facts import ClassFacts, FieldFacts, classes_of, fields_of
from zarrfeed_convert.report import Report
from zarrfeed_convert.source import Header, Source
from zarrfeed_convert.sources.paired import PairedFolders

__all__ = [
    "ClassFacts",
    "FieldFacts",
    "Header",
    "OnProgress",
    "PairedFolders",
    "Report",
    "Source",
    "classes_of",
    "convert",
    "fields_of",
    "text_of_bytes",
]
