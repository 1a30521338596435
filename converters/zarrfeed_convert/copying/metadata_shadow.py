"""What is there in a dataset of an object store, seen as a local folder of metadata alone?

Packing decides by folders whether a split may be written, and which classes it must have. The same
decisions are made about object stores: by a temporary folder with the ``zarr.json`` of the dataset,
its splits and their images and masks, and empty folders in the place of other arrays.
"""

from __future__ import annotations

import tempfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from zarrfeed.errors import SourceError
from zarrfeed.store.schema import IMAGE, MASK, METADATA, PARTIAL
from zarrfeed_convert.copying.store_journal import journaled_splits
from zarrfeed_convert.splits.destination import destination_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from zarrfeed.store.objects.object_transfers import ObjectTransfers
    from zarrfeed.store.objects.stored_object import StoredObject
    from zarrfeed_convert.splits.destination import Destination


@dataclass(frozen=True, slots=True)
class Shadow:
    """What is there.

    Attributes
    ----------
    destination
        The split, in the temporary folder.
    objects
        Name in the split → object.
    """

    destination: Destination
    objects: Mapping[str, StoredObject]

    @property
    def metadata(self) -> bytes | None:
        """Metadata of the split; None if it is not there, or unfinished."""
        with suppress(OSError):
            return (self.destination.folder / METADATA).read_bytes()
        return None


@contextmanager
def shadow_of(store: ObjectTransfers, split: str) -> Iterator[Shadow]:
    """Look at a dataset in an object store.

    Parameters
    ----------
    store
        The store at the address of the dataset, which need not exist.
    split
        Name of the split that will be written.

    Raises
    ------
    SourceError
        There is something else than a dataset. Errors of the context name addresses, not the
        temporary folder.
    """
    above, name = _names(store.url)
    with tempfile.TemporaryDirectory(prefix="zarrfeed-copy-") as folder:
        out = Path(folder, Path(above).name, name)
        try:
            objects = _draw(store, split, out)
            yield Shadow(destination_of(out, split), objects)
        except SourceError as error:
            said = str(error).replace(str(out), store.url).replace(str(out.parent), above)
            raise SourceError(said) from None


def _names(url: str) -> tuple[str, str]:
    """Return the address above a dataset's, and its own name; a bucket's if it has none.

    Examples
    --------
    >>> _names("s3://bucket/sets/cells.zarr")
    ('s3://bucket/sets', 'cells.zarr')
    >>> _names("s3://bucket")
    ('s3://', 'bucket')
    """
    above, _, name = url.rpartition("/")
    return (above if not above.endswith("/") else f"{above}/"), name


def _draw(store: ObjectTransfers, split: str, out: Path) -> dict[str, StoredObject]:
    folders, files = store.entries()
    objects = {each.key.removeprefix(f"{split}/"): each for each in store.list(split)}
    unfinished = journaled_splits(folders)
    known = METADATA in files
    for name in folders:
        if name.endswith(PARTIAL):
            continue
        if _bring(store, f"{name}/{METADATA}", out):
            for array in (IMAGE, MASK):
                _bring(store, f"{name}/{array}/{METADATA}", out)
        elif not known and name not in unfinished:
            (out / name).mkdir(parents=True, exist_ok=True)  # of something else
    for name in files:
        if name == METADATA:
            _bring(store, name, out)
        elif not known:
            out.mkdir(parents=True, exist_ok=True)
            (out / name).touch()
    if (out / split).exists():
        for name in objects:
            if "/" in name:
                (out / split / name.split("/", 1)[0]).mkdir(exist_ok=True)
    return objects


def _bring(store: ObjectTransfers, key: str, out: Path) -> bool:
    """Bring a file into the folder; return whether there is one."""
    try:
        content = bytes(store.read(key).data)
    except FileNotFoundError:
        return False
    path = out / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return True
