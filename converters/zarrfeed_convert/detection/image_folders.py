"""In which folder are the images whose names an annotation file gives?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zarrfeed_convert.detection.sides import says_masks
from zarrfeed_convert.detection.split_names import is_of, is_of_another

if TYPE_CHECKING:
    from collections.abc import Iterable

    from zarrfeed_convert.detection.listing import Listing


def image_folders_of(
    listing: Listing, file_name: str, near: str, split: str, *, other_than: str | None = None
) -> list[str]:
    """Find the folders below which a file lies whose name an annotation file gives.

    Parameters
    ----------
    listing
        What is in the dataset.
    file_name
        The name, perhaps with folders in front.
    near
        The folder of the annotation file.
    split
        Name of the split: images of different splits may have the same names.
    other_than
        A folder that is not meant.

    Returns
    -------
    list of str
        Folders below the root such that the name is relative to them; several if it cannot be told
        which is meant.
    """
    parts = file_name.replace("\\", "/").split("/")
    if ".." in parts or not parts[-1] or "\0" in file_name:
        return []
    for at in range(len(parts)):
        tail = "/".join(parts[at:])
        found = [
            path
            for path in listing.folders
            if path != other_than and (listing.root / path / tail).is_file()
        ]
        if found:
            return likeliest(found, near, split)
    return []


def likeliest(folders: Iterable[str], near: str, split: str) -> list[str]:
    """Return those of some folders that a split's images are in, by the folders' names.

    Examples
    --------
    >>> likeliest(["test_images", "train_images"], "", "train")
    ['train_images']
    >>> likeliest(["labels", "photos", "val"], "", "train")
    ['photos']
    """
    found = list(folders)
    for rule in (
        lambda path: is_of(path, split),
        lambda path: not is_of_another(path, split),
        lambda path: not says_masks(path),
        lambda path: path == near,
    ):
        found = [path for path in found if rule(path)] or found
    return found
