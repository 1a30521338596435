"""Which formats do the endings of files tell, and where are images and masks in them?"""

from __future__ import annotations

import glob
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from zarrfeed_convert.decoding.decode import EXTENSIONS
from zarrfeed_convert.detection.candidate import Candidate
from zarrfeed_convert.detection.contents import array_names, is_dicom, is_ome, tiff_kind
from zarrfeed_convert.detection.images_alone import folders_alone, is_alone
from zarrfeed_convert.detection.listing import folder_text, join
from zarrfeed_convert.detection.mask_layouts import is_per_class
from zarrfeed_convert.detection.sides import find_sides, says_masks, told
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
_MASK_ARRAY = re.compile(
    r"(.*/)?(masks?|labels?|annotations?|targets?|y(_train|_val|_test)?|seg(mentation)?|gt)", re.I
)
_COMPARED = 8  # files of arrays whose names are looked at


def by_images(listing: Listing, split: str) -> Iterator[Candidate]:
    """Find folders of image files and masks: plain ones, GeoTIFFs or multi-page TIFFs."""
    for sides in find_sides(listing, split, _IMAGES):
        if is_per_class(listing, sides, _IMAGES):
            why = f"{told(sides, listing, _IMAGES)}; a mask file for each class"
            yield Candidate("class-masks", why, _arguments(listing, sides))
            continue
        kind, said = _kind_of_images(listing, sides.images)
        yield Candidate(kind, told(sides, listing, _IMAGES) + said, _arguments(listing, sides))


def by_images_alone(listing: Listing, split: str) -> Iterator[Candidate]:
    """Find folders of images or volumes, in datasets where nothing can be masks."""
    for kind, endings in (("", _IMAGES), *_VOLUMES, ("paired", (".npy",))):
        for folder in folders_alone(listing, split, endings):
            known, said = (kind, "") if kind else _kind_of_images(listing, folder)
            yield Candidate(
                known,
                f"{listing.count(folder, endings):,} files below {folder_text(folder)}, and "
                f"nothing that can be masks{said}",
                {"images": listing.path(folder)},
            )


def _kind_of_images(listing: Listing, folder: str) -> tuple[str, str]:
    """Return the format of image files, and what the first of them says about it."""
    first = next(listing.files(folder, _TIFF), None)
    kind = "paired" if first is None else tiff_kind(listing.path(first))
    said = {"geotiff": "; georeferenced TIFF", "tiff": "; TIFF of several pages"}
    return kind, said.get(kind, "")


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
        if not _has_others(listing) and (
            named or (bare and first is not None and is_dicom(listing.path(first)))
        ):
            yield Candidate(
                "dicom", f"{named or bare:,} DICOM files below {folder_text(folder)}",
                {"images": listing.path(folder)},
            )  # fmt: skip


def _has_others(listing: Listing) -> bool:
    """Return whether there may be annotations of DICOM files: other files, but for tables."""
    known = ("", ".dcm", ".csv", ".txt", ".md", ".pdf", ".html")
    every = sum(folder.endings.total() for folder in listing.folders.values())
    return every > listing.count("", known)


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
        if len(images) != 1 or len(masks) > 1 or not (masks or _is_image_array(listing, names)):
            continue
        if any(array_names(listing.path(file)) != names for file in files[1:_COMPARED]):
            continue  # as of x.npz and y.npz
        place = _place_of(listing, files, endings)
        if place is None:
            continue
        arguments = {"images": f"{place}:{images[0]}"}
        if masks:
            arguments["masks"] = f"{place}:{masks[0]}"
        yield Candidate(kind, f"{files[0]} holds {', '.join(names[:4])}", arguments)


def _is_image_array(listing: Listing, names: Sequence[str]) -> bool:
    return len(names) == 1 and is_alone(listing, [end for _, ends in _ARRAYS for end in ends])


def by_zarr(listing: Listing, split: str) -> Iterator[Candidate]:
    """Find OME-Zarr images."""
    for folder in _parts_of(listing, split):
        stores = [
            name
            for name in listing.folders[folder].files
            if (listing.root / folder / name).is_dir() and is_ome(listing.path(join(folder, name)))
        ]
        if not stores or any(says_masks(name) for name in stores):
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
        own = [file for file in files if file.rpartition("/")[0] == folder]
        place = _place_of(listing, own, endings)
        if place is not None:
            why = f"{len(own):,} files like {own[0]}"
            yield Candidate(kind, why, {"images": place})


def _place_of(listing: Listing, files: Sequence[str], endings: Collection[str]) -> str | None:
    """Return a path or glob that means these files and no others; None if none does."""
    folders = {file.rpartition("/")[0] for file in files}
    if len(files) == 1:
        return listing.path(files[0])
    if len(folders) > 1:
        return None
    [folder] = folders
    names = [file.rpartition("/")[2] for file in files]
    others = set(listing.folders[folder].files) - set(names)
    shared = os.path.commonprefix(names)  # noqa: RUF071 (of characters is what we want)
    start = shared.rstrip("0123456789") if others else ""
    ends = {end for end in endings if all(name.endswith(end) for name in names)}
    end = max(ends, key=len, default="")
    if any(name.startswith(start) and name.endswith(end) for name in others):
        return None
    return str(Path(glob.escape(str(listing.root / folder)), f"{glob.escape(start)}*{end}"))


def _parts_of(listing: Listing, split: str) -> list[str]:
    """Return the folder of a split, or the root if no folder is called like a split."""
    names = listing.folders[""].folders
    own = [name for name in names if is_of(name, split)]
    return own or ([] if any(is_of_another(name, split) for name in names) else [""])


def _arguments(listing: Listing, sides: Sides) -> dict[str, str]:
    arguments = {"images": listing.path(sides.images), "masks": listing.path(sides.masks)}
    if sides.suffix:
        arguments["mask_suffix"] = sides.suffix
    return arguments
