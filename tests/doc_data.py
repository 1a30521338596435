"""What is in the folder in which a page of the documentation runs?

A page that begins with data of its reader has a function here, which makes small data of that kind.
It may return a context in which the page runs, such as a server.
"""

from __future__ import annotations

import atexit
import os
import shutil
from contextlib import ExitStack, contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from doc_drawings import write_coco, write_nnunet, write_scene, write_streets
from servers.s3 import new_bucket, s3_server
from zarrfeed_convert import PairedFolders, convert
from zarrfeed_tools.cells import write_cells

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from servers.s3 import Bucket

CAMVID = Path(__file__).resolve().parents[2] / "shared/data/camvid"
# Height and width of the scene: 10000 takes minutes on a busy machine.
SCENE = int(os.environ.get("ZARRFEED_SCENE", "1500"))


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


def few_cells(folder: Path) -> None:
    """Draw fewer and smaller cells into the same folders."""
    for split, count in (("train", 16), ("val", 8)):
        write_cells(folder / "demo/cells" / split, count, size=64, seed=len(split))


def streets(folder: Path) -> None:
    """Take some of CamVid, where it is, or draw streets in its layout."""
    counts = {"train": 16, "val": 4}
    if not CAMVID.is_dir():
        write_streets(folder / "camvid", counts, size=(120, 160))
        return
    for subset, count in counts.items():
        for part in (subset, f"{subset}annot"):
            (folder / "camvid" / part).mkdir(parents=True)
            for path in sorted((CAMVID / part).iterdir())[:count]:
                shutil.copy(path, folder / "camvid" / part)


def coco(folder: Path) -> None:
    """Draw cells/images and cells/annotations/{train,val}.json."""
    _require("pycocotools")
    write_coco(folder / "cells", {"train": 24, "val": 8}, size=128)


def nnunet(folder: Path) -> None:
    """Draw Dataset001_Lesions."""
    _require("nibabel")
    write_nnunet(folder / "Dataset001_Lesions", 6)


def scene(folder: Path) -> None:
    """Draw scenes/munich.tif and cover/munich.tif."""
    _require("rasterio")
    write_scene(folder, SCENE)


def cells_for_torch(folder: Path) -> None:
    """Draw cells for a page that needs torch."""
    _require("torch")
    cells(folder)


def nothing_but_grain(folder: Path) -> None:
    """Prepare nothing for a page that needs Grain."""
    _require("grain")


def cells_and_bucket(folder: Path) -> AbstractContextManager[None]:
    """Draw cells for a page that needs an S3 bucket ``datasets``, and credentials for it."""
    _require("moto", "obstore")
    cells(folder)
    return _bucket()


@contextmanager
def packed_cells_and_bucket(folder: Path) -> Iterator[None]:
    """Pack cells, and upload them into the bucket ``datasets``."""
    with cells_and_bucket(folder):
        images = folder / "demo/cells/train"
        source = PairedFolders(images / "images", images / "masks")
        convert(source, folder / "cells.zarr", split="train", workers=1)
        import obstore
        from obstore.store import S3Store

        store = S3Store("datasets", region="us-east-1")
        for file in (folder / "cells.zarr").rglob("*"):
            if file.is_file():
                obstore.put(store, file.relative_to(folder).as_posix(), file.read_bytes())
        yield


@contextmanager
def _bucket() -> Iterator[None]:
    """Serve S3 on this machine while the page runs."""
    with new_bucket(_s3(), "datasets") as bucket, pytest.MonkeyPatch.context() as patch:
        for name, value in bucket.environment.items():
            patch.setenv(name, value)
        yield


@cache
def _s3() -> Bucket:
    """Start one server for all pages."""
    ends = ExitStack()
    atexit.register(ends.close)
    return ends.enter_context(s3_server())


def _require(*packages: str) -> None:
    for package in packages:
        if find_spec(package) is None:
            pytest.skip(f"needs {package}")


# Guides that begin with a few cells.
FEW = (
    "packing", "masks", "training", "augmentation", "resume",
    "choosing-settings", "untrusted-files", "verify-and-repack",
)  # fmt: skip
# The page, relative to docs/, and what prepares its folder.
PREPARED: dict[str, Callable[[Path], AbstractContextManager[None] | None]] = {
    "../README.md": cells,
    "quick-start.md": cells,
    "specification.md": cells_and_scans,
    **dict.fromkeys((f"guides/{name}.md" for name in FEW), few_cells),
    "coming-from.md": few_cells,
    "guides/grain-pipelines.md": nothing_but_grain,
    "tutorials/streets.md": streets,
    "tutorials/cells-coco.md": coco,
    "tutorials/ct-volumes.md": nnunet,
    "tutorials/geotiff.md": scene,
    "tutorials/two-processes.md": cells_for_torch,
    "tutorials/s3.md": cells_and_bucket,
    "guides/copying.md": cells_and_bucket,
    "guides/object-stores.md": packed_cells_and_bucket,
}
