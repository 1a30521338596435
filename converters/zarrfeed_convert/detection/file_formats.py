"""Which formats do the endings of files tell, and where are images and masks in them?"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from zarrfeed_convert.decoding.decode import EXTENSIONS
from zarrfeed_convert.detection.candidate import Candidate
from zarrfeed_convert.detection.contents import array_names, is_dicom, is_ome, tiff_kind
from zarrfeed_convert.detection.listing import join
from zarrfeed_convert.detection.mask_layouts import is_per_class
from zarrfeed_convert.detection.sides import find_sides, told
from zarrfeed_convert.detection.split_names import chosen_by_split, is_of, is_of_another

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from zarrfeed_convert.detection.listing import Listing
    from zarrfeed_convert.detection.sides import Sides

_TIFF = (".tif", ".tiff", ".ome.tif", ".ome.tiff")
_IMAGES = (*sorted(EXTENSIONS), *_TIFF[2:])
# Format → endings of its volumes.
_VOLUMES = (
    ("nifti", (".nii", ".nii.gz")),
    ("itk", (".nrrd", ".nhdr", ".mha", ".mhd", ".gipl", ".gipl.gz", ".mrc")),
)
# Format → endings of its files, each of which has images and masks in it.
_RECORDS = (
    ("tfrecord", (".tfrecord", ".tfrecords")),
    ("parquet", (".parquet",)),
    ("webdataset", (".tar",)),
)
_ARRAYS = (("npz", (".npz",)), ("hdf5", (".h5", ".hdf5", ".hdf")))
_IMAGE_ARRAY = re.compile(r"(.*/)?(images?|imgs?|x(_train|_val|_test)?|data|volumes?|raw)", re.I)
_MASK_ARRAY = re.compile(r"(.*/)?(masks?|labels?|y(_train|_val|_test)?|seg(mentation)?|gt)", re.I)


def by_images(listing: Listing, split: str) -> Iterator[Candidate]:
    """Find folders of image files and masks: plain ones, GeoTIFFs or multi-page TIFFs."""
    return (one for one in _of_images(listing, split) if "masks" in one.arguments)


def by_images_alone(listing: Listing, split: str) -> Iterator[Candidate]:
    """Find folders of image files without masks."""
    return (one for one in _of_images(listing, split) if "masks" not in one.arguments)


def _of_images(listing: Listing, split: str) -> Iterator[Candidate]:
    for sides in find_sides(listing, split, _IMAGES):
        if is_per_class(listing, sides, _IMAGES):
            why = f"{told(sides, listing, _IMAGES)}; a mask file for each class"
            yield Candidate("class-masks", why, _arguments(listing, sides))
            continue
        tiffs = [listing.path(file) for file in listing.files(sides.images, _TIFF)]
        kind = tiff_kind(tiffs[0]) if tiffs else "paired"
        why = told(sides, listing, _IMAGES)
        if kind != "paired":
            why += "; " + {"geotiff": "georeferenced TIFF", "tiff": "TIFF of several pages"}[kind]
        yield Candidate(kind, why, _arguments(listing, sides))


def by_npy(listing: Listing, split: str) -> Iterator[Candidate]:
    """Find folders of ``.npy`` files."""
    for sides in find_sides(listing, split, (".npy",)):
        yield Candidate("paired", told(sides, listing, (".npy",)), _arguments(listing, sides))


def by_volumes(listing: Listing, split: str) -> Iterator[Candidate]:
    """Find folders of volumes and their labels: NIfTI, or what SimpleITK reads."""
    for kind, endings in _VOLUMES:
        for sides in find_sides(listing, split, endings):
            yield Candidate(kind, told(sides, listing, endings), _arguments(listing, sides))


def by_dicom(listing: Listing, split: str) -> Iterator[Candidate]:
    """Find folders of DICOM files, also those without an ending."""
    for folder in _parts_of(listing, split):
        named = listing.count(folder, (".dcm",))
        bare = listing.count(folder, ("",))
        first = next(listing.files(folder, ("",)), None)
        if named or (bare and first is not None and is_dicom(listing.path(first))):
            where = f"{folder}/" if folder else "it"
            yield Candidate(
                "dicom", f"{named or bare:,} DICOM files below {where}",
                {"images": listing.path(folder)},
            )  # fmt: skip


def by_records(listing: Listing, split: str) -> Iterator[Candidate]:
    """Find TFRecords, Parquet tables and WebDataset tars."""
    for kind, endings in _RECORDS:
        yield from _one_per_folder(listing, split, kind, endings)


def by_arrays(listing: Listing, split: str) -> Iterator[Candidate]:
    """Find NPZ and HDF5 files whose arrays are called like images and masks."""
    for kind, endings in _ARRAYS:
        files = chosen_by_split(sorted(listing.files("", endings)), split)
        names = array_names(listing.path(files[0])) if files else []
        images = [name for name in names if _IMAGE_ARRAY.fullmatch(name)]
        masks = [name for name in names if _MASK_ARRAY.fullmatch(name)]
        if len(images) != 1 or len(masks) > 1:
            continue
        folder = files[0].rpartition("/")[0]
        every = len(files) > 1
        place = listing.path(join(folder, f"*{endings[0]}") if every else files[0])
        arguments = {"images": f"{place}:{images[0]}"}
        if masks:
            arguments["masks"] = f"{place}:{masks[0]}"
        yield Candidate(kind, f"{files[0]} holds {', '.join(names[:4])}", arguments)


def by_zarr(listing: Listing, split: str) -> Iterator[Candidate]:
    """Find OME-Zarr images."""
    for folder in _parts_of(listing, split):
        stores = [
            name
            for name in listing.folders[folder].files
            if (listing.root / folder / name).is_dir() and is_ome(listing.path(join(folder, name)))
        ]
        if not stores:
            continue
        images = join(folder, stores[0]) if len(stores) == 1 else join(folder, _glob_of(stores))
        yield Candidate(
            "ome-zarr", f"{stores[0]} is an OME-Zarr image", {"images": listing.path(images)}
        )


def _glob_of(names: Sequence[str]) -> str:
    ends = {name.lower().rpartition(".")[2] for name in names}
    return "*.zarr" if ends == {"zarr"} else "*"


def _one_per_folder(
    listing: Listing, split: str, kind: str, endings: Collection[str]
) -> Iterator[Candidate]:
    files = chosen_by_split(sorted(listing.files("", endings)), split)
    for folder in dict.fromkeys(file.rpartition("/")[0] for file in files):
        names = [file.rpartition("/")[2] for file in files if file.rpartition("/")[0] == folder]
        every = listing.count(folder, endings) == len(names)
        place = folder if every else join(folder, f"{_shared_start(names)}*")
        yield Candidate(
            kind, f"{len(names):,} files like {join(folder, names[0])}",
            {"images": listing.path(place)},
        )  # fmt: skip


def _shared_start(names: Sequence[str]) -> str:
    start = os.path.commonprefix(list(names))  # noqa: RUF071 (of characters is what we want)
    return start.rstrip("0123456789") if len(names) > 1 else start


def _parts_of(listing: Listing, split: str) -> list[str]:
    """Return the folder of a split, or the root if no folder is called like a split."""
    names = listing.folders[""].folders
    own = [name for name in names if is_of(name, split)]
    return own or ([] if any(is_of_another(name, split) for name in names) else [""])


def _arguments(listing: Listing, sides: Sides) -> dict[str, str]:
    arguments = {"images": listing.path(sides.images)}
    if sides.masks:
        arguments["masks"] = listing.path(sides.masks)
    if sides.suffix:
        arguments["mask_suffix"] = sides.suffix
    return arguments
