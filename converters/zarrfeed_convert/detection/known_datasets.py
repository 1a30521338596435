"""Is a folder one of the known datasets, whose folders have certain names?

Their files could be paired by name as well, because they are image files or volumes in folders.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zarrfeed_convert.detection.candidate import Candidate
from zarrfeed_convert.detection.contents import edges
from zarrfeed_convert.detection.listing import folder_text, join

if TYPE_CHECKING:
    from collections.abc import Iterator

    from zarrfeed_convert.detection.listing import Listing

# Folders that only this dataset has -> its format. {split} is not needed: its subsets are chosen
# by the name of the split.
_FOLDERS = (
    ("camvid", ("train", "trainannot")),
    ("camvid", ("701_StillsRaw_full", "LabeledApproved_full")),
    ("cityscapes", ("leftImg8bit", "gtFine")),
    ("voc", ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation")),
    ("kitti", ("training/image_2", "training/semantic")),
    ("mapillary", ("training/images", "training/v2.0/labels")),
    ("mapillary", ("training/images", "training/v1.2/labels")),
)


def by_folders(listing: Listing, split: str) -> Iterator[Candidate]:  # noqa: ARG001 (a subset is chosen later)
    """Find datasets that folders of certain names tell."""
    for kind, folders in _FOLDERS:
        for path in listing.folders:
            if all(join(path, folder) in listing.folders for folder in folders):
                yield known_layout(
                    listing, kind, path, " and ".join(f"{name}/" for name in folders)
                )
    for path in listing.folders:  # CamVid's masks are called like 0001TP_006690_L.png
        if listing.has("train", "train_labels", inside=path):
            masks = listing.folders[join(path, "train_labels")].files
            if masks and all(name.endswith("_L.png") for name in masks):
                yield known_layout(listing, "camvid", path, "train_labels/ with masks *_L.png")


def by_dataset_json(listing: Listing, split: str) -> Iterator[Candidate]:  # noqa: ARG001 (a subset is chosen later)
    """Find raw datasets of nnU-Net and tasks of the Decathlon."""
    for path, folder in listing.folders.items():
        if "dataset.json" not in folder.files:
            continue
        text = edges(listing.path(join(path, "dataset.json")))
        if '"channel_names"' in text or '"file_ending"' in text:
            yield known_layout(listing, "nnunet", path, "dataset.json with channel_names")
        elif '"modality"' in text:
            yield known_layout(listing, "msd", path, "dataset.json with modality")


def known_layout(listing: Listing, kind: str, path: str, why: str) -> Candidate:
    """Return the candidate of a format that finds images and masks below one folder."""
    return Candidate(kind, f"{folder_text(path)} has {why}", {"images": listing.path(path)})
