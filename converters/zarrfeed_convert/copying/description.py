"""Of which files does a split consist, and what is known of their bytes?

The metadata of the split, and the array that names the digests of its shards, are brought into a
folder, where they are opened as those of any split.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import xxhash

from zarrfeed import open_split, read_samples
from zarrfeed.errors import StoreError, look_up
from zarrfeed.spelling import few
from zarrfeed.store.node_metadata import read_metadata
from zarrfeed.store.schema import ATTRIBUTES, DESCRIPTIVE, MASK, METADATA, SHARD_FILES
from zarrfeed_convert.labels import Labels

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from zarrfeed import Split
    from zarrfeed_convert.copying.stored_dataset import StoredDataset


@dataclass(frozen=True, slots=True)
class SplitFile:
    """A file of a split.

    Attributes
    ----------
    name
        Path in the split, with slashes.
    nbytes
        Size in bytes.
    xxh3
        xxh3_64 of its bytes; None if the split does not record it.
    """

    name: str
    nbytes: int
    xxh3: int | None

    def is_right(self, nbytes: int, xxh3: int) -> bool:
        """Return whether bytes of this size and digest are those of the file, as far as known."""
        return nbytes == self.nbytes and self.xxh3 in (None, xxh3)


@dataclass(frozen=True, slots=True)
class SplitDescription:
    """What is copied.

    Attributes
    ----------
    split
        Name of the split.
    opened
        The split, opened without its shards.
    dataset, metadata
        Metadata of the dataset and of the split, as they are stored.
    files
        All files of the split except its metadata, those of shards first.
    left_out
        Names of what is in the folder of the split, and is no part of it.
    """

    split: str
    opened: Split
    dataset: bytes
    metadata: bytes
    files: tuple[SplitFile, ...]
    left_out: tuple[str, ...]

    @property
    def nbytes(self) -> int:
        """Size of all files, in bytes."""
        return sum(file.nbytes for file in self.files)

    @property
    def labels(self) -> Labels:
        """Classes and ignored id of the dataset, and the kind of the split's masks."""
        split = self.opened
        return Labels(
            split.classes,
            split.ignore,
            multi_hot=split.multi_hot if MASK in split.layouts else None,
            instances=split.instances,
        )

    @property
    def folders(self) -> list[str]:
        """Names of the folders of arrays."""
        return sorted({file.name.split("/", 1)[0] for file in self.files})

    def fingerprint(self) -> str:
        """Return a digest of the metadata, and of the sizes and digests of all files."""
        digest = xxhash.xxh3_128(self.metadata)
        for file in self.files:
            digest.update(f"{file}\n".encode(errors="surrogateescape"))
        return digest.hexdigest()


def describe(source: StoredDataset, split: str, folder: Path) -> SplitDescription:
    """Read what a split says about itself and its files.

    Parameters
    ----------
    source, split
        The dataset, and the name of the split.
    folder
        An empty folder for metadata, which must exist while the description is used.

    Raises
    ------
    StoreError
        It is no finished split that zarrfeed packed, or files are missing or have other sizes than
        recorded. The message names the first.
    """
    dataset, metadata = _required(source, METADATA), _required(source, f"{split}/{METADATA}")
    _write(folder, METADATA, dataset)
    _write(folder, f"{split}/{METADATA}", metadata)
    arrays = _bring_arrays(source, split, folder)
    opened = open_split(folder / split)
    _bring_chunks(source, opened, split, SHARD_FILES)
    opened = open_split(folder / split)
    facts = _facts(opened)
    names = [name for array in arrays for name in _names(opened, array)]
    found = source.sizes(split, [f"{split}/{name}" for name in names if name not in facts])
    sizes = {file.removeprefix(f"{split}/"): nbytes for file, nbytes in found.items()}
    _require_complete(source, opened, names, sizes, facts)
    files = tuple(_files(names, facts, sizes))
    others = {name.split("/", 1)[0] for name in sizes} - {METADATA, *arrays}
    return SplitDescription(split, opened, dataset, metadata, files, tuple(sorted(others)))


def _required(source: StoredDataset, file: str) -> bytes:
    try:
        return source.read(file)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise StoreError(
            f"{source.path(file)}: needed a dataset that zarrfeed packed, and the name of one of "
            "its finished splits, found no such file; check the path"
            f"{look_up('no-split')}"
        ) from error


