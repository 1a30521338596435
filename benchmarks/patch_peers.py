"""The peers that cut patches: each with the settings that were fastest on two cores.

Packages are imported where they are used, in the process of the way. Sampling is that of the peer.
"""

from __future__ import annotations

import os
import shutil
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from patch_data import LESION
from patch_limits import batches_of, empty_batch

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from patch_data import Data, Way

_CACHE = 1 << 32  # bytes: all tiles
_FIELDS = ("image", "mask")


def arrays_of_tiles(data: Data) -> list[tuple[str, str]]:
    """Write every case as two Zarr arrays, a file per tile of the workload, by zarr-python.

    Returns
    -------
    list of (image, mask)
        Paths of the arrays of each case.
    """
    import zarr

    work, folder = data.work, Path(data.folder) / "arrays"
    done = folder / "done"
    paths = [tuple(str(folder / key / field) for field in _FIELDS) for key in work.keys]
    if not done.exists():
        for of_case, arrays in zip(paths, data.arrays(in_memory=False), strict=True):
            for path, array in zip(of_case, arrays, strict=True):
                chunks = (*work.tile, *array.shape[len(work.tile) :])
                zarr.create_array(
                    path, data=np.ascontiguousarray(array), chunks=chunks, compressors=None,
                    overwrite=True,
                )  # fmt: skip
        done.touch()
    return paths  # type: ignore[return-value]


def zarr_python(data: Data) -> Iterator[int]:
    """Index arrays of tiles by boxes."""
    import zarr

    zarr.config.set({"async.concurrency": 4, "threading.max_workers": 2})
    cases = [[zarr.open_array(p, mode="r") for p in paths] for paths in arrays_of_tiles(data)]
    yield from _indexed(data, cases)


def _indexed(data: Data, cases: list[list[Any]]) -> Iterator[int]:
    out = empty_batch(data)
    for batch in batches_of(data):
        for row, (case, box) in enumerate(batch):
            for field in range(2):
                out[field][row] = cases[case][field][box]
        yield len(batch)


def tensor_store(data: Data, *, cached: bool, whole: bool) -> Iterator[int]:
    """Read the boxes of a batch together, straight into one aligned buffer.

    Parameters
    ----------
    data
        The workload.
    cached
        Whether tiles stay in memory: with a limit that fits all.
    whole
        Whether the boxes of a batch are read at the same time.
    """
    import tensorstore

    limit = {"cache_pool": {"total_bytes_limit": _CACHE}} if cached else {}
    context = tensorstore.Context({**limit, "data_copy_concurrency": {"limit": 2}})
    cases = [
        [
            tensorstore.open(
                {
                    "driver": "zarr3",
                    "kvstore": {"driver": "file", "path": path},
                    "recheck_cached_data": False,
                },
                context=context,
                open=True,
                read=True,
            ).result()
            for path in paths
        ]
        for paths in arrays_of_tiles(data)
    ]
    out = empty_batch(data)
    for batch in batches_of(data):
        reads = []
        for row, (case, box) in enumerate(batch):
            for field in range(2):
                target = tensorstore.array(out[field][row], copy=False)
                source = cases[case][field][box]
                at_zero = source[tensorstore.d[:].translate_to[0]]
                reads.append(target.write(at_zero))
                if not whole:
                    reads[-1].result()
        for read in reads:
            read.result()
        yield len(batch)


def nnunet(data: Data, *, processes: int) -> Iterator[int]:
    """Take batches of nnU-Net's loader: its own files, cropping alone, no augmentation."""
    os.environ.setdefault("nnUNet_preprocessed", data.folder)
    from batchgenerators.dataloading.nondet_multi_threaded_augmenter import (
        NonDetMultiThreadedAugmenter,
    )
    from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
    from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2
    from nnunetv2.utilities.label_handling.label_handling import LabelManager

    work = data.work
    labels = LabelManager({"background": 0, "organ": 1, "lesion": LESION}, None)
    loader = nnUNetDataLoader(
        nnUNetDatasetBlosc2(_preprocessed(data)), work.batch_size, work.patch, work.patch, labels,
        oversample_foreground_percent=work.share, probabilistic_oversampling=True,
    )  # fmt: skip
    if processes:
        loader = NonDetMultiThreadedAugmenter(loader, None, processes, num_cached=4, wait_time=1e-3)
    while True:
        yield len(next(loader)["data"])


