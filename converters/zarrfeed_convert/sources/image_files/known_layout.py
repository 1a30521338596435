"""What do all datasets have in common whose folders everyone knows?

A subset's files are found by a layout; what masks hold is known, unless the user says otherwise.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from zarrfeed.errors import SourceError
from zarrfeed_convert.decoding.decode import decode, measure, require_packable
from zarrfeed_convert.source import JSON, Header, Image, Mask

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from zarrfeed_convert.labels import Labels
    from zarrfeed_convert.mask_map import MaskMap
    from zarrfeed_convert.sources.meaning import Meaning
    from zarrfeed_convert.sources.image_files.paired import PairedFolders

_SHOWN = 10  # folders that a message names


class KnownLayout:
    """Pairs that a layout has found, and the classes that it is known to have.

    Parameters
    ----------
    description
        ``kind`` and the arguments, as :meth:`describe` gives them.
    pairs
        Finds and reads the files.
    labels
        What the masks hold; None where the user's mask map has changed that.
    facts
        What else is worth knowing.
    """

    def __init__(
        self,
        description: JSON,
        pairs: PairedFolders | ListedFiles,
        labels: Labels | None,
        facts: JSON,
    ) -> None:
        self._description, self._pairs, self._facts = description, pairs, facts
        self.classes: tuple[str, ...] | None = labels.classes if labels else None
        self.ignore: int | None = labels.ignore if labels else None
        self.left_out: Sequence[tuple[str, str]] = getattr(pairs, "left_out", ())

    @property
    def keys(self) -> Sequence[str]:
        """Name every sample as the dataset does, without suffix and extension; sorted."""
        return self._pairs.keys

    def describe(self) -> JSON:
        """Say where the samples come from, as JSON."""
        return {**self._description, "facts": self._facts}

    def names(self, sample: int) -> tuple[str, str]:
        """Name a pair's two files."""
        return self._pairs.names(sample)

    def probe(self, sample: int) -> Header:
        """Read the headers of a pair's two files."""
        return self._pairs.probe(sample)

    def read(self, sample: int) -> tuple[Image, Mask]:
        """Decode a pair."""
        return self._pairs.read(sample)

    def read_mask(self, sample: int) -> Mask:
        """Decode a pair's mask."""
        return self._pairs.read_mask(sample)


class ListedFiles:
    """Image and mask files that a list names.

    Parameters
    ----------
    files
        Key → the two files.
    meaning
        Of what they hold.
    left_out
        What is listed and makes no sample, as (name, why).
    """

    def __init__(
        self,
        files: Mapping[str, tuple[str, str]],
        meaning: Meaning,
        left_out: Sequence[tuple[str, str]],
    ) -> None:
        self.keys: Sequence[str] = sorted(files)
        self.left_out = left_out
        self._files = [files[key] for key in self.keys]
        self._meaning = meaning

    def names(self, sample: int) -> tuple[str, str]:
        """Name a pair's two files."""
        return self._files[sample]

    def probe(self, sample: int) -> Header:
        """Read the headers of a pair's two files."""
        image_path, mask_path = map(Path, self._files[sample])
        image = measure(image_path)
        require_packable(image.dtype, str(image_path))
        mask = measure(mask_path)
        channels = self._meaning.channels(image.channels)
        return Header(image.height, image.width, channels, image.dtype, mask.height, mask.width)

    def read(self, sample: int) -> tuple[Image, Mask]:
        """Decode a pair."""
        image = self._meaning.image(decode(Path(self._files[sample][0])))
        return image, self.read_mask(sample)

    def read_mask(self, sample: int) -> Mask:
        """Decode a pair's mask."""
        path = Path(self._files[sample][1])
        return self._meaning.mask(decode(path), name=str(path))


def described(kind: str, root: Path, meaning: Meaning, **options: str) -> JSON:
    """Describe a layout by the arguments that find it again."""
    return {"kind": kind, "images": str(root), "masks": "", **options, **meaning.describe()}


def map_of(meaning: Meaning, known: MaskMap | None) -> MaskMap:
    """Give the user's mask map; the layout's where the user gave none."""
    return meaning.mask_map if str(meaning.mask_map) or known is None else known


def labels_of(meaning: Meaning, known: Labels) -> Labels | None:
    """Give the layout's classes; None where the user's mask map has changed what the ids are."""
    return None if str(meaning.mask_map) else known


def has_folders(root: Path, folders: Sequence[str]) -> bool:
    """Tell whether all these folders are there."""
    return all((root / folder).is_dir() for folder in folders)


def find_layout(root: Path, layouts: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """Find which of these sets of folders is there.

    Raises
    ------
    SourceError
        None is; where a folder below has one, the message names that.
    """
    for folders in layouts:
        if has_folders(root, folders):
            return folders
    needed = " or ".join(", ".join(f"{folder}/" for folder in folders) for folders in layouts)
    if not root.is_dir():
        raise SourceError(f"images: needed a folder with {needed}, found no folder {root}")
    inside = sorted(path for path in root.iterdir() if path.is_dir())
    below = sorted(path for folder in inside for path in folder.iterdir() if path.is_dir())
    hits = [
        path for path in (*inside, *below) if any(has_folders(path, names) for names in layouts)
    ]
    advice = f"it lies in {hits[0]}: give that" if hits else "give the folder that holds them"
    found = ", ".join(f"{path.name}/" for path in inside[:_SHOWN]) or "no folder"
    raise SourceError(f"{root}: needed {needed}, found {found}; {advice}")


def read_list(folder: Path, subset: str) -> list[str]:
    """Read the names of a subset, each once; a line may also be the paths of image and mask.

    Raises
    ------
    SourceError
        There is no such list, or it is empty.
    """
    path = folder / f"{subset}.txt"
    if not path.is_file():
        there = ", ".join(sorted(file.stem for file in folder.glob("*.txt"))) or "none"
        raise SourceError(
            f"option subset: needed a list of {folder}, found {subset!r}; there are {there}"
        )
    lines = path.read_text(encoding="utf-8-sig").splitlines()
    names = [Path(line.split()[0]).stem for line in lines if line.strip()]
    if not names:
        raise SourceError(f"{path}: needed a name per line, found an empty list")
    return list(dict.fromkeys(names))
