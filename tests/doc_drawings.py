"""Small drawn datasets in the layouts of well-known ones, for the pages of the documentation."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw

from zarrfeed_tools.abdomens import VOLUME_CLASSES, draw_abdomen

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

# Class ids of CamVid's 11 classes, and colours to draw them.
SKY, BUILDING, ROAD, PAVEMENT, TREE, CAR, VOID = 0, 1, 3, 4, 5, 8, 11
STREET_COLOURS = {
    SKY: (140, 180, 230), BUILDING: (130, 110, 100), ROAD: (80, 80, 85),
    PAVEMENT: (160, 150, 140), TREE: (50, 100, 50), CAR: (170, 40, 40), VOID: (20, 20, 20),
}  # fmt: skip


def write_streets(root: Path, counts: dict[str, int], *, size: tuple[int, int]) -> None:
    """Write CamVid's layout: ``train/`` beside ``trainannot/``, with masks of class ids."""
    for subset, count in counts.items():
        for folder in (subset, f"{subset}annot"):
            (root / folder).mkdir(parents=True)
        for number in range(count):
            image, mask = draw_street(size, np.random.default_rng((len(subset), number)))
            Image.fromarray(image).save(root / subset / f"{number:04}.png")
            Image.fromarray(mask).save(root / f"{subset}annot" / f"{number:04}.png")


