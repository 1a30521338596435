"""Which classes does a YOLO dataset have, and where are the images of a subset?

The only module that imports PyYAML, which comes with Datumaro.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from zarrfeed.errors import SourceError
from zarrfeed.spelling import few
from zarrfeed_convert.decoding.limits import read_text
from zarrfeed_convert.sources.subset_names import names_of_subset

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from zarrfeed_convert.decoding.limits import Limits

if find_spec("yaml") is None:
    raise ModuleNotFoundError("No module named 'yaml'", name="yaml")

_LISTS = ("classes.txt", "obj.names", "labels.txt", "class_names.txt")
_MOST = 65_000  # classes
_LONGEST = 1 << 20  # bytes of a file of settings


@dataclass(frozen=True, slots=True)
class YoloConfig:
    """Settings of a YOLO dataset.

    Attributes
    ----------
    file
        The file that names the classes.
    names
        Names of the classes by YOLO's numbers.
    places
        Subset → folders of its images, as written.
    base
        Folder to which these are relative, as written; empty if it is not said.
    """

    file: Path
    names: Mapping[int, str]
    places: Mapping[str, tuple[str, ...]]
    base: str = ""


def read_config(root: Path) -> YoloConfig:
    """Read the settings of a dataset.

    Raises
    ------
    SourceError
        There are none, or they are damaged.
    """
    if not root.is_dir():
        raise SourceError(f"images: needed the folder of a YOLO dataset, found no folder {root}")
    usual = [root / name for name in ("data.yaml", "dataset.yaml", "data.yml")]
    files = [path for path in usual if path.is_file()]
    files = files or sorted([*root.glob("*.yaml"), *root.glob("*.yml")])
    for file in files:
        said = _parsed(file)
        if isinstance(said, dict) and "names" in said:
            places = {
                str(key): (value,) if isinstance(value, str) else tuple(value)
                for key, value in said.items()
                if key not in ("names", "path", "download")
                and (isinstance(value, str) or _is_list_of_text(value))
            }
            base = said.get("path")
            names = _names(file, said["names"])
            return YoloConfig(file, names, places, base if isinstance(base, str) else "")
    for name in _LISTS:
        file = root / name
        if file.is_file():
            lines = [line.strip() for line in read_text(file).splitlines()]
            return YoloConfig(file, _names(file, [line for line in lines if line]), {})
    found = few(sorted(path.name for path in root.iterdir())) or "nothing"
    raise SourceError(
        f"{root}: needed data.yaml, which names the classes, or {_LISTS[0]}, found {found}; check "
        "--images"
    )


def _parsed(file: Path) -> Any:
    import yaml

    text = read_text(file)
    if len(text) > _LONGEST:
        raise SourceError(f"{file}: needed settings, found {len(text)} characters; check the file")
    try:
        # Unlike SafeLoader, BaseLoader keeps all as text: a class may have the name `no`.
        return yaml.load(text, Loader=yaml.BaseLoader)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise SourceError(
            f"{file}: needed YAML, found {' '.join(str(error).split())[:200]}; correct the file"
        ) from error


def _is_list_of_text(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _names(file: Path, said: Any) -> dict[int, str]:
    """Return names by number, from a list or a map."""
    named = dict(enumerate(said)) if isinstance(said, list) else said
    if not isinstance(named, dict) or not named or len(named) > _MOST:
        raise _no_names(file, said)
    names = {}
    for key, name in named.items():
        number = int(key) if str(key).isdecimal() and len(str(key)) < 10 else -1
        if number < 0 or not isinstance(name, str):
            raise _no_names(file, key)
        names[number] = name
    return dict(sorted(names.items()))


def _no_names(file: Path, said: Any) -> SourceError:
    # Nested aliases would expand to any size as text.
    found = repr(said)[:80] if isinstance(said, str) else f"a {type(said).__name__}"
    return SourceError(
        f"{file}: needed names of classes, like ['cat', 'dog'], found {found}; correct the file"
    )


def find_subset(root: Path, config: YoloConfig, subset: str, limits: Limits) -> Path:
    """Find the folder of images of a subset.

    Settings often hold the paths of another machine. The folder is looked for in the dataset
    first; one outside of it is read only if the user allows it.

    Raises
    ------
    SourceError
        There is no such folder.
    """
    names = names_of_subset(subset)
    written = next((config.places[name] for name in names if name in config.places), ())
    if len(written) > 1:
        raise SourceError(
            f"{config.file}: needed one folder of the subset {subset}, found {few(written)}; pack "
            "each as a split, with --images its folder"
        )
    for text in written:
        if text.endswith(".txt"):
            raise SourceError(
                f"{config.file}: needed a folder of images of the subset {subset}, found the list "
                f"{text}; move the images to a folder of their own"
            )
        for candidate in _candidates(root, config, text, limits):
            if candidate.is_dir():
                return _with_images(candidate)
    usual = [root / layout for name in names for layout in (f"images/{name}", f"{name}/images")]
    for candidate in usual:
        if candidate.is_dir():
            return candidate
    if written:
        limits.require_external(str(config.file), f"the folder {written[0]}")
    there = sorted(config.places.keys() & {"train", "val", "valid", "test"}) or sorted(
        path.name for path in (root / "images").glob("*") if path.is_dir()
    )
    raise SourceError(
        f"option subset: needed a subset of {root}, found {subset!r}, the name of the split if no "
        f"subset is given, and no folder {usual[0]} or {usual[1]}"
        + (f"; by -o subset=…, choose from {few(there)}" if there else "; check --images")
    )


def _candidates(root: Path, config: YoloConfig, text: str, limits: Limits) -> list[Path]:
    """Return the folders that a path in the settings may mean, the likeliest first."""
    parts = [part for part in text.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    ends = ["/".join(parts[at:]) for at in range(len(parts))]
    inside = [root / end for end in ends if end != "images"]
    if limits.external:
        return [root / config.base / text, root / text, *inside]
    return inside


def _with_images(folder: Path) -> Path:
    """Return the folder ``images`` in a folder, if there is one beside ``labels``."""
    return folder / "images" if (folder / "labels").is_dir() else folder
