"""tf.data in three ways: TFRecords, tensors in RAM, and ``numpy_function`` over mapped files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from compare.peer import Batch, Level, Loader, Peer, Setting
from compare.peers.memmap import FIELDS, MemmapPeer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from compare.samples import Samples
    from compare.workloads import Workload

_FILES = 16
_SHUFFLED = 32  # batches in the shuffle buffer of TFRecords


class TFRecordPeer(Peer):
    """Records with the raw bytes of image and mask, shuffled as bytes and decoded per batch.

    Files are read in random order, interleaved, through a shuffle buffer of 32 batches, which is
    not a global shuffle.
    """

    name = "tf.data, TFRecord"
    stored = "tfrecord"
    needs = ("tensorflow",)

    def settings(self, work: Workload, level: Level, cores: int) -> list[Setting]:  # noqa: ARG002
        """Try to read from few and from all files at a time."""
        return [{"files": 4}, {"files": _FILES}]

    def convert(self, samples: Samples, folder: Path) -> None:
        """Write the samples to files in turn."""
        import tensorflow as tf

        writers = [tf.io.TFRecordWriter(f"{folder}/{n:02}.tfrecord") for n in range(_FILES)]
        for sample, (image, mask) in enumerate(samples.pairs()):
            writers[sample % _FILES].write(image.tobytes() + mask.tobytes())
        for writer in writers:
            writer.close()

    def open(self, folder: Path, work: Workload, setting: Setting) -> Loader:
        """Build the pipeline."""
        import tensorflow as tf

        files = tf.data.Dataset.from_tensor_slices(sorted(map(str, folder.glob("*.tfrecord"))))
        records = files.shuffle(_FILES).interleave(
            tf.data.TFRecordDataset,
            cycle_length=setting["files"],
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=False,
        )
        shuffled = records.shuffle(min(work.samples, _SHUFFLED * work.batch_size))
        batches = shuffled.batch(work.batch_size, drop_remainder=True)
        decoded = batches.map(lambda batch: _decoded(batch, work), tf.data.AUTOTUNE)
        known = decoded.apply(tf.data.experimental.assert_cardinality(work.batches))
        return _Loader(work, known)


def _decoded(records: Any, work: Workload) -> tuple[Any, Any]:
    import tensorflow as tf

    mask_nbytes = int(np.prod(work.mask))
    flat = tf.io.decode_raw(records, tf.uint8)
    image, mask = tf.split(flat, [work.sample_nbytes - mask_nbytes, mask_nbytes], axis=1)
    if work.dtype != "uint8":
        width = np.dtype(work.dtype).itemsize
        image = tf.bitcast(tf.reshape(image, [work.batch_size, -1, width]), work.dtype)
    return (
        tf.reshape(image, [work.batch_size, *work.image]),
        tf.reshape(mask, [work.batch_size, *work.mask]),
    )


class TensorsPeer(MemmapPeer):
    """All samples in RAM. Sample ids are shuffled, and batches gathered."""

    name = "tf.data, tensors in RAM"
    needs = ("tensorflow",)

    def settings(self, work: Workload, level: Level, cores: int) -> list[Setting]:  # noqa: ARG002
        """Try to gather, in parallel and serially, and to shuffle the samples themselves."""
        return [
            {"gather": True, "parallel": -1},
            {"gather": True, "parallel": None},
            {"gather": False},
        ]

    def open(self, folder: Path, work: Workload, setting: Setting) -> Loader:
        """Load all samples."""
        import tensorflow as tf

        fields = tuple(tf.constant(np.load(folder / f"{field}.npy")) for field in FIELDS)
        if setting["gather"]:
            numbers = _shuffled_numbers(work)
            gather = lambda ids: tuple(tf.gather(field, ids) for field in fields)  # noqa: E731
            return _Loader(work, numbers.map(gather, setting["parallel"]))
        samples = tf.data.Dataset.from_tensor_slices(fields).shuffle(work.samples)
        batches = samples.batch(work.batch_size, drop_remainder=True)
        return _Loader(work, batches)


class NumpyFunctionPeer(MemmapPeer):
    """Fancy indexing of mapped files, called by tf.data."""

    name = "tf.data, numpy_function on np.memmap"
    needs = ("tensorflow",)

    def settings(self, work: Workload, level: Level, cores: int) -> list[Setting]:  # noqa: ARG002
        """Try parallel and serial calls."""
        return [{"parallel": -1}, {"parallel": 2}, {"parallel": None}]

    def open(self, folder: Path, work: Workload, setting: Setting) -> Loader:
        """Map the files."""
        import tensorflow as tf

        arrays = [np.load(folder / f"{field}.npy", mmap_mode="r") for field in FIELDS]

        def read(ids: Any) -> tuple[Any, Any]:
            found = tf.numpy_function(
                lambda ids: [array[ids] for array in arrays], [ids], [work.dtype, "uint8"]
            )
            for tensor, shape in zip(found, (work.image, work.mask), strict=True):
                tensor.set_shape((work.batch_size, *shape))
            return tuple(found)

        return _Loader(work, _shuffled_numbers(work).map(read, setting["parallel"]))


def _shuffled_numbers(work: Workload) -> Any:
    """Return a dataset of batches of sample ids, shuffled differently in every epoch."""
    import tensorflow as tf

    numbers = tf.data.Dataset.range(work.samples).shuffle(work.samples)
    return numbers.batch(work.batch_size, drop_remainder=True)


class _Loader(Loader):
    """A dataset, delivered as arrays on the tensors' memory, and to Keras as it is."""

    def __init__(self, work: Workload, dataset: Any) -> None:
        super().__init__(work)
        self._batches = dataset.prefetch(2)

    def epoch(self, number: int) -> Iterator[Batch]:  # noqa: ARG002
        yield from self._batches.as_numpy_iterator()

    def keras(self) -> Any:
        return self._batches


PEERS = (TFRecordPeer(), TensorsPeer(), NumpyFunctionPeer())