def draw_street(
    size: tuple[int, int], rng: np.random.Generator
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Draw a street between houses: (H, W, 3) uint8, and its (H, W) uint8 class ids."""
    height, width = size
    mask = Image.new("L", (width, height), SKY)
    draw = ImageDraw.Draw(mask)
    horizon = int(height * rng.uniform(0.45, 0.55))
    for x in range(0, width, width // 5):
        top = rng.integers(height // 8, horizon - 5)
        kind = BUILDING if rng.random() < 0.7 else TREE
        draw.rectangle((x, int(top), x + width // 5, horizon), fill=kind)
    draw.rectangle((0, horizon, width, height), fill=PAVEMENT)
    middle = width * rng.uniform(0.4, 0.6)
    draw.polygon([(middle, horizon), (-width * 0.1, height), (width * 1.1, height)], fill=ROAD)
    for _ in range(rng.integers(1, 4)):
        near = rng.uniform(0.2, 1)
        half = width * 0.08 * near
        x, y = rng.uniform(0.2, 0.8) * width, horizon + (height - horizon) * near * 0.8
        draw.rectangle((x - half, y - half, x + half, y), fill=CAR)
    draw.rectangle((0, height - 3, width, height), fill=VOID)
    ids = np.asarray(mask)
    table = np.zeros((256, 3), np.int16)
    for number, colour in STREET_COLOURS.items():
        table[number] = colour
    image = table[ids] + rng.normal(0, 12, (height, width, 1)) + rng.normal(0, 8, (1, 1, 3))
    return image.clip(0, 255).astype(np.uint8), ids


def write_coco(root: Path, counts: dict[str, int], *, size: int) -> None:
    """Write ``images/`` and ``annotations/{train,val}.json`` with polygons of cells and nuclei."""
    for folder in ("images", "annotations"):
        (root / folder).mkdir(parents=True)
    for split, count in counts.items():
        images, annotations = [], []
        for number in range(count):
            rng = np.random.default_rng((len(split), number))
            name = f"{split}_{number:03}.jpg"
            picture = Image.new("RGB", (size, size), (12, 14, 18))
            draw = ImageDraw.Draw(picture)
            for _ in range(rng.integers(3, 7)):
                middle = rng.uniform(0.15, 0.85, 2) * size
                radii = rng.uniform(0.08, 0.14, 2) * size
                for category, part, colour in ((1, 1.0, (40, 130, 60)), (2, 0.45, (70, 90, 200))):
                    ring = _ellipse(middle, radii * part)
                    draw.polygon([tuple(point) for point in ring], fill=colour)
                    annotations.append(_annotation(len(annotations) + 1, number, category, ring))
            noise = rng.normal(0, 8, (size, size, 3))
            pixels = (np.asarray(picture) + noise).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / "images" / name, quality=95)
            images.append({"id": number, "file_name": name, "height": size, "width": size})
        categories = [{"id": 1, "name": "cell"}, {"id": 2, "name": "nucleus"}]
        content = {"images": images, "annotations": annotations, "categories": categories}
        (root / "annotations" / f"{split}.json").write_text(json.dumps(content), "utf-8")


def _ellipse(middle: NDArray[Any], radii: NDArray[Any]) -> NDArray[Any]:
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    ring: NDArray[Any] = middle + radii * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return ring.round(1)


def _annotation(number: int, image: int, category: int, ring: NDArray[Any]) -> dict[str, Any]:
    low, high = ring.min(axis=0), ring.max(axis=0)
    return {
        "id": number,
        "image_id": image,
        "category_id": category,
        "segmentation": [ring.ravel().tolist()],
        "bbox": [*low.tolist(), *(high - low).tolist()],
        "area": float((high - low).prod() * np.pi / 4),
        "iscrowd": 0,
    }


def write_nnunet(root: Path, count: int) -> None:
    """Write a raw dataset of nnU-Net v2: CT-like volumes of several sizes, with lesions."""
    import nibabel

    for folder in ("imagesTr", "labelsTr"):
        (root / folder).mkdir(parents=True)
    for number in range(count):
        rng = np.random.default_rng((7, number))
        size = tuple(rng.integers((24, 56, 56), (32, 72, 72)).tolist())
        image, mask = draw_abdomen(size, rng)
        affine = np.diag([0.75, 0.75, 2.5, 1.0])
        for folder, name, values in (
            ("imagesTr", f"case_{number:03}_0000", image),
            ("labelsTr", f"case_{number:03}", mask),
        ):
            # nibabel's order of axes is x, y, z.
            nibabel.save(nibabel.Nifti1Image(values.T, affine), root / folder / f"{name}.nii.gz")
    described = {
        "channel_names": {"0": "CT"},
        "labels": {name: number for number, name in enumerate(VOLUME_CLASSES)},
        "numTraining": count,
        "file_ending": ".nii.gz",
    }
    (root / "dataset.json").write_text(json.dumps(described), "utf-8")


def write_scene(root: Path, size: int) -> None:
    """Write a satellite-like GeoTIFF of four bands and its land cover, both tiled.

    Parameters
    ----------
    root
        Folder of ``scenes/`` and ``cover/``.
    size
        Height and width in pixels; the scene repeats every 500.
    """
    import rasterio

    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:500, :500] / 500
    waves = np.sin(6 * np.pi * rows) + np.cos(4 * np.pi * columns + 2 * rows)
    cover = np.digitize(waves, (-0.8, 0.6)).astype(np.uint8)  # 0 water, 1 field, 2 forest
    spectra = np.array([(60, 50, 30, 10), (90, 110, 80, 150), (40, 70, 40, 190)])
    image = spectra[cover].transpose(2, 0, 1) + rng.normal(0, 6, (4, 500, 500))
    image = image.clip(0, 255).astype(np.uint8)
    options = {
        "driver": "GTiff", "height": size, "width": size, "dtype": "uint8", "tiled": True,
        "blockxsize": 512, "blockysize": 512, "compress": "zstd", "zstd_level": 1,
        "crs": "EPSG:32632", "transform": rasterio.Affine(10, 0, 600_000, 0, -10, 5_300_000),
    }  # fmt: skip
    repeats = -(-size // 500)
    for folder, values in (("scenes", image), ("cover", cover[np.newaxis])):
        (root / folder).mkdir(parents=True)
        path = root / folder / "munich.tif"
        with rasterio.open(path, "w", count=len(values), **options) as file:
            for top in range(0, size, 512):
                high = min(512, size - top)
                at = np.arange(top, top + high) % 500
                wide = np.tile(values[:, at], (1, 1, repeats))[:, :, :size]
                file.write(wide, window=((top, top + high), (0, size)))
