"""Which format does a folder have?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zarrfeed.errors import SourceError, look_up
from zarrfeed.spelling import few, plural
from zarrfeed_convert.detection import (
    annotation_files,
    file_formats,
    known_datasets,
    mask_layouts,
)
from zarrfeed_convert.detection.listing import look

if TYPE_CHECKING:
    import os

    from zarrfeed_convert.detection.candidate import Candidate
    from zarrfeed_convert.detection.listing import Listing

# A dataset of a known layout consists of files that fit other formats, too. Of the stages, the
# first that finds anything decides.
_STAGES = (
    (
        known_datasets.by_folders,
        known_datasets.by_dataset_json,
        annotation_files.by_annotation_tool,
        annotation_files.by_label_studio,
        mask_layouts.by_mask_folders,
        mask_layouts.by_rle_csv,
    ),
    (
        annotation_files.by_coco,
        file_formats.by_images,
        file_formats.by_volumes,
        file_formats.by_dicom,
        file_formats.by_records,
        file_formats.by_arrays,
        file_formats.by_zarr,
    ),
    (file_formats.by_npy,),
    (file_formats.by_images_alone,),
)


def detect_formats(directory: str | os.PathLike[str], split: str) -> list[Candidate]:
    """Say as what a folder can be packed.

    Parameters
    ----------
    directory
        The folder of a dataset.
    split
        Name of the split to pack, by which its files are chosen: those in ``train/``, or called
        like ``x_train``.

    Returns
    -------
    list of Candidate
        All formats that fit, with the arguments to open them; empty if none does.

    Raises
    ------
    SourceError
        There is no such folder, or it cannot be read.

    Examples
    --------
    >>> [found] = detect_formats("camvid", "train")  # doctest: +SKIP
    >>> found.format, found.reason  # doctest: +SKIP
    ('camvid', 'it has train/ and trainannot/')
    """
    return _candidates(look(directory), split)


def choose_format(
    directory: str | os.PathLike[str], split: str, format_name: str | None
) -> Candidate:
    """Say as what a folder is packed.

    Parameters
    ----------
    directory, split
        As for :func:`detect_formats`.
    format_name
        The format, if it is known.

    Raises
    ------
    SourceError
        No format fits, several do, or the one of this name does not.
    """
    listing = look(directory)
    found = _candidates(listing, split)
    chosen = [one for one in found if format_name in (None, one.format)]
    if len(chosen) == 1:
        return chosen[0]
    if chosen:
        both = len({one.format for one in chosen}) > 1
        fitting = "; ".join(f"{one.format} ({one.reason})" for one in chosen)
        raise SourceError(
            f"{directory}: needed the layout of one format, found {len(chosen)}: {fitting}; "
            + (
                "choose by --format"
                if both
                else "give the folders by --images and --masks instead of --from"
            )
            + look_up("format-unclear")
        )
    fits = f", which looks like {few(one.format for one in found)}" if found else ""
    needed = "a layout that is known" if format_name is None else f"the layout of {format_name}"
    raise SourceError(
        f"{directory}: needed {needed} with a split {split}, found {_seen(listing)}{fits}; give "
        "--images and --masks instead of --from"
        + ("" if format_name else ", and --format if they are not image files")
        + look_up("format-unclear")
    )


def _candidates(listing: Listing, split: str) -> list[Candidate]:
    for stage in _STAGES:
        found = [one for rule in stage for one in rule(listing, split)]
        if found:
            return found
    return []


def _seen(listing: Listing) -> str:
    """Say what is in a folder."""
    top = listing.folders[""]
    folders = few((f"{name}/" for name in top.folders), shown=6)
    endings = few(
        (
            f"{count:,} {ending or 'without ending'}"
            for ending, count in sum(
                (folder.endings for folder in listing.folders.values()), type(top.endings)()
            ).most_common()
        ),
        shown=4,
    )
    files = f"files {endings}" if endings else "no files"
    return f"{plural(len(top.folders), 'folder')}{f' ({folders})' if folders else ''} and {files}"
