"""Which files do the names of images in annotations mean?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from zarrfeed.errors import SourceError
from zarrfeed.spelling import few
from zarrfeed_convert.decoding.decode import EXTENSIONS
from zarrfeed_convert.sources.file_discovery import composed, files_below

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def images_below(folder: str) -> set[str]:
    """Return the image files below a folder, as paths relative to it.

    Raises
    ------
    SourceError
        There is no such folder.
    """
    if not Path(folder).is_dir():
        raise SourceError(
            f"images: needed the folder of images, found no folder {folder}; check --images"
        )
    below = (Path(path) for path in files_below(folder))
    return {
        path.relative_to(folder).as_posix() for path in below if path.suffix.lower() in EXTENSIONS
    }


def files_by_name(files: set[str]) -> dict[str, str]:
    """Map the names by which annotations call images to files.

    These are paths, in Unicode as they are or in normal form C, with or without extension. A name
    that means several files means none.

    Examples
    --------
    >>> known = files_by_name({"a.png", "b.png", "b.jpg"})
    >>> known["a"], "b" in known
    ('a.png', False)
    """
    stems: dict[str, list[str]] = {}
    for file in sorted(files):
        stems.setdefault(composed(file.removesuffix(Path(file).suffix)), []).append(file)
    known = {stem: own[0] for stem, own in stems.items() if len(own) == 1}
    known |= {composed(file): file for file in files}
    return known | {file: file for file in files}


def locate(name: str, on_disk: Mapping[str, str]) -> str | None:
    r"""Find an image by its name in a JSON file, which may begin with folders of another machine.

    Parameters
    ----------
    name
        Name, with slashes or backslashes.
    on_disk
        Name → file. Names are listed as they are, and in Unicode normal form C.

    Returns
    -------
    str or None
        The file; None if there is none.

    Examples
    --------
    >>> there = {"val/a.jpg": "val/a.jpg", "b.jpg": "b.jpg"}
    >>> locate("/home/ann/set/val/a.jpg", there), locate("C:\\val\\a.jpg", there)
    ('val/a.jpg', 'val/a.jpg')
    """
    for text in (name, composed(name), composed(name.replace("\\", "/"))):
        parts = text.split("/")
        for at in range(len(parts)):
            found = on_disk.get("/".join(parts[at:]))
            if found is not None:
                return found
    return None


def keys_of(files: Sequence[str]) -> list[str]:
    """Return unique names of files: their paths, without extension if these are unique.

    Examples
    --------
    >>> keys_of(["a.png", "u/b.png"]), keys_of(["b.jpg", "b.png"])
    (['a', 'u/b'], ['b.jpg', 'b.png'])
    """
    stems = [file.removesuffix(Path(file).suffix) for file in files]
    return stems if len(set(stems)) == len(stems) else list(files)


def require_found(files: Sequence[Path], what: str, root: Path) -> None:
    """Check that a dataset has files of annotations.

    Parameters
    ----------
    files
        The files.
    what
        What is needed, for errors.
    root
        Folder of the dataset.

    Raises
    ------
    SourceError
        There are none. The message names what is in the folder instead.
    """
    if files:
        return
    if not root.is_dir():
        raise SourceError(f"images: needed a folder with {what}, found no {root}; check --images")
    inside = few(sorted(path.name for path in root.iterdir())) or "nothing"
    raise SourceError(f"{root}: needed {what}, found {inside}; check --images")
