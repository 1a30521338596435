"""Draw volumes that look like CT of an abdomen, with small lesions in an organ, as ``.npy`` pairs.

Every volume depends only on its number and the seed. Lesions are as bright as the tissue around the
organ, so that brightness alone does not tell them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

VOLUME_CLASSES = ("background", "organ", "lesion")
# Smallest and largest size of a volume in voxels, (d, h, w).
SIZES = ((40, 96, 96), (56, 128, 128))
# In Hounsfield units.
_AIR, _FAT, _TISSUE, _ORGAN, _VESSEL, _BONE = -1000, -100, 40, 110, 170, 300
_NOISE = 60  # before it is blurred to a quarter


def write_abdomens(
    folder: Path, count: int, *, seed: int, sizes: tuple[tuple[int, ...], tuple[int, ...]] = SIZES
) -> None:
    """Write ``images/case_000.npy …`` and the masks of the same names under ``masks/``.

    Parameters
    ----------
    folder
        Output folder, created if it does not exist. Pairs with the same names are replaced.
    count
        Number of pairs.
    seed
        Seed of the volumes.
    sizes
        Smallest and largest size in voxels, (d, h, w).
    """
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for number in range(count):
        rng = np.random.default_rng((seed, number))
        size = tuple(rng.integers(*sizes, endpoint=True).tolist())
        image, mask = draw_abdomen(size, rng)
        np.save(folder / "images" / f"case_{number:03d}.npy", image)
        np.save(folder / "masks" / f"case_{number:03d}.npy", mask)


def draw_abdomen(
    size: tuple[int, ...], rng: np.random.Generator
) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    """Draw one volume.

    Parameters
    ----------
    size
        (D, H, W) in voxels.
    rng
        Generator that determines the number, places and looks of everything.

    Returns
    -------
    image : (D, H, W) int16
        Hounsfield units: a body with fat below its skin, a spine, an organ with vessels, 1 to 4
        lesions in it, and noise.
    mask : (D, H, W) uint8
        0 background, 1 organ, 2 lesion.
    """
    half = np.array(size) / 2
    axes = [np.arange(extent) + 0.5 - extent / 2 for extent in size]
    grid = np.stack(
        np.meshgrid(*axes, indexing="ij"), dtype=np.float32
    )  # (3, D, H, W), voxels from the middle
    _, y, x = grid / half[:, None, None, None]
    skin = np.hypot(y / 0.85, x / 0.95) + 0.03 * _waves(grid, rng)
    image = np.full(size, float(_AIR))
    image[skin < 1] = _FAT
    image[skin < 0.88] = _TISSUE
    image[np.hypot((y - 0.6) / 0.16, x / 0.13) < 1] = _BONE
    middle = half * (np.array([0, -0.1, -0.25]) + rng.uniform(-0.1, 0.1, 3))
    radii = half * [0.9, 0.55, 0.5] * rng.uniform(0.85, 1.1, 3)
    depth = _ellipsoid(grid, middle, radii, turn=0.2, rng=rng) + 0.08 * _waves(grid, rng)
    organ = (depth < 1) & (skin < 0.85)
    image[organ] = _ORGAN
    for _ in range(rng.integers(3, 6)):  # vessels: a tube is an ellipsoid of endless length
        through = middle + rng.uniform(-0.5, 0.5, 3) * radii
        width = rng.uniform(1.5, 3)
        tube = _ellipsoid(grid, through, [1e9, width, width], turn=2, rng=rng)
        image[organ & (tube < 1)] = _VESSEL
    mask = organ.astype(np.uint8)
    places = np.argwhere(organ & (depth < 0.85))
    for _ in range(rng.integers(1, 5)):
        center = rng.choice(places) + 0.5 - half
        radii = rng.uniform(2.5, 5.5) * rng.uniform(0.75, 1.25, 3)
        lesion = organ & (_ellipsoid(grid, center, radii, turn=2, rng=rng) < 1)
        image[lesion] = _TISSUE + rng.uniform(-10, 10)
        mask[lesion] = 2
    image = _smooth(image + 5 * _waves(grid, rng) + rng.normal(0, _NOISE, size))
    return image.round().astype(np.int16), mask


def _ellipsoid(
    grid: NDArray[Any], center: Any, radii: Any, *, turn: float, rng: np.random.Generator
) -> NDArray[Any]:
    """Return distances from the centre of an ellipsoid, 1 on its surface, turned at random."""
    axes, _ = np.linalg.qr(np.eye(3) + turn * rng.normal(size=(3, 3)))
    matrix = (axes / radii).T.astype(np.float32)
    away = np.tensordot(matrix, grid, 1) - (matrix @ center)[:, None, None, None]
    return np.asarray(np.sqrt(np.einsum("idhw,idhw->dhw", away, away)))


def _waves(grid: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
    """Return smooth random numbers with a standard deviation of about 1."""
    waves = [
        np.cos(
            np.tensordot(rng.normal(0, 0.08, 3).astype(np.float32), grid, 1)
            + rng.uniform(0, 2 * np.pi)
        )
        for _ in range(4)
    ]
    return np.asarray(sum(waves) / np.sqrt(2))


def _smooth(image: NDArray[Any]) -> NDArray[Any]:
    """Blur by the kernel (1, 2, 1) / 4 along each axis, as the optics of a scanner do."""
    for axis in range(image.ndim):
        lines = np.swapaxes(image, 0, axis)
        padded = np.concatenate([lines[:1], lines, lines[-1:]])
        image = np.swapaxes((padded[:-2] + 2 * lines + padded[2:]) / 4, 0, axis)
    return image