def _bring_arrays(source: StoredDataset, split: str, folder: Path) -> list[str]:
    """Bring the metadata of the arrays; return the names of fields, then of descriptive arrays."""
    fields = _fields(source, split, folder)
    found = list(fields)
    for name in (*fields, *sorted(DESCRIPTIVE)):
        file = f"{split}/{name}/{METADATA}"
        try:
            _write(folder, file, source.read(file))
        except (FileNotFoundError, NotADirectoryError) as error:
            if name in fields:
                raise StoreError(
                    f"{source.path(file)}: is missing; restore it, or convert again"
                    f"{look_up('damaged-store')}"
                ) from error
            continue
        if name not in fields:
            found.append(name)
    return found


def _fields(source: StoredDataset, split: str, folder: Path) -> list[str]:
    attributes = _attributes(folder / split)
    names = attributes.get("fields")
    if not isinstance(names, list) or not names:
        raise StoreError(
            f"{source.path(split)}: needed a split that zarrfeed packed, found a group that does "
            "not say its fields; pack it with `zarrfeed convert --format zarr`, or copy it with a "
            f"tool of the object store{look_up('no-split')}"
        )
    for name in names:  # they become paths
        if name in ("", ".", "..") or {"/", "\\", "\0"} & set(name):
            raise StoreError(f"{source.path(split)}: needed names of fields, found {name!r:.99}")
    return names


def _bring_chunks(source: StoredDataset, opened: Split, split: str, array: str) -> None:
    if opened.describing(array) is None:
        return
    folder = opened.path.parent
    for name in _names(opened, array):
        if not name.endswith(METADATA):
            _write(folder, f"{split}/{name}", source.read(f"{split}/{name}"))


def _facts(opened: Split) -> Mapping[str, tuple[int, int]]:
    """Return size and xxh3_64 of the files of shards, by name, as recorded."""
    layout = opened.describing(SHARD_FILES)
    fields: Sequence[str] = opened.attributes["fields"]
    if layout is None or layout.shape[1] != len(fields):
        return {}
    facts = read_samples(opened, SHARD_FILES, range(layout.shape[0])).tolist()
    return {
        f"{field}/{opened.layouts[field].shard_name(number)}": (nbytes, xxh3)
        for number, shard in enumerate(facts)
        for field, (nbytes, xxh3) in zip(fields, shard, strict=True)
    }


def _names(opened: Split, array: str) -> Iterator[str]:
    """Yield the names of an array's files."""
    layout = opened.layouts.get(array)
    if layout is None:
        raise StoreError(
            f"{opened.path.name}/{array}: needed an array that zarrfeed packed, found another: "
            f"{opened.unfit.get(array, 'not an array')}; convert again{look_up('damaged-store')}"
        )
    for number in range(layout.shards):
        yield f"{array}/{layout.shard_name(number)}"
    yield f"{array}/{METADATA}"


def _files(
    names: Sequence[str], facts: Mapping[str, tuple[int, int]], sizes: Mapping[str, int]
) -> Iterator[SplitFile]:
    """Yield shards, then what else exists, metadata last."""
    for name in sorted(names, key=lambda name: (name not in facts, name.endswith(METADATA))):
        nbytes, xxh3 = facts.get(name, (sizes.get(name), None))
        if nbytes is not None:
            yield SplitFile(name, nbytes, xxh3)


def _require_complete(
    source: StoredDataset,
    opened: Split,
    names: Sequence[str],
    sizes: Mapping[str, int],
    facts: Mapping[str, tuple[int, int]],
) -> None:
    """Refuse to copy a split that is known to be damaged.

    Chunks of descriptive arrays may be missing, since zarr-python writes none that are all zeros. A
    web server does not say the sizes of shards before they are read.
    """
    fields = {*opened.attributes["fields"]}
    unlisted = {} if source.lists else facts
    wrong = [
        f"{name} ({sizes.get(name, 'missing')})"
        for name in names
        if (name not in sizes and name.split("/", 1)[0] in fields and name not in unlisted)
        or (name in sizes and name in facts and sizes[name] != facts[name][0])
    ]
    if wrong:
        raise StoreError(
            f"{source.path(opened.path.name)}: needed files of the recorded sizes, found "
            f"{len(wrong)} that are missing or have another: {few(wrong, shown=3)}; `zarrfeed "
            f"verify` names all; restore them, or convert again{look_up('damaged-store')}"
        )


def _attributes(folder: Path) -> Mapping[str, object]:
    """Read ``attributes.zarrfeed`` of a group; empty if it has none."""
    attributes = (read_metadata(folder) or {}).get("attributes")
    found = attributes.get(ATTRIBUTES) if isinstance(attributes, dict) else None
    return found if isinstance(found, dict) else {}


def _write(folder: Path, file: str, content: bytes) -> None:
    path = folder / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
