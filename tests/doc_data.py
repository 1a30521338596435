"""What is in the folder in which a page of the documentation runs?

A page that begins with data of its reader has a function here, which makes small data of that kind.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zarrfeed_tools.cells import write_cells

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def cells(folder: Path) -> None:
    """Draw what `make demo` draws: demo/cells/{train,val}/{images,masks}."""
    for split, count in (("train", 40), ("val", 20)):
        write_cells(folder / "demo/cells" / split, count, size=128, seed=len(split))


# The page, relative to docs/, and what prepares its folder.
PREPARED: dict[str, Callable[[Path], None]] = {
    "../README.md": cells,
    "quick-start.md": cells,
}
