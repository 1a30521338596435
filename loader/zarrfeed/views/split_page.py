"""What do notebooks show of a split?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from zarrfeed.spelling import plural
from zarrfeed.views.chosen import spread
from zarrfeed.views.drawn_arrays import Drawing, View
from zarrfeed.views.notebook_page import LARGEST, PICTURES, NotebookPage
from zarrfeed.views.stored_views import StoredViews, palette_of

if TYPE_CHECKING:
    from zarrfeed.pictures.palette import Palette
    from zarrfeed.store.split import Split

# Larger images are not read as wholes for a cell of a notebook: their middle is shown.
READ_NBYTES = 64 << 20


def split_html(split: Split) -> str:
    """Return what a notebook shows of a split. Never raises; a problem is part of the page."""
    facts: list[tuple[str, str]] = [("path", split.address)]
    views, problem, palette = list[View](), "", None
    try:
        palette = palette_of(split)
        facts += _facts(split, palette)
        shown = StoredViews(split, Drawing(palette, most=LARGEST, most_nbytes=READ_NBYTES))
        views = shown.draw(spread(range(len(shown)), PICTURES, None))
    except Exception as error:  # a damaged store, whatever is damaged
        problem = f"can't be drawn: {error or type(error).__name__}"
    fields = [("field", "shape", "dtype", "codec")]
    fields += [
        (name, " × ".join(map(str, layout.shape)), str(layout.dtype), layout.codec)
        for name, layout in sorted(split.layouts.items())
        if name in split.field_names
    ]
    fields += [(name, "–", "–", reason) for name, reason in sorted(split.unfit.items())]
    return NotebookPage("zarrfeed split", facts, fields, palette, views, problem).html()


def _facts(split: Split, palette: Palette) -> list[tuple[str, str]]:
    facts = []
    tile = split.tile_size
    if tile is not None:
        shown = StoredViews(split, Drawing(palette))
        assert shown.cases is not None
        sizes = shown.cases.sizes
        low, high = sizes.min(axis=0).tolist(), sizes.max(axis=0).tolist()
        extents = (
            f"{small}" if small == large else f"{small}…{large}"
            for small, large in zip(low, high, strict=True)
        )
        facts.append(("cases", f"{len(sizes):,} of {' × '.join(extents)}"))
        facts.append(("tiles", f"{split.tiles:,} of {' × '.join(map(str, tile))}"))
        spacings = shown.cases.spacings
        if spacings is not None and not np.isnan(spacings).all():
            middle = np.nanmedian(spacings, axis=0).tolist()
            facts.append(("median spacing", " × ".join(f"{step:.4g}" for step in middle)))
    else:
        lengths = {split.layouts[name].shape[0] for name in split.default_fields}
        facts.append(("samples", " or ".join(f"{length:,}" for length in sorted(lengths))))
    if palette.names:
        kind = ", one channel each, which may overlap" if palette.multi_hot else ""
        facts.append(("classes", f"{len(palette.names):,}{kind}"))
    if split.ignore is not None:
        facts.append(("ignored id", str(split.ignore)))
    skipped = split.attributes.get("packed", {}).get("skipped", ())
    if skipped:
        facts.append(("skipped", plural(len(skipped), "input")))
    return facts
