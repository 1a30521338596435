"""Are there masks in many files, or runs in a CSV file, beside images?"""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from zarrfeed.errors import SourceError
from zarrfeed_convert.decoding.decode import EXTENSIONS
from zarrfeed_convert.detection.candidate import Candidate
from zarrfeed_convert.detection.contents import edges
from zarrfeed_convert.detection.image_folders import likeliest
from zarrfeed_convert.detection.known_datasets import known_layout
from zarrfeed_convert.detection.listing import join, without_ending
from zarrfeed_convert.detection.split_names import chosen_by_split, is_of, is_of_another
from zarrfeed_convert.sources.binary_masks.class_layouts import places_of
from zarrfeed_convert.sources.run_length.columns import columns_of
from zarrfeed_convert.sources.run_length.csv_records import cells_of, delimiter_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from zarrfeed_convert.detection.listing import Listing
    from zarrfeed_convert.detection.sides import Sides

_LINES = 1000  # of a CSV file
_RUNS = re.compile(r"\d+ \d+( \d+ \d+)*( \d+)?")  # the end of a long cell may be cut off


def by_mask_folders(listing: Listing, split: str) -> Iterator[Candidate]:
    """Find folders of folders with one image and its masks, as of the Data Science Bowl 2018."""
    found = [path for path in listing.folders if _has_mask_folders(listing, path, split)]
    for path in chosen_by_split(found, split):
        why = "folders with one image in images/ and its masks in masks/"
        yield known_layout(listing, "mask-folders", path, why)


def _has_mask_folders(listing: Listing, path: str, split: str) -> bool:
    for name in listing.folders_in(path):
        if is_of(name, split) or is_of_another(name, split):
            continue  # a split, with folders of its images and masks
        inside = join(path, name)
        images = join(inside, "images")
        if listing.has("images", "masks", inside=inside) and (
            sum(listing.folders[images].endings[end] for end in EXTENSIONS) == 1
        ):
            return True
    return False


def by_rle_csv(listing: Listing, split: str) -> Iterator[Candidate]:
    """Find CSV files of run-length codes, and the folder of their images."""
    found = {}
    for path in listing.folders:
        for file in listing.own_files(path, (".csv",)):
            names = _images_with_runs(listing.path(file))
            folders = likeliest(_folders_of(listing, names), path, split) if names else []
            if folders:
                found[file] = folders
    for file in chosen_by_split(found, split):
        for images in found[file]:
            yield Candidate(
                "rle-csv",
                f"{file} has runs of the images in {images or listing.root.name}/",
                {"images": listing.path(images), "masks": listing.path(file)},
            )


def _images_with_runs(path: str) -> list[str]:
    """Return names of images in a CSV file of runs, also without a class; none of another file."""
    lines = edges(path).splitlines()[:_LINES]
    if not lines:
        return []
    try:
        header = lines[0].encode()
        delimiter = delimiter_of(header)
        columns = columns_of(cells_of(header, delimiter, path), path, image="", runs="", label="")
        for line in lines[1:]:
            cells = cells_of(line.encode(), delimiter, path)
            if len(cells) > max(columns.image, columns.runs) and _RUNS.fullmatch(
                cells[columns.runs]
            ):
                name = cells[columns.image]
                return [name, name.rpartition("_")[0]]
    except SourceError:
        return []
    return []


def _folders_of(listing: Listing, names: Sequence[str]) -> Iterator[str]:
    """Yield the folders that have an image of one of some names."""
    wanted = {PurePosixPath(name).name for name in names} - {""}
    for path in listing.folders:
        for file in listing.own_files(path, EXTENSIONS):
            inside = PurePosixPath(file)
            if not wanted.isdisjoint((inside.name, inside.stem)):
                yield path
                break


def is_per_class(listing: Listing, sides: Sides, endings: Collection[str]) -> bool:
    """Return whether mask files show single classes of images, by their names."""
    if sides.suffix:
        return False
    images = _stems(listing, sides.images, endings)
    with suppress(SourceError):
        places = places_of(images, _stems(listing, sides.masks, endings))
        return len({place.label for place in places.values()}) > 1
    return False


def _stems(listing: Listing, folder: str, endings: Collection[str]) -> dict[str, str]:
    start = len(folder) + 1 if folder else 0
    files = listing.files(folder, endings)
    return {stem: stem for file in files for stem in [without_ending(file[start:])]}
