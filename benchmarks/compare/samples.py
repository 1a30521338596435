"""The samples: crops of real or generated pictures, and volumes, as two .npy files.

Every peer converts these files. Generated pictures have the spectrum of photographs (power falls
with the square of the frequency: Field, J. Opt. Soc. Am. A 4, 1987) and camera noise; masks are
level sets of the same fields.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from compare.identity import stamp

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from compare.workloads import Workload

_PICTURES = 64  # to generate if there are no real ones; fewer if they are larger
_SIZE = 480
_CLASSES = 8
_NOISE = 4.0  # standard deviation of a camera's noise, in 8-bit steps


@dataclass(frozen=True, slots=True)
class Samples:
    """All samples of a workload, in memory-mapped files.

    Attributes
    ----------
    work
        The workload.
    folder
        Folder of ``image.npy`` (N, *image) and ``mask.npy`` (N, *mask).
    origin
        Description of the pixels.
    """

    work: Workload
    folder: Path
    origin: str

    def array(self, field: str) -> np.ndarray:
        """Map one field into memory, read-only."""
        return np.load(self.folder / f"{field}.npy", mmap_mode="r")

    def pairs(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Iterate over all pairs in storage order."""
        return zip(self.array("image"), self.array("mask"), strict=True)


def make_samples(
    work: Workload, folder: Path, *, images: str | None, masks: str | None, seed: int = 0
) -> Samples:
    """Make the samples of a workload, unless the folder already has them.

    Parameters
    ----------
    work
        The workload.
    folder
        Folder of the files, which is renamed into place when it is complete.
    images, masks
        Folders of pictures and masks to crop from; None for generated pictures.
    seed
        Seed of all random numbers.
    """
    origin = origin_of(work, images, seed)
    about = json.dumps({"work": work.to_json(), "origin": origin, "masks": masks})
    found = folder / "samples.json"
    if not (found.exists() and found.read_text() == about):
        partial = folder.with_name(folder.name + ".partial")
        for stale in (folder, partial):
            shutil.rmtree(stale, ignore_errors=True)
        partial.mkdir(parents=True)
        _write(work, partial, images, masks, seed)
        (partial / found.name).write_text(about)
        partial.rename(folder)
    return Samples(work, folder, origin)


def origin_of(work: Workload, images: str | None, seed: int = 0) -> str:
    """Return a description of the pixels."""
    if len(work.image) == 3 and work.image[-1] > 4:
        return f"volumes of 1/f² noise, masks by levels (seed {seed})"
    crops = f"random crops (seed {seed})"
    return f"{crops} of {images or 'made pictures of 1/f² noise'}"


def _write(work: Workload, folder: Path, images: str | None, masks: str | None, seed: int) -> None:
    image = np.lib.format.open_memmap(
        folder / "image.npy", "w+", np.dtype(work.dtype), (work.samples, *work.image)
    )
    mask = np.lib.format.open_memmap(
        folder / "mask.npy", "w+", np.dtype(np.uint8), (work.samples, *work.mask)
    )
    rng = np.random.default_rng(seed)
    if work.dtype == "float32":
        for sample in range(work.samples):
            image[sample], mask[sample] = _volume(work.image, rng)
    else:
        _crop(work, _pictures(work, images, masks, rng), image, mask, rng)
    for sample in range(work.samples):
        stamp(image[sample], sample)
        stamp(mask[sample], sample)
    for array in (image, mask):
        array.flush()


def _pictures(
    work: Workload, images: str | None, masks: str | None, rng: np.random.Generator
) -> list[tuple[np.ndarray, np.ndarray]]:
    if images is None or masks is None:
        size = max(_SIZE, *work.mask)
        count = min(work.samples, _PICTURES * _SIZE**2 // size**2)
        return [_picture((size, size), rng) for _ in range(count)]
    from zarrfeed_convert import PairedFolders

    pairs = PairedFolders(images, masks)
    read = (pairs.read(sample) for sample in range(len(pairs.keys)))
    return [(_mirrored(image, work.mask), _mirrored(mask, work.mask)) for image, mask in read]


def _mirrored(picture: np.ndarray, least: tuple[int, ...]) -> np.ndarray:
    """Extend a picture that is too small by mirroring it."""
    lacks = [max(0, need - got) for need, got in zip(least, picture.shape, strict=False)]
    sides = [(0, lack) for lack in lacks] + [(0, 0)] * (picture.ndim - len(lacks))
    return np.pad(picture, sides, "symmetric")


def _picture(shape: tuple[int, int], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    light = _field(shape, rng)
    colours = [0.8 * light + 0.2 * _field(shape, rng) for _ in range(3)]
    image = 128.0 + 50.0 * np.stack(colours, axis=-1) + rng.normal(0.0, _NOISE, (*shape, 3))
    return image.clip(0, 255).astype(np.uint8), _levels(light)


def _volume(shape: tuple[int, ...], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    density = _field(shape, rng)
    noisy = density + rng.normal(0.0, 0.05, shape)
    return noisy.astype(np.float32), _levels(density)


def _field(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Return noise whose amplitude falls with the frequency, of mean 0 and standard deviation 1."""
    axes = [np.fft.fftfreq(size) for size in shape[:-1]] + [np.fft.rfftfreq(shape[-1])]
    frequency = np.sqrt(sum(axis**2 for axis in np.meshgrid(*axes, indexing="ij")))
    frequency.flat[0] = np.inf  # no mean
    # In D dimensions power per mode falls so that every octave carries as much contrast.
    spectrum = np.fft.rfftn(rng.standard_normal(shape)) / frequency ** (len(shape) / 2)
    field = np.fft.irfftn(spectrum, shape, axes=range(len(shape)))
    return np.asarray(field / field.std())


def _levels(field: np.ndarray) -> np.ndarray:
    edges = np.quantile(field, np.linspace(0, 1, _CLASSES + 1)[1:-1])
    return np.digitize(field, edges).astype(np.uint8)


def _crop(
    work: Workload,
    pictures: list[tuple[np.ndarray, np.ndarray]],
    image: np.ndarray,
    mask: np.ndarray,
    rng: np.random.Generator,
) -> None:
    height, width, channels = work.image
    which = rng.integers(len(pictures), size=work.samples)
    corner = rng.random((work.samples, 2))
    for sample in range(work.samples):
        picture, classes = pictures[which[sample]]
        rows, columns = classes.shape
        y, x = (corner[sample] * (rows - height + 1, columns - width + 1)).astype(int)
        window = slice(y, y + height), slice(x, x + width)
        # A single channel is green, which is closest to the perceived brightness.
        image[sample] = picture[window] if channels == 3 else picture[window][..., 1:2]
        mask[sample] = classes[window]
