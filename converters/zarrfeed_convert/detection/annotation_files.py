"""Is there a file that an annotation tool wrote, and where are its images?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zarrfeed_convert.detection.candidate import Candidate
from zarrfeed_convert.detection.contents import (
    edges,
    first_file_name,
    names_in_json,
)
from zarrfeed_convert.detection.image_folders import image_folders_of
from zarrfeed_convert.detection.known_datasets import known_layout
from zarrfeed_convert.detection.listing import join, without_ending
from zarrfeed_convert.detection.split_names import chosen_by_split, is_of_another, names_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from zarrfeed_convert.detection.listing import Listing

_YOLO_NAMES = ("classes.txt", "obj.names", "labels.txt")
_MOST_JSON = 50  # in a folder; more are those of a tool that writes one per image


def by_annotation_tool(listing: Listing, split: str) -> Iterator[Candidate]:
    """Find what annotation tools write; of each, the folders that are highest."""
    for kind, evidence in (
        ("cvat", _cvat),
        ("yolo", _yolo),
        ("datumaro", _datumaro),
        ("labelme", _labelme),
        ("supervisely", _supervisely),
        ("ade20k", _ade20k),
    ):
        found: dict[str, str] = {}
        for path in listing.folders:  # those above come first
            if not any(above in found for above in _above(path)):
                why = evidence(listing, path, split)
                if why:
                    found[path] = why
        for path in chosen_by_split(found, split):
            yield known_layout(listing, kind, path, found[path])


def _above(path: str) -> Iterator[str]:
    while path:
        path = path.rpartition("/")[0]
        yield path


def _cvat(listing: Listing, path: str, _split: str) -> str:
    file = join(path, "annotations.xml")
    text = edges(listing.path(file)) if file in listing.own_files(path, (".xml",)) else ""
    is_cvat = "<annotations" in text and ("<image " in text or "<track " in text)
    return "annotations.xml of CVAT" if is_cvat else ""


def _yolo(listing: Listing, path: str, _split: str) -> str:
    said = [
        name
        for name in listing.folders[path].files
        if name.endswith((".yaml", ".yml")) and "names:" in edges(listing.path(join(path, name)))
    ]
    names = [name for name in listing.folders[path].files if name in _YOLO_NAMES]
    labels = [below for below in listing.below(path) if "labels" in below.split("/")]
    texts = any(listing.folders[below].endings[".txt"] for below in labels)
    return f"{(said or names)[0]} and labels/ with .txt files" if texts and (said or names) else ""


def _datumaro(listing: Listing, path: str, split: str) -> str:
    for name in (f"{known}.json" for known in (split, *names_of(split))):
        file = join(path, "annotations", name)
        if listing.has("annotations", inside=path) and names_in_json(
            edges(listing.path(file)), "categories", "items"
        ):
            return f"annotations/{name} of Datumaro"
    return ""


def _labelme(listing: Listing, path: str, split: str) -> str:
    files = [file for file in listing.files(path, (".json",)) if not is_of_another(file, split)]
    # Its last part is the image, if that is in the file; the shapes come first.
    if files and names_in_json(edges(listing.path(files[0])), "shapes", "imagePath"):
        return f"{len(files):,} JSON files of labelme"
    xml = next((edges(listing.path(file)) for file in listing.files(path, (".xml",))), "")
    return "XML files of LabelMe" if "<annotation>" in xml and "<polygon>" in xml else ""


def _supervisely(listing: Listing, path: str, _split: str) -> str:
    file = join(path, "meta.json")
    listed = any(below.rpartition("/")[2] == "ann" for below in listing.below(path))
    known = "meta.json" in listing.folders[path].files and listed
    if known and names_in_json(edges(listing.path(file)), "classes"):
        return "meta.json and ann/"
    return ""


def _ade20k(listing: Listing, path: str, _split: str) -> str:
    for below in (path, *listing.below(path)):
        names = set(listing.folders[below].files)
        for name in names:
            stem = name.removesuffix("_seg.png")
            if stem != name and f"{stem}.json" in names and f"{stem}.jpg" in names:
                return "JSON files beside *_seg.png"
    return ""


def by_coco(listing: Listing, split: str) -> Iterator[Candidate]:
    """Find COCO's JSON files, with shapes or with panoptic segments."""
    found = {
        file: (first_file_name(text), "segments_info" in text)
        for path in listing.folders
        if listing.folders[path].endings[".json"] <= _MOST_JSON
        for file in listing.own_files(path, (".json",))
        if names_in_json(text := edges(listing.path(file)), "images", "file_name")
    }
    for file in chosen_by_split(found, split):
        named, panoptic = found[file]
        segments = without_ending(file) if panoptic else None  # beside the JSON, called like it
        for images in image_folders_of(
            listing, named, file.rpartition("/")[0], split, other_than=segments
        ):
            yield Candidate(
                "coco-panoptic" if panoptic else "coco",
                f"{file} is COCO JSON, its images are in {images or listing.root.name}/",
                {"images": listing.path(images), "masks": listing.path(file)},
            )


def by_label_studio(listing: Listing, split: str) -> Iterator[Candidate]:
    """Find Label Studio's JSON files, beside a folder of images or among them."""
    found = [
        file
        for path in listing.folders
        for file in listing.own_files(path, (".json",))
        if names_in_json(edges(listing.path(file)), "annotations", "result", "original_width")
    ]
    for file in chosen_by_split(found, split):
        yield Candidate(
            "label-studio",
            f"{file} is JSON of Label Studio",
            {"images": str(listing.root), "masks": listing.path(file)},
        )
