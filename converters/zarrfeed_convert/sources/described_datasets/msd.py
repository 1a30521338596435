"""Which samples does a task of the Medical Segmentation Decathlon have?"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zarrfeed.errors import SourceError
from zarrfeed.spelling import few
from zarrfeed_convert.decoding.limits import Limits
from zarrfeed_convert.sources.described_datasets.dataset_json import DatasetJson, is_missing
from zarrfeed_convert.sources.described_datasets.dataset_json_source import DatasetJsonSource
from zarrfeed_convert.sources.file_discovery import files_below, stem_of
from zarrfeed_convert.sources.file_pairs import Pair, Pairing
from zarrfeed_convert.sources.option_checks import require_subset
from zarrfeed_convert.sources.read_errors import source_errors
from zarrfeed_convert.sources.stacks.nifti_file import EXTENSIONS, VolumeReader
from zarrfeed_convert.sources.volume_options import VOLUMES, require_axis, require_volume_options

if TYPE_CHECKING:
    from zarrfeed_convert.decoding.pixels import Color
    from zarrfeed_convert.mask_map import MaskMap
    from zarrfeed_convert.sources.volume_options import Agreement, Arrangement

_LISTS = {"train": ("training", "numTraining"), "test": ("test", "numTest")}


@source_errors
class DecathlonTask(DatasetJsonSource):
    """A task of the Medical Segmentation Decathlon: the NIfTI volumes in its dataset.json.

    Modalities, along the fourth axis of volumes, are channels. Classes are the labels of the JSON.
    Volumes are read as those of the format nifti. Whatever the JSON and the files do not agree on
    is named: a volume with another number of modalities, a file that is missing or not listed,
    another number of cases than the JSON says.

    Parameters
    ----------
    images
        The folder of the task, such as ``Task09_Spleen``, with its ``dataset.json``.
    masks
        Not needed. If it is ``none``, images are packed alone.
    subset
        ``train``, or ``test``: images alone. By default the split's name.
    as_
        What a sample is: ``volumes``, (z, y, x) as SimpleITK's GetArrayFromImage gives them, or
        ``slices`` along `axis`, as nibabel gives them.
    axis
        The axis to slice along: 0, 1 or 2. Volumes are not sliced.
    skip_empty
        Leave out samples whose mask is 0 everywhere.
    geometry
        What to do with labels whose corners by the affine are more than 0.1 voxels from those of
        the image, or whose spacing differs by more than 1 %: ``strict`` refuses them; ``warn``
        pairs their voxels by index, and reports it. Shapes must agree in any case.
    color
        auto keeps the channels that the volumes have; grey, rgb, rgba convert.
    mask_map
        What label values mean, like 2=1. Classes then have no names.
    limits
        What files may claim, and name besides themselves; see :class:`zarrfeed_convert.Limits`.

    Attributes
    ----------
    classes, ignore
        Those of the JSON; None with a mask map, and for images alone.
    left_out
        Cases without a file or with one that cannot be packed, and a number of cases that is not
        that of the JSON, as (path, reason).
    remarks
        Volumes in the folder that the JSON does not list.

    Raises
    ------
    SourceError
        There is no such dataset, or no case of it can be packed.

    Examples
    --------
    >>> spleen = DecathlonTask("Task09_Spleen")  # doctest: +SKIP
    """

    kind = "msd"

    def __init__(
        self,
        images: str | os.PathLike[str],
        masks: str = "",
        *,
        subset: str = "train",
        as_: Arrangement = "volumes",
        axis: int = 2,
        skip_empty: bool = False,
        geometry: Agreement = "strict",
        color: Color = "auto",
        mask_map: str | MaskMap = "",
        limits: Limits | None = None,
    ) -> None:
        require_subset(subset, _LISTS)
        require_volume_options(as_=as_, geometry=geometry)
        require_axis(axis, as_)
        limits = limits or Limits()
        dataset = DatasetJson(Path(os.fspath(images)))
        if "training" not in dataset:
            other = "; did you mean --format nnunet?" if "channel_names" in dataset else ""
            raise SourceError(f"{dataset.path}: needed a list 'training', found none{other}")
        labelled = self._set_options(
            dataset.labels(), masks, color, mask_map, skip_empty=skip_empty, test=subset == "test"
        )
        name, count = _LISTS[subset]
        entries = dataset.items(name)
        found, listed = _pairs(dataset, entries, limits, labelled=labelled, test=subset == "test")
        self._require_count(dataset, count, len(entries))
        self._remark_unlisted(dataset.path.parent, subset, listed)
        self._open_cases(
            found,
            VolumeReader(
                [path for pair in found.pairs for path in pair.files],
                in_memory=limits.sample_nbytes if as_ == VOLUMES else 0,
            ),
            None if as_ == VOLUMES else axis,
            channels=dataset.channels("modality", "channel_names"),
            geometry=geometry,
            skip_empty=skip_empty,
            limits=limits,
        )

    def _remark_unlisted(self, folder: Path, subset: str, listed: set[str]) -> None:
        images = folder / ("imagesTr" if subset == "train" else "imagesTs")
        if not images.is_dir():
            return
        there = (os.path.normpath(path) for path in files_below(str(images)))
        others = sorted(path for path in there if path.endswith(EXTENSIONS) and path not in listed)
        if others:
            why = f"dataset.json does not list them: {few(others)}"
            self.remarks = (*self.remarks, ("unlisted files", f"{len(others)} passed over", why))


def _pairs(
    dataset: DatasetJson, entries: list[Any], limits: Limits, *, labelled: bool, test: bool
) -> tuple[Pairing, set[str]]:
    """Return the files of the cases, and the paths of all images that are listed."""
    pairs: dict[str, Pair] = {}
    left_out: list[tuple[str, str]] = []
    listed: set[str] = set()
    for entry in entries:
        places = [entry] if test else _image_and_label(dataset, entry)
        files = [dataset.file(place, limits) for place in places]
        listed.add(files[0])
        wanted = files if labelled else files[:1]
        missing = [path for path in wanted if is_missing(path)]
        if missing:
            left_out.append((missing[0], "dataset.json names it, but the file is missing"))
            continue
        key = stem_of(Path(files[0]).name, EXTENSIONS)
        if key in pairs:
            raise dataset.error("every case once", f"{key} twice")
        pairs[key] = Pair(key, (files[0],), files[1] if labelled else None)
    return Pairing(tuple(pairs[key] for key in sorted(pairs)), tuple(left_out), (0, 0)), listed


def _image_and_label(dataset: DatasetJson, entry: Any) -> list[Any]:
    if not isinstance(entry, dict) or not {"image", "label"} <= entry.keys():
        raise dataset.error('cases like {"image": …, "label": …} as \'training\'', f"{entry!r:.80}")
    return [entry["image"], entry["label"]]
