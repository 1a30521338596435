"""PNG files, 1000 per folder, read by a plain Keras ``Sequence`` with Pillow and by ``tf.data``.

Not for volumes, and not for more than 100,000 samples, because twice as many files would take
minutes to write. Measured with Pillow 13.0 and TensorFlow 2.21.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from compare.by_index import ByIndex
from compare.peer import Batch, Level, Loader, Peer, Setting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from compare.samples import Samples
    from compare.workloads import Workload

FIELDS = ("image", "mask")
_IN_FOLDER = 1000
_AT_ONCE = 100  # samples per task of a writing process
_MOST = 100_000


class _PngPeer(Peer):
    stored = "png"

    def supports(self, work: Workload) -> bool:
        """Whether the samples are pictures, and not too many."""
        return len(work.image) == 3 and work.image[-1] in (1, 3) and work.samples <= _MOST

    def convert(self, samples: Samples, folder: Path) -> None:
        """Write the files at Pillow's default level, in one process per core."""
        starts = range(0, samples.work.samples, _AT_ONCE)
        with ProcessPoolExecutor(mp_context=get_context("forkserver")) as pool:
            list(pool.map(partial(_write, samples, folder), starts))


class PngSequencePeer(_PngPeer):
    """A loop over the files of a batch, as most users have it."""

    name = "Keras Sequence, PNG files"
    needs = ("PIL",)

    def settings(self, work: Workload, level: Level, cores: int) -> list[Setting]:  # noqa: ARG002
        """Try threads, no worker, and in ``fit`` also Keras' processes."""
        threads: list[Setting] = [{"workers": count} for count in (cores, 2 * cores, 0)]
        return threads if level == "read" else [*threads, {"workers": cores, "processes": True}]

    def open(self, folder: Path, work: Workload, setting: Setting) -> Loader:
        """List the files."""
        return _SequenceLoader(folder, work, setting)


class _SequenceLoader(ByIndex):
    def __init__(self, folder: Path, work: Workload, setting: Setting) -> None:
        super().__init__(work, setting)
        self._paths = [_paths(folder, field, work.samples) for field in FIELDS]

    def read(self, ids: np.ndarray) -> Batch:
        image, mask = (np.stack([_pixels(paths[i]) for i in ids]) for paths in self._paths)
        return image.reshape(-1, *self.work.image), mask


class PngTensorFlowPeer(_PngPeer):
    """The usual pipeline of TensorFlow: file names, a global shuffle, and parallel decoding."""

    name = "tf.data, PNG files"
    needs = ("tensorflow", "PIL")

    def settings(self, work: Workload, level: Level, cores: int) -> list[Setting]:  # noqa: ARG002
        """Try with and without a deterministic order."""
        return [{"deterministic": False}, {"deterministic": True}]

    def open(self, folder: Path, work: Workload, setting: Setting) -> Loader:
        """Build the pipeline."""
        return _TensorFlowLoader(folder, work, deterministic=setting["deterministic"])


class _TensorFlowLoader(Loader):
    def __init__(self, folder: Path, work: Workload, *, deterministic: bool) -> None:
        import tensorflow as tf

        super().__init__(work)
        names = tuple(_paths(folder, field, work.samples) for field in FIELDS)
        self._dataset = (
            tf.data.Dataset.from_tensor_slices(names)
            .shuffle(work.samples)
            .map(self._decoded, tf.data.AUTOTUNE, deterministic=deterministic)
            .batch(work.batch_size, drop_remainder=True)
            .prefetch(tf.data.AUTOTUNE)
        )

    def _decoded(self, image: Any, mask: Any) -> tuple[Any, Any]:
        import tensorflow as tf

        shapes = self.work.image, (*self.work.mask, 1)
        pixels, classes = (
            tf.ensure_shape(tf.io.decode_png(tf.io.read_file(path), shape[-1]), shape)
            for path, shape in zip((image, mask), shapes, strict=True)
        )
        return pixels, classes[..., 0]

    def epoch(self, number: int) -> Iterator[Batch]:  # noqa: ARG002 - `shuffle` counts by itself
        return self._dataset.as_numpy_iterator()

    def keras(self) -> Any:
        return self._dataset


def _paths(folder: Path, field: str, samples: int) -> list[str]:
    return [_path(folder, field, sample) for sample in range(samples)]


def _path(folder: Path, field: str, sample: int) -> str:
    return f"{folder}/{field}/{sample // _IN_FOLDER:03d}/{sample:06d}.png"


def _pixels(path: str) -> np.ndarray:
    from PIL import Image

    with Image.open(path) as picture:
        return np.asarray(picture)


def _write(samples: Samples, folder: Path, start: int) -> None:
    from PIL import Image

    for field in FIELDS:
        Path(_path(folder, field, start)).parent.mkdir(parents=True, exist_ok=True)
        part = samples.array(field)[start : start + _AT_ONCE]
        for sample, pixels in enumerate(part, start):
            grey = pixels[..., 0] if pixels.shape[2:] == (1,) else pixels
            Image.fromarray(np.asarray(grey)).save(_path(folder, field, sample))


PEERS = (PngSequencePeer(), PngTensorFlowPeer())
