"""Is the image decoder that packing uses the fastest one?"""

from __future__ import annotations

import io
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np
from PIL import Image

from figures import Figure, quantity, ratio
from trial import take_turns
from zarrfeed_convert.decoding.decode import decode

try:
    import cv2
except ImportError:  # the table names the decoders that were compared
    cv2 = None

if TYPE_CHECKING:
    from collections.abc import Callable

_FILES = 40


def decoders(images: str, scratch: Path, rounds: int) -> list[Figure]:
    """Row 2: milliseconds per image, zarrfeed's decoder and the fastest of three others."""
    pngs = sorted(Path(images).glob("*.png"))[:_FILES]
    jpegs = [_as_jpeg(path, scratch) for path in pngs]
    figures = []
    for kind, paths in (("PNG", pngs), ("JPEG", jpegs)):
        ways = {name: partial(_time, paths, way) for name, way in _ways(kind).items()}
        found = take_turns(ways, rounds)
        others = [name for name in found if name != "zarrfeed"]
        fastest = [min(times) for times in zip(*(found[name] for name in others), strict=True)]
        how = (
            f"{len(paths)} CamVid images, from the file to an array (H, W, 3) in RGB; the fastest "
            f"of {', '.join(others)} in each round; JPEG of quality 90, written by Pillow."
        )
        figures.append(
            ratio(2, f"{kind}: the fastest decoder's time / ours", fastest, found["zarrfeed"],
                  at_least=0.9, how=how)
        )  # fmt: skip
        figures += [quantity(2, f"{kind} by {name}", "ms", found[name]) for name in found]
    return figures


def _ways(kind: str) -> dict[str, Callable[[Path], Any]]:
    codec = imagecodecs.png_decode if kind == "PNG" else imagecodecs.jpeg8_decode
    ways: dict[str, Callable[[Path], Any]] = {
        "zarrfeed": lambda path: decode(path).values,
        "imagecodecs": lambda path: codec(path.read_bytes()),
        "Pillow": lambda path: np.asarray(Image.open(io.BytesIO(path.read_bytes()))),
    }
    if cv2 is not None:
        ways["OpenCV"] = lambda path: cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    return ways


def _time(paths: list[Path], decoded: Callable[[Path], Any]) -> float:
    """Return the milliseconds per file."""
    start = time.perf_counter()
    for path in paths:
        decoded(path)
    return 1e3 * (time.perf_counter() - start) / len(paths)


def _as_jpeg(path: Path, scratch: Path) -> Path:
    jpeg = scratch / f"{path.stem}.jpg"
    Image.open(path).convert("RGB").save(jpeg, quality=90)
    return jpeg
