"""What do datasets like CamVid, Cityscapes and KITTI have in common?

Each has a known folder layout, in which the files of a subset are found, and known mask values,
unless the user gives a mask map.
"""

from __future__ import annotations

import os
import re
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING

from zarrfeed.errors import SourceError, look_up
from zarrfeed.spelling import few
from zarrfeed_convert.decoding.decode import EXTENSIONS
from zarrfeed_convert.source import IMAGES_ONLY, PAIR
from zarrfeed_convert.sources.file_discovery import without_extension
from zarrfeed_convert.sources.image_files.field_files import FilePairs
from zarrfeed_convert.sources.option_checks import NO_MASKS, masks_given, require_no_masks
from zarrfeed_convert.sources.subset_names import known_subset
from zarrfeed_convert.sources.value_options import ValueOptions

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence

    from zarrfeed_convert.decoding.limits import Limits
    from zarrfeed_convert.labels import Labels
    from zarrfeed_convert.mask_map import MaskMap
    from zarrfeed_convert.source import JSON

_TEST = "test"  # its masks are often not published
SUBSETS = ("train", "val", _TEST)
IGNORED = 255

_ENDS = "|".join(map(re.escape, sorted(EXTENSIONS)))
_LONGEST_NAME = 240  # bytes; file systems take 255 with extension


class KnownLayout(FilePairs):
    """The samples of a dataset whose folders and classes are known: pairs, or images alone.

    A subclass has a `kind`, as ``--format`` takes it.

    Parameters
    ----------
    files
        Key → image file and mask file, or the image file alone.
    options
        The options of the user. A mask map replaces the known one; the classes then have no names.
    left_out
        Inputs that make no sample, as (name, reason).
    known_map, labels
        The mask values of the dataset, None if they are ids already, and its classes, None for
        images alone.
    facts
        Further facts to record.
    limits
        Limits on what the files may claim.
    """

    kind: str

    def __init__(
        self,
        files: Mapping[str, tuple[str, ...]],
        options: ValueOptions,
        left_out: Sequence[tuple[str, str]],
        *,
        labels: Labels | None,
        known_map: MaskMap | None = None,
        facts: JSON,
        limits: Limits | None = None,
    ) -> None:
        self._description: JSON = {
            "kind": self.kind,
            **self.arguments,
            "images": str(Path(self.arguments["images"])),
            **options.describe(),
            "facts": facts,
        }
        self.fields = PAIR if labels else IMAGES_ONLY
        self.classes: tuple[str, ...] | None = labels.classes if labels else None
        self.ignore: int | None = labels.ignore if labels else None
        if str(options.mask_map):
            self.classes = self.ignore = None
        elif known_map is not None:
            options = ValueOptions(options.color, known_map, known=True)
        super().__init__(files, options, left_out, limits)

    def describe(self) -> JSON:
        """Return the location and the options of the samples, as JSON."""
        return self._description


def are_alone(masks: str, subset: str, mask_map: str | MaskMap, *, found: bool) -> bool:
    """Return whether to pack images alone: on request, or for a test set without masks.

    Parameters
    ----------
    masks, subset, mask_map
        The options of the format.
    found
        Whether the dataset has masks for the subset.

    Raises
    ------
    SourceError
        `masks` is a path although masks lie beside the images, or there is a mask map for none.
    """
    if masks == NO_MASKS:
        return not masks_given(masks, mask_map=mask_map)
    require_no_masks(masks, "--images")
    return subset == _TEST and not found and not str(mask_map)


def has_folders(root: Path, folders: Sequence[str]) -> bool:
    """Return whether all these folders exist."""
    return all((root / folder).is_dir() for folder in folders)


def find_layout(root: Path, layouts: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """Return the first of these sets of folders that exists.

    Raises
    ------
    SourceError
        None exists; the message names a folder below that has one.
    """
    for folders in layouts:
        if has_folders(root, folders):
            return folders
    needed = " or ".join(", ".join(f"{folder}/" for folder in folders) for folders in layouts)
    if not root.is_dir():
        raise SourceError(
            f"images: needed a folder with {needed}, found no folder {root}; check --images"
            f"{look_up('no-files')}"
        )
    inside = sorted(path for path in root.iterdir() if path.is_dir())
    below = sorted(path for folder in inside for path in folder.iterdir() if path.is_dir())
    hits = [
        path for path in (*inside, *below) if any(has_folders(path, names) for names in layouts)
    ]
    advice = f"it lies in {hits[0]}: give that" if hits else "give the folder that holds them"
    found = few(f"{path.name}/" for path in inside) or "no folder"
    raise SourceError(f"{root}: needed {needed}, found {found}; {advice}{look_up('no-files')}")


def subset_folder(root: Path, subset: str, masks: str, layout: tuple[str, str]) -> Path:
    """Return the folder of a subset, of a dataset that has one for each.

    Parameters
    ----------
    root
        The folder that holds those of the subsets.
    subset
        Name of a subset; see :func:`~zarrfeed_convert.sources.subset_names.known_subset`.
    masks
        Value of ``--masks``.
    layout
        Where images and masks are in the folder of a subset.

    Raises
    ------
    SourceError
        There is no such subset, or `masks` is a path although masks lie beside the images.
    """
    there = [path.parent.name for path in root.glob(f"*/{layout[0]}")]
    if not there:
        find_layout(root, [tuple(f"training/{folder}" for folder in layout)])
    where = root / known_subset(subset, there)
    if masks != NO_MASKS:
        require_no_masks(masks, "--images")
    return where


def read_list(folder: Path, subset: str, known: Container[str]) -> list[str]:
    """Read the names of a subset, without repetition.

    A line is a name, which may have dots and spaces; or a name and a flag (``-1``, ``0``, ``1``);
    or the paths of image and mask.

    Parameters
    ----------
    folder, subset
        The folder of lists, and the name of the list.
    known
        The names of files; a line that is one of them means that name.

    Raises
    ------
    SourceError
        The list is missing or empty.
    """
    path = folder / f"{subset}.txt"
    if not path.is_file():
        there = ", ".join(sorted(file.stem for file in folder.glob("*.txt"))) or "none"
        raise SourceError(
            f"option subset: needed a list in {folder}, found {subset!r}, the name of the split if "
            f"no subset is given; by -o subset=…, choose from {there}"
        )
    lines = path.read_text(encoding="utf-8-sig", errors="surrogateescape").split("\n")
    names = [_listed(line.strip(), known) for line in lines if line.strip()]
    longest = max(names, key=len, default="")
    if len(os.fsencode(longest)) > _LONGEST_NAME or "\0" in "".join(names):
        raise SourceError(
            f"{path}: needed names of files, found one of {len(longest)} characters, or with a "
            f"zero: {longest[:20]!r}…; restore the file"
        )
    if not names:
        raise SourceError(
            f"{path}: needed a name per line, found an empty list; choose another subset"
        )
    return list(dict.fromkeys(names))


def _listed(line: str, known: Container[str]) -> str:
    """Return the name that a line means: the first that exists, else the likeliest."""
    one = re.fullmatch(rf"(.+?({_ENDS}))(?:\s.*)?", line, re.IGNORECASE)
    path = unicodedata.normalize("NFC", one[1] if one else line)
    bare = without_extension(path.rpartition("/")[2], EXTENSIONS)
    flagged = re.fullmatch(r"(.+?)\s+[+-]?[01]", bare)
    names = [unicodedata.normalize("NFC", line), bare, *([flagged[1]] if flagged else [])]
    return next((name for name in names if name in known), names[-1])
