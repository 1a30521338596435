"""Transforms that tests send to workers: good ones, and every kind of bad one."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Named = dict[str, Array]


def noisy(image: Array, mask: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Flip by chance, add noise: the same flip for both."""
    if rng.random() < 0.5:
        image, mask = image[:, ::-1], mask[:, ::-1]
    return image + rng.integers(0, 5, image.shape, dtype=np.uint8), mask


def to_float_crop(image: Array, mask: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Another shape and dtype than the store's."""
    y = int(rng.integers(0, 3))
    return (image[y : y + 4, 1:5] / np.float32(255)).astype(np.float32), mask[y : y + 4, 1:5]


def mix(images: Array, masks: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """A batch transform: every sample blended with another of its batch."""
    other = rng.permutation(len(images))
    return ((images.astype(np.uint16) + images[other]) // 2).astype(np.uint8), masks


def wants_id_nine(image: Array, mask: Array) -> bool:
    """Whether this is sample 9 of the traced pixels."""
    return bool(mask[0, 0] == 9)


def raises_on_nine(image: Array, mask: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Raise on one sample."""
    if wants_id_nine(image, mask):
        raise ZeroDivisionError("nine is not welcome")
    return image, mask


def exits_on_nine(image: Array, mask: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Call sys.exit on one sample."""
    if wants_id_nine(image, mask):
        raise SystemExit(3)
    return image, mask


def killed_on_nine(image: Array, mask: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Die as by the out-of-memory killer, always."""
    if wants_id_nine(image, mask):
        os.kill(os.getpid(), signal.SIGKILL)
    return image, mask


def reshapes_on_nine(image: Array, mask: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Return another shape on one sample."""
    return (image[1:] if wants_id_nine(image, mask) else image), mask


def forgets_the_mask(image: Array, mask: Array, rng: np.random.Generator) -> Array:
    """Return one array of two."""
    return image


def sleeps(image: Array, mask: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Take far too long on one sample."""
    if wants_id_nine(image, mask):
        time.sleep(60)
    return image, mask


class KilledOnce:
    """Die on sample 9 the first time only; `flag` remembers across processes."""

    def __init__(self, flag: str) -> None:
        self.flag = flag

    def __call__(self, image: Array, mask: Array, rng: np.random.Generator) -> tuple[Array, Array]:
        """Die once."""
        if wants_id_nine(image, mask) and not os.path.exists(self.flag):
            with open(self.flag, "w"):
                pass
            os.kill(os.getpid(), signal.SIGKILL)
        return image, mask


def exits_hard_on_nine(image: Array, mask: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """End the process without a word on one sample, always."""
    if wants_id_nine(image, mask):
        os._exit(3)
    return image, mask


class SignsIn:
    """Sign in for every sample, in a file named by the process; then nap, but for sample 0."""

    def __init__(self, folder: str, nap: float = 0.0) -> None:
        self.folder = folder
        self.nap = nap
        os.makedirs(folder, exist_ok=True)

    def __call__(self, image: Array, mask: Array, rng: np.random.Generator) -> tuple[Array, Array]:
        """Sign and nap."""
        with open(os.path.join(self.folder, str(os.getpid())), "a") as file:
            file.write(".")
        if self.nap and mask[0, 0] != 0:
            time.sleep(self.nap)
        return image, mask

    def samples(self) -> int:
        """How many there were, the one with which the sequence tries the transform included."""
        return sum(entry.stat().st_size for entry in os.scandir(self.folder))

    def processes(self) -> set[int]:
        """Who signed."""
        return {int(name) for name in os.listdir(self.folder)}


class Seeded:
    """A pipeline that is seeded for every sample: no two threads may share it."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng()

    def __call__(self, image: Array, mask: Array, rng: np.random.Generator) -> tuple[Array, Array]:
        self.rng = np.random.default_rng(int(rng.integers(2**31)))
        time.sleep(0.001)
        return image + self.rng.integers(0, 9, image.shape, dtype=np.uint8), mask


def slow(image: Array, mask: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Take 20 ms."""
    time.sleep(0.02)
    return image, mask


class KilledWhenLoaded:
    """Die when a worker process loads it, the first `times`; each leaves a file in `folder`."""

    def __init__(self, folder: str, times: int) -> None:
        self.folder = folder
        self.times = times

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= state
        if len(os.listdir(self.folder)) < self.times:
            with open(os.path.join(self.folder, str(os.getpid())), "w"):
                pass
            os.kill(os.getpid(), signal.SIGKILL)

    def __call__(self, image: Array, mask: Array, rng: np.random.Generator) -> tuple[Array, Array]:
        """Change nothing."""
        return image, mask


class Unspeakable(Exception):  # noqa: N818
    """Cannot even be shown."""

    def __repr__(self) -> str:
        raise ZeroDivisionError

    __str__ = __repr__


def raises_a_long_error(image: Array, mask: Array, rng: np.random.Generator) -> Any:
    """Raise an error of 50 MB on one sample."""
    if wants_id_nine(image, mask):
        raise ValueError("here it begins " + "x" * 50_000_000 + " here it ends")
    return image, mask


def raises_an_unspeakable_error(image: Array, mask: Array, rng: np.random.Generator) -> Any:
    """Raise an error without words on one sample."""
    if wants_id_nine(image, mask):
        raise Unspeakable
    return image, mask


def edges(masks: Array) -> Array:
    """Weights that a transform may make of masks."""
    return (1 + masks % 3).astype(np.float32)


def with_edges(image: Array, depth: Array, mask: Array, rng: np.random.Generator) -> Named:
    """Return more arrays than it gets, in an order of its own."""
    return {"edge": edges(mask), "mask": mask, "image": image, "depth": depth}


def only_edges(image: Array, mask: Array, rng: np.random.Generator) -> Named:
    """Return others than it gets."""
    return {"edge": edges(mask), "image": image}


def add_edges(image: Array, mask: Array, rng: np.random.Generator) -> Named:
    """Return one more than it gets."""
    return {"edge": edges(mask), "image": image, "mask": mask}


def heavier_edges(image: Array, mask: Array, edge: Array, rng: np.random.Generator) -> Named:
    """A batch transform, which gets what `add_edges` made."""
    return {"image": image, "mask": mask, "edge": edge + np.float32(1)}
