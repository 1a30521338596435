"""Pack images and masks into sharded Zarr v3 stores that :mod:`zarrfeed` feeds from.

>>> from zarrfeed_convert import PairedFolders, convert
>>> pairs = PairedFolders("camvid/train", "camvid/trainannot")  # doctest: +SKIP
>>> convert(pairs, "camvid.zarr", split="train", classes=12)  # doctest: +SKIP
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zarrfeed_convert.conversion import convert
    from zarrfeed_convert.copying.copied import CopiedSplit, CopyReport
    from zarrfeed_convert.copying.dataset_copy import copy, require_target
    from zarrfeed_convert.copying.originals import fetch_originals
    from zarrfeed_convert.decoding.limits import Limits
    from zarrfeed_convert.detection.candidate import Candidate
    from zarrfeed_convert.detection.detect import choose_format, detect_formats
    from zarrfeed_convert.extra_fields import fields_of_text
    from zarrfeed_convert.formats import (
        FORMATS,
        Format,
        OptionError,
        factory_of,
        open_source,
        options_of_text,
        parameters_of,
    )
    from zarrfeed_convert.header import Header
    from zarrfeed_convert.planning.layout import text_of_bytes
    from zarrfeed_convert.planning.planner import OnProgress
    from zarrfeed_convert.repacking.repack import repack
    from zarrfeed_convert.source import Source
    from zarrfeed_convert.sources.image_files.paired import PairedFolders
    from zarrfeed_convert.splits.report import Report
    from zarrfeed_convert.splits.split_summary import (
        Cells,
        ClassFacts,
        FieldFacts,
        class_cells,
        classes_of,
        field_cells,
        fields_of,
        percentage,
    )
    from zarrfeed_convert.supervision.supervisor import (
        begin_supervised,
        set_read_timeout,
        supervise,
    )
    from zarrfeed_convert.verification.comparison import Originals
    from zarrfeed_convert.verification.findings import Problem, SplitVerification, Verification
    from zarrfeed_convert.verification.verify import verify

# Where each name is defined, below this package.
_HOME = {
    "FORMATS": "formats",
    "Candidate": "detection.candidate",
    "Cells": "splits.split_summary",
    "ClassFacts": "splits.split_summary",
    "CopiedSplit": "copying.copied",
    "CopyReport": "copying.copied",
    "FieldFacts": "splits.split_summary",
    "Format": "formats",
    "Header": "header",
    "Limits": "decoding.limits",
    "OnProgress": "planning.planner",
    "OptionError": "formats",
    "Originals": "verification.comparison",
    "PairedFolders": "sources.image_files.paired",
    "Problem": "verification.findings",
    "Report": "splits.report",
    "Source": "source",
    "SplitVerification": "verification.findings",
    "Verification": "verification.findings",
    "begin_supervised": "supervision.supervisor",
    "choose_format": "detection.detect",
    "class_cells": "splits.split_summary",
    "classes_of": "splits.split_summary",
    "convert": "conversion",
    "copy": "copying.dataset_copy",
    "detect_formats": "detection.detect",
    "factory_of": "formats",
    "fetch_originals": "copying.originals",
    "field_cells": "splits.split_summary",
    "fields_of": "splits.split_summary",
    "fields_of_text": "extra_fields",
    "open_source": "formats",
    "options_of_text": "formats",
    "parameters_of": "formats",
    "percentage": "splits.split_summary",
    "repack": "repacking.repack",
    "require_target": "copying.dataset_copy",
    "set_read_timeout": "supervision.supervisor",
    "supervise": "supervision.supervisor",
    "text_of_bytes": "planning.layout",
    "verify": "verification.verify",
}

__all__ = [
    "FORMATS",
    "Candidate",
    "Cells",
    "ClassFacts",
    "CopiedSplit",
    "CopyReport",
    "FieldFacts",
    "Format",
    "Header",
    "Limits",
    "OnProgress",
    "OptionError",
    "Originals",
    "PairedFolders",
    "Problem",
    "Report",
    "Source",
    "SplitVerification",
    "Verification",
    "begin_supervised",
    "choose_format",
    "class_cells",
    "classes_of",
    "convert",
    "copy",
    "detect_formats",
    "factory_of",
    "fetch_originals",
    "field_cells",
    "fields_of",
    "fields_of_text",
    "open_source",
    "options_of_text",
    "parameters_of",
    "percentage",
    "repack",
    "require_target",
    "set_read_timeout",
    "supervise",
    "text_of_bytes",
    "verify",
]


def __getattr__(name: str) -> Any:
    """Import a name when it is first used: a packing process needs few of them."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
