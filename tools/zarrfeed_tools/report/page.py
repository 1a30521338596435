"""Write a report as one HTML file that needs nothing else.

Names in a store may contain anything. Jinja escapes every text that is put into the page, and a
content security policy lets no script run but ours, and lets nothing be loaded.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import os
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
from markupsafe import Markup

from zarrfeed.errors import ZarrfeedError
from zarrfeed_tools.report.charts import LINES
from zarrfeed_tools.report.notices import checks_of, notices_of, unit_of
from zarrfeed_tools.report.page_filters import FILTERS, TESTS, finalized
from zarrfeed_tools.report.page_texts import (
    about_differences,
    about_gallery,
    about_intensities,
    about_page,
    about_store,
)
from zarrfeed_tools.report.suspects import suspects_of
from zarrfeed_tools.report.table_rows import (
    channels,
    class_lines,
    matrices,
    split_rows,
    spreads,
)
from zarrfeed_tools.report.thumbnails import Fit, fits_from, thumbnails_of

if TYPE_CHECKING:
    from zarrfeed_tools.report.choice import Place
    from zarrfeed_tools.report.facts import Report
    from zarrfeed_tools.report.sampled import Sampled

MOST_NBYTES = 5_000_000
_GENERATOR = b'<meta name="generator" content="zarrfeed report'
_HEAD_NBYTES = 2000  # of a page, within which it says what wrote it
_MOST_COLORS = 48  # classes in the legend
_MOST_COLUMNS = 8  # splits in the table of classes


def require_page(out: Path) -> None:
    """Check that a report may be written to a path, before work begins.

    Parameters
    ----------
    out
        Path of a new file, or of a report, which will be replaced.

    Raises
    ------
    ZarrfeedError
        It is a folder or another file, or its folder does not exist.
    """
    if not out.parent.is_dir():
        raise ZarrfeedError(f"{out}: needed a path in an existing folder, found no {out.parent}")
    if out.is_dir():
        raise ZarrfeedError(
            f"{out}: needed the path of a file, such as report.html, found a folder"
        )
    if out.exists() and not _is_report(out):
        raise ZarrfeedError(
            f"{out}: needed a new file or an earlier report, found another file: choose another "
            "name, or delete it"
        )


def _is_report(path: Path) -> bool:
    if not path.is_file():  # to open a pipe would wait for its other end
        return False
    with path.open("rb") as file:
        return _GENERATOR in file.read(_HEAD_NBYTES)


def write_page(report: Report, sampled: Sampled, out: Path) -> None:
    """Write a report as an HTML file of at most 5 MB, which appears when it is complete.

    Parameters
    ----------
    report
        What is known without pixels.
    sampled
        What was seen of some samples.
    out
        Path of the file. An earlier report is replaced.

    Raises
    ------
    ZarrfeedError
        As :func:`require_page`.
    OSError
        The file cannot be written.
    """
    require_page(out)
    page = render(report, sampled)
    partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(page)
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)


def render(report: Report, sampled: Sampled, *, most_nbytes: int = MOST_NBYTES) -> bytes:
    """Return a report as the bytes of an HTML file.

    Parameters
    ----------
    report, sampled
        As for :func:`write_page`.
    most_nbytes
        How large the page may be: pictures get smaller, then fewer, until it fits.

    Raises
    ------
    ZarrfeedError
        Even a page without pictures is larger.
    """
    template, content = _template(), _content(report, sampled)
    page = b""
    for fit in fits_from(sampled.views, most_nbytes):
        page = template.render(content | _fitted(sampled, fit)).encode()
        if len(page) <= most_nbytes:
            return page
    raise ZarrfeedError(
        f"{report.store}: needed a page of at most {most_nbytes:,} bytes, found {len(page):,} even "
        "without pictures: report one split at a time"
    )


def _content(report: Report, sampled: Sampled) -> dict[str, Any]:
    """Return what the page shows, but for the pictures."""
    unit = unit_of(report)
    splits = [split.name for split in report.splits]
    class_splits, class_rows, ignored = class_lines(report)
    suspects = suspects_of(report, sampled)
    notices = notices_of(report, sampled)
    clean, unchecked = checks_of(report, sampled)
    palettes = [palette for palette in sampled.palettes.values() if palette.names]
    script, style = (_text(name) for name in ("page.js", "page.css"))
    return {
        "report": report,
        "views": sampled.views,
        "name": Path(report.store).name or report.store,
        "about": about_store(report),
        "unit_noun": unit,
        "notices": notices,
        "clean": clean,
        "unchecked": unchecked,
        "split_rows": split_rows(report),
        "gallery_about": about_gallery(report, sampled),
        "has_masks": any(view.overlay is not None for view in sampled.views.values()),
        "legend": palettes[0].legend()[:_MOST_COLORS] if palettes else [],
        "class_splits": class_splits[:_MOST_COLUMNS],
        "class_rows": class_rows,
        "ignored": ignored[:_MOST_COLUMNS] if ignored else None,
        "matrices": matrices(report),
        "spreads": spreads(report),
        "channels": channels(sampled.intensities, splits),
        "lines": [(split, number) for number, split in enumerate(splits[:LINES])],
        "intensities_about": about_intensities(sampled, unit),
        "differences": about_differences(sampled),
        "suspects": suspects,
        "relabelled": sampled.relabelled,
        "skipped": [split for split in report.splits if split.skipped_count],
        "sections": _sections(report, sampled, unit, shows_suspects=bool(suspects)),
        "style": Markup(style),
        "style_hash": _csp_hash(style),
        "script": Markup(script),
        "script_hash": _csp_hash(script),
        "footer": about_page(report, sampled),
    }


def _fitted(sampled: Sampled, fit: Fit) -> dict[str, Any]:
    """Return the pictures of a page, in the size and number that it has room for."""
    shown = sorted({*sampled.choice.spread, *sampled.choice.of_classes})
    step = max(1, -(-len(shown) // fit.pictures)) if fit.pictures else len(shown) + 1
    gallery: dict[str, list[Place]] = {}
    for place in shown[step // 2 :: step]:
        gallery.setdefault(place.split, []).append(place)
    return {"fit": fit, "gallery": gallery, "thumbnails": thumbnails_of(sampled.views, fit)}


def _sections(
    report: Report, sampled: Sampled, unit: str, *, shows_suspects: bool
) -> list[tuple[str, str]]:
    """Return the anchors and titles of the sections that the page has."""
    leakage = report.leakage
    return [
        (anchor, title)
        for anchor, title, there in (
            ("look", "What deserves a look", True),
            ("splits", "Splits", True),
            ("samples", f"{unit.capitalize()}s", True),
            ("classes", "Classes", any(split.classes for split in report.splits)),
            ("sizes", "Sizes", any(split.spread for split in report.splits)),
            ("intensities", "Intensities", bool(sampled.intensities.ranges)),
            ("suspicious", f"Suspicious {unit}s", shows_suspects),
            ("relabelled", "Several masks", bool(sampled.relabelled)),
            ("duplicates", "Exact duplicates", report.duplicates and report.duplicates.count),
            (
                "near-duplicates", "Near duplicates",
                report.near_duplicates and report.near_duplicates.count,
            ),
            ("leakage", "Names in several splits", leakage and (leakage.count or leakage.numbered)),
            ("skipped", "Skipped inputs", any(split.skipped_count for split in report.splits)),
            ("storage", "Storage", True),
        )
        if there
    ]  # fmt: skip


@functools.cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_text),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=finalized,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= FILTERS
    environment.tests |= TESTS
    return environment.get_template("page.html.jinja")


def _text(name: str) -> str:
    """Read a file of the page that lies beside this module."""
    return resources.files("zarrfeed_tools.report").joinpath(name).read_text("utf-8")


def _csp_hash(text: str) -> str:
    """Return the hash by which a content security policy knows a script or a style sheet."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
