"""Which samples does a raw dataset of nnU-Net v2 have?"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from zarrfeed.errors import SourceError, look_up
from zarrfeed.spelling import few
from zarrfeed_convert.decoding.decode import EXTENSIONS as IMAGES
from zarrfeed_convert.decoding.limits import Limits
from zarrfeed_convert.sources.described_datasets.dataset_json import DatasetJson, is_missing
from zarrfeed_convert.sources.described_datasets.dataset_json_source import DatasetJsonSource
from zarrfeed_convert.sources.file_discovery import composed, files_below
from zarrfeed_convert.sources.file_pairs import Pair, Pairing
from zarrfeed_convert.sources.option_checks import require_subset
from zarrfeed_convert.sources.read_errors import naming_errors, source_errors
from zarrfeed_convert.sources.stacks.nifti_file import EXTENSIONS as NIFTI
from zarrfeed_convert.sources.stacks.nifti_file import VolumeReader
from zarrfeed_convert.sources.stacks.plane_files import PlaneFiles
from zarrfeed_convert.sources.volume_options import VOLUMES, require_axis, require_volume_options

if TYPE_CHECKING:
    from zarrfeed_convert.decoding.pixels import Color
    from zarrfeed_convert.mask_map import MaskMap
    from zarrfeed_convert.sources.stacks.nifti_file import VolumeFiles
    from zarrfeed_convert.sources.volume_options import Agreement, Arrangement

_ENDINGS = (*NIFTI, ".npy", *sorted(IMAGES))
_CHANNEL = re.compile(r"(?s)(.+)_(\d{4})")
_MOST_CHANNELS = 10_000  # of four digits


@source_errors
class NnUnetRaw(DatasetJsonSource):
    """A raw dataset of nnU-Net v2: dataset.json, imagesTr, labelsTr and imagesTs.

    The files of a case, ``CASE_0000.nii.gz``, ``CASE_0001.nii.gz``, … are its channels. Channels,
    classes and the ignored label are those of the JSON; labels that are regions, such as
    ``"tumour": [1, 2]``, keep the ids of the files, and a remark says so. Files may be of any
    ``file_ending`` of NIfTI, images, TIFF stacks and ``.npy``; volumes of these are (z, y, x), and
    their spacing is that of the ``CASE.json`` beside them, if there is one. Whatever the JSON and
    the files do not agree on is named: channels or labels that are missing, another number of
    cases.

    Parameters
    ----------
    images
        The folder of the dataset, such as ``Dataset001_Liver``, with its ``dataset.json``.
    masks
        Not needed. If it is ``none``, images are packed alone.
    subset
        ``train`` (imagesTr and labelsTr, or the cases that the JSON lists), or ``test`` (imagesTs):
        images alone. By default the split's name.
    as_
        What a sample is: ``volumes``, (z, y, x) as SimpleITK's GetArrayFromImage gives them, or
        ``slices`` along `axis`. By default volumes; files of 2-D images are one sample each.
    axis
        The axis to slice along: 0, 1 or 2 for x, y or z. Volumes are not sliced.
    skip_empty
        Leave out samples whose mask is 0 everywhere.
    geometry
        What to do with labels and channels whose corners by the affine are more than 0.1 voxels
        from those of the first channel, or whose spacing differs by more than 1 %: ``strict``
        refuses them; ``warn`` pairs their voxels by index, and reports it. Shapes must agree in
        any case.
    color
        auto keeps the channels that the images have; grey, rgb, rgba convert.
    mask_map
        What label values mean, like 2=1. Classes then have no names.
    limits
        What files may claim, and name besides themselves; see :class:`zarrfeed_convert.Limits`.

    Attributes
    ----------
    classes, ignore
        Those of the JSON; None with a mask map, and for images alone.
    left_out
        Cases without a file or with one that cannot be packed, labels without a case, and a number
        of cases that is not that of the JSON, as (path, reason).
    remarks
        The regions, if labels are some.

    Raises
    ------
    SourceError
        There is no such dataset, its files are of a kind that cannot be read, or no case of it can
        be packed.

    Examples
    --------
    >>> liver = NnUnetRaw("nnUNet_raw/Dataset003_Liver")  # doctest: +SKIP
    """

    kind = "nnunet"

    def __init__(
        self,
        images: str | os.PathLike[str],
        masks: str = "",
        *,
        subset: str = "train",
        as_: Arrangement | Literal[""] = "",
        axis: int = 2,
        skip_empty: bool = False,
        geometry: Agreement = "strict",
        color: Color = "auto",
        mask_map: str | MaskMap = "",
        limits: Limits | None = None,
    ) -> None:
        require_subset(subset, ("train", "test"))
        require_volume_options(geometry=geometry)
        require_axis(axis, as_ or VOLUMES)
        limits = limits or Limits()
        dataset = DatasetJson(Path(os.fspath(images)))
        if "channel_names" not in dataset and "training" in dataset:
            raise SourceError(
                f"{dataset.path}: needed nnU-Net's 'channel_names', found the list 'training' of "
                "the Medical Segmentation Decathlon; did you mean --format msd?"
            )
        channels = dataset.channels("channel_names", "modality")
        ending = _ending(dataset)
        test = subset == "test"
        labelled = self._set_options(
            dataset.labels(), masks, color, mask_map, skip_empty=skip_empty, test=test
        )
        if "dataset" in dataset and not test:
            found, cases = _listed(dataset, ending, limits, labelled=labelled)
        else:
            found, cases = _found(dataset, ending, channels, labelled=labelled, test=test)
        if not test:
            self._require_count(dataset, "numTraining", cases)
        files, flat = _files(found, ending, limits, in_order=as_ in ("", VOLUMES))
        if flat and as_ == VOLUMES:
            raise SourceError(
                f"--as: needed none for 2-D images, such as {found.pairs[0].images[0]}, found "
                "'volumes'; leave it out"
            )
        self._open_cases(
            found,
            files,
            2 if flat else None if as_ in ("", VOLUMES) else axis,
            channels=channels,
            geometry=geometry,
            skip_empty=skip_empty,
            limits=limits,
            images=flat,
        )


def _ending(dataset: DatasetJson) -> str:
    """Return the file ending of a dataset.

    Raises
    ------
    SourceError
        It is none of those that can be read.
    """
    ending = dataset.text("file_ending")
    if ending.lower() not in _ENDINGS:
        raise SourceError(
            f"{dataset.path}: needed a file_ending among {', '.join(_ENDINGS)}, found {ending!r}; "
            "convert the files, such as with SimpleITK, and correct file_ending"
        )
    return ending


def _files(
    found: Pairing, ending: str, limits: Limits, *, in_order: bool
) -> tuple[VolumeFiles, bool]:
    """Return what reads the files, and whether they are 2-D images, as the first of them says."""
    paths = [path for pair in found.pairs for path in pair.files]
    if ending.lower() in NIFTI:
        return VolumeReader(paths, in_memory=limits.sample_nbytes if in_order else 0), False
    suffixes = tuple(f"_{number:04}" for number in range(_most_files(found)))
    planes = PlaneFiles(limits, suffixes)
    for path in paths:
        with naming_errors(path):
            return planes, planes.is_image(path)
    return planes, False


def _most_files(found: Pairing) -> int:
    return max((len(pair.images) for pair in found.pairs), default=1)


def _found(
    dataset: DatasetJson, ending: str, channels: tuple[str, ...], *, labelled: bool, test: bool
) -> tuple[Pairing, int]:
    """Find the files of the cases in the folders of a dataset, and count the cases."""
    folder = dataset.path.parent
    images = _names(folder / ("imagesTs" if test else "imagesTr"), ending)
    labels = _names(folder / "labelsTr", ending) if labelled else {}
    left_out: list[tuple[str, str]] = []
    by_case: dict[str, dict[int, str]] = {}
    for name, path in images.items():
        parts = _CHANNEL.fullmatch(name)
        if parts is None:
            why = f"needed a name with the number of its channel, like {name}_0000{ending}"
            left_out.append((path, why))
        else:
            by_case.setdefault(parts[1], {})[int(parts[2])] = path
    pairs = []
    for case in sorted(by_case):
        files = by_case[case]
        first = files[min(files)]
        if labelled and case not in labels:
            left_out.append((first, f"needed its labels {case}{ending} in labelsTr, found none"))
        elif wrong := _wrong_channels(files, channels):
            left_out.append((first, wrong))
        else:
            paths = tuple(files[number] for number in sorted(files))
            pairs.append(Pair(case, paths, labels.get(case)))
    left_out += [
        (labels[case], "these labels have no image") for case in sorted(labels.keys() - by_case)
    ]
    return Pairing(tuple(pairs), tuple(left_out), (0, 0)), len(by_case)


def _wrong_channels(files: dict[int, str], channels: tuple[str, ...]) -> str:
    """Return what is wrong with the numbers of a case's files; nothing if they count from 0.

    One file may hold all channels, as a colour image does.
    """
    found = sorted(files)
    if found in ([0], list(range(len(channels)))):
        return ""
    said = ", ".join(f"_{number:04} ({name})" for number, name in enumerate(channels))
    return f"needed the files of its channels {said}, found {few(f'_{at:04}' for at in found)}"


def _names(folder: Path, ending: str) -> dict[str, str]:
    """Return the files of a folder by name, without the ending."""
    if not folder.is_dir():
        raise SourceError(
            f"{folder}: needed a folder of files {ending}, found none; restore it, or choose the "
            "other subset by -o subset=train or test"
            f"{look_up('no-files')}"
        )
    paths = [path for path in files_below(str(folder)) if path.endswith(ending)]
    names: dict[str, str] = {}
    for path in sorted(paths):
        name = composed(Path(path).relative_to(folder).as_posix().removesuffix(ending))
        names[name] = path
    if not names:
        raise SourceError(
            f"{folder}: needed files {ending}, as file_ending says, found none; correct "
            "file_ending, or restore the files"
        )
    return names


def _listed(
    dataset: DatasetJson, ending: str, limits: Limits, *, labelled: bool
) -> tuple[Pairing, int]:
    """Return the files of the cases that the JSON lists, and count the cases."""
    pairs, left_out = [], list[tuple[str, str]]()
    entries = dataset.mapping("dataset")
    for case in sorted(entries):
        images, label = _entry(dataset, case, entries[case])
        files = [dataset.file(place, limits) for place in (*images, *([label] if labelled else []))]
        wrong = [path for path in files if not path.endswith(ending)]
        missing = [path for path in files if is_missing(path)]
        if wrong:
            left_out.append((wrong[0], f"needed files {ending}, as file_ending says"))
        elif missing:
            left_out.append((missing[0], "dataset.json names it, but the file is missing"))
        else:
            pairs.append(
                Pair(composed(case), tuple(files[: len(images)]), files[-1] if labelled else None)
            )
    return Pairing(tuple(pairs), tuple(left_out), (0, 0)), len(entries)


def _entry(dataset: DatasetJson, case: str, entry: Any) -> tuple[list[Any], Any]:
    if isinstance(entry, dict):
        images, label = entry.get("images"), entry.get("label")
        if isinstance(images, list) and 0 < len(images) < _MOST_CHANNELS:
            return images, label
    raise dataset.error(
        f'files like {{"images": ["a_0000.nii.gz"], "label": "a.nii.gz"}} of {case!r}',
        f"{entry!r:.80}",
    )