def _preprocessed(data: Data) -> str:
    """Write cases as nnU-Net's preprocessing does: normalised float32, with places of classes."""
    from nnunetv2.training.dataloading.nnunet_dataset import (
        comp_blosc2_params,
        nnUNetDatasetBlosc2,
    )

    work, folder = data.work, Path(data.folder) / "nnunet"
    if (folder / "done").exists():
        return str(folder)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for key, (image, mask) in zip(work.keys, data.arrays(in_memory=False), strict=True):
        values = np.moveaxis(np.asarray(image, np.float32), -1, 0)
        values = (values - values.mean()) / values.std()
        labels = np.asarray(mask, np.int8)[None]
        rng = np.random.default_rng(1234)
        places = {}
        for label in (1, LESION):
            found = np.argwhere(labels == label)
            many = min(len(found), max(10_000, len(found) // 100))
            places[label] = found[rng.choice(len(found), many, replace=False)]
        blocks, chunks = comp_blosc2_params(values.shape, work.patch, values.itemsize)
        of_labels = comp_blosc2_params(labels.shape, work.patch, labels.itemsize)
        nnUNetDatasetBlosc2.save_case(
            values, labels, {"class_locations": places}, str(folder / key), chunks=chunks,
            blocks=blocks, chunks_seg=of_labels[1], blocks_seg=of_labels[0],
        )  # fmt: skip
    (folder / "done").touch()
    return str(folder)


def monai(data: Data, *, tuned: bool, workers: int = 0) -> Iterator[int]:
    """Crop cases that MONAI's CacheDataset keeps in memory.

    Parameters
    ----------
    data
        The workload.
    tuned
        Whether the places of lesions are cached, too, cached cases are not copied before they are
        cropped, and no metadata is kept. Otherwise as in MONAI's tutorials, where foreground is
        every class.
    workers
        Processes of the DataLoader.
    """
    import torch
    from monai.data import CacheDataset, DataLoader, list_data_collate, set_track_meta
    from monai.transforms import Compose, DeleteItemsd, FgBgToIndicesd, Lambda
    from monai.transforms import RandCropByPosNegLabeld as Crop

    torch.set_num_threads(1)
    set_track_meta(tuned is False)
    work = data.work
    found = ("lesion_fg_indices", "lesion_bg_indices") if tuned else (None, None)
    crop = Crop(
        _FIELDS, "mask", work.patch, pos=work.share, neg=1 - work.share,
        num_samples=work.batch_size, fg_indices_key=found[0], bg_indices_key=found[1],
    )  # fmt: skip
    lesions = [Lambda(_with_lesions), FgBgToIndicesd("lesion"), DeleteItemsd("lesion")]
    dataset = CacheDataset(
        [dict(zip(_FIELDS, map(str, pair), strict=True)) for pair in data.paths],
        Compose([Lambda(_loaded), *(lesions if tuned else ()), crop]),
        num_workers=1, copy_cache=not tuned, progress=False,
    )  # fmt: skip
    more = {"persistent_workers": True, "prefetch_factor": 4} if workers else {}
    loader = DataLoader(dataset, batch_size=1, shuffle=True, num_workers=workers,
                        collate_fn=list_data_collate, **more)  # fmt: skip
    while True:
        for batch in loader:
            yield len(batch["image"])


def _loaded(paths: dict[str, str]) -> dict[str, Any]:
    """Load a case, channels first."""
    from monai.data import MetaTensor, get_track_meta
    from torch import from_numpy

    image, mask = (np.load(paths[field]) for field in _FIELDS)
    arrays = np.ascontiguousarray(np.moveaxis(image, -1, 0)), mask[None]
    kind = MetaTensor if get_track_meta() else lambda tensor: tensor
    return {f: kind(from_numpy(array)) for f, array in zip(_FIELDS, arrays, strict=True)}


def _with_lesions(case: dict[str, Any]) -> dict[str, Any]:
    return {**case, "lesion": case["mask"] == LESION}


def torchio(data: Data, *, labels: bool, workers: int = 0) -> Iterator[int]:
    """Take batches from TorchIO's Queue, with all cases in memory.

    Parameters
    ----------
    data
        The workload.
    labels
        Whether a LabelSampler chooses the patches; otherwise a UniformSampler, which is faster.
    workers
        Processes of the Queue.
    """
    import torch
    import torchio as tio

    torch.set_num_threads(1)
    work = data.work
    subjects = [
        tio.Subject(
            image=tio.ScalarImage(tensor=np.ascontiguousarray(np.moveaxis(image, -1, 0))),
            mask=tio.LabelMap(tensor=mask[None]),
        )
        for image, mask in data.arrays(in_memory=True)
    ]
    sampler: Any = tio.UniformSampler(work.patch)
    if labels:
        shares = {0: (1 - work.share) / 2, 1: (1 - work.share) / 2, LESION: work.share}
        sampler = tio.LabelSampler(work.patch, "mask", shares)
    queue = tio.Queue(tio.SubjectsDataset(subjects), max_length=96, samples_per_volume=32,
                      sampler=sampler, num_workers=workers)  # fmt: skip
    loader = tio.SubjectsLoader(queue, batch_size=work.batch_size, num_workers=0)
    while True:
        for batch in loader:
            yield len(batch["image"][tio.DATA])


WAYS: Mapping[str, Way] = {
    "zarr-python, a file per tile": zarr_python,
    "tensorstore, tiles cached, batch at once": partial(tensor_store, cached=True, whole=True),
    "tensorstore, tiles cached": partial(tensor_store, cached=True, whole=False),
    "tensorstore, batch at once": partial(tensor_store, cached=False, whole=True),
    "tensorstore": partial(tensor_store, cached=False, whole=False),
    "nnU-Net, in the process": partial(nnunet, processes=0),
    "nnU-Net, 1 worker": partial(nnunet, processes=1),
    "MONAI CacheDataset, as documented": partial(monai, tuned=False),
    "MONAI CacheDataset, tuned": partial(monai, tuned=True),
    "MONAI CacheDataset, tuned, 1 worker": partial(monai, tuned=True, workers=1),
    "TorchIO Queue, UniformSampler": partial(torchio, labels=False),
    "TorchIO Queue, UniformSampler, 1 worker": partial(torchio, labels=False, workers=1),
    "TorchIO Queue, LabelSampler": partial(torchio, labels=True),
}
