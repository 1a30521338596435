"""What is in the folder in which a page of the documentation runs?

A page that begins with data of its reader has a function here, which makes small data of that kind.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from zarrfeed_convert import PairedFolders, convert
from zarrfeed_tools.cells import write_cells

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def cells(folder: Path) -> None:
    """Draw what `make demo` draws: demo/cells/{train,val}/{images,masks}."""
    for split, count in (("train", 40), ("val", 20)):
        write_cells(folder / "demo/cells" / split, count, size=128, seed=len(split))


def cells_and_scans(folder: Path) -> None:
    """Pack cells.zarr as the quick start does, and scans.zarr, two volumes of different sizes."""
    write_cells(folder / "cells", 40, size=128, seed=5)
    pairs = PairedFolders(folder / "cells/images", folder / "cells/masks")
    convert(pairs, folder / "cells.zarr", split="train", workers=1)
    random = np.random.default_rng(0)
    scans = [
        {
            "image": random.integers(-1000, 1000, (planes, 40, 37), "int16"),
            "mask": (random.random((planes, 40, 37)) > 0.9).astype("uint8"),
            "spacing": (2.5, 0.8, 0.8),
        }
        for planes in (20, 33)
    ]
    convert(scans, folder / "scans.zarr", split="train", classes=2, tile=(16, 16, 16), workers=1)


# The page, relative to docs/, and what prepares its folder.
PREPARED: dict[str, Callable[[Path], None]] = {
    "../README.md": cells,
    "quick-start.md": cells,
    "specification.md": cells_and_scans,
}
