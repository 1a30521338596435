"""Small datasets to pack."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from packed import CODECS, Packed, copy_of, pack

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray


def save(path: Path, values: NDArray[Any]) -> Path:
    """Write an array as the image format that the extension names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix in (".tif", ".tiff"):
        photometric = "rgb" if values.ndim == 3 and values.shape[2] >= 3 else "minisblack"
        tifffile.imwrite(path, values, photometric=photometric)
    elif path.suffix == ".png":
        path.write_bytes(imagecodecs.png_encode(values))
    else:
        Image.fromarray(values).save(path, **({"lossless": True} if path.suffix == ".webp" else {}))
    return path


class WritePairs(Protocol):
    def __call__(self, count: int = ..., **options: Any) -> tuple[Path, Path]: ...


@pytest.fixture(name="save")
def _save() -> Callable[[Path, NDArray[Any]], Path]:
    return save


@pytest.fixture
def write_pairs(tmp_path: Path) -> WritePairs:
    """Write pairs of random images and masks; give the two folders."""

    def write(
        count: int = 3,
        *,
        shape: tuple[int, ...] = (12, 10, 3),
        dtype: str = "uint8",
        ids: tuple[int, ...] = (0, 1, 2),
        mask_dtype: str = "uint8",
        extension: str = ".png",
        name: str = "data",
    ) -> tuple[Path, Path]:
        rng = np.random.default_rng(count)
        images, masks = tmp_path / name / "images", tmp_path / name / "masks"
        for sample in range(count):
            if dtype == "float32":
                image = rng.random(shape, np.float32)
            else:
                image = rng.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)
            mask = rng.choice(np.array(ids, mask_dtype), shape[:2])
            mask.flat[: len(ids)] = ids
            save(images / f"s{sample:03}{extension}", image)
            save(masks / f"s{sample:03}.png", mask)
        return images, masks

    return write


@pytest.fixture(scope="session")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Packed]:
    """A packed dataset for every codec; whoever changes one puts it right again."""
    return {codec: pack(tmp_path_factory.mktemp(codec), codec) for codec in CODECS}


@pytest.fixture
def packed(healthy: dict[str, Packed], tmp_path: Path) -> Packed:
    """A packed dataset that may be hurt."""
    return copy_of(healthy["lz4"], tmp_path / "copy")
