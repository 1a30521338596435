"""Where is a dataset read from: a local folder, or an object store?"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from zarrfeed.errors import StoreError, look_up
from zarrfeed.store.address import entry_kind
from zarrfeed.store.schema import METADATA, PARTIAL

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from typing_extensions import Buffer

    from zarrfeed.store.objects.object_transfers import ObjectTransfers

_BLOCK = 1 << 20


class StoredDataset(Protocol):
    """A dataset that is copied. Names of files are relative to it, with slashes."""

    @property
    def name(self) -> str:
        """Its path or address."""
        ...

    @property
    def lists(self) -> bool:
        """Whether it can say which files there are."""
        ...

    def splits(self) -> list[str]:
        """Return the names of its finished splits, sorted."""
        ...

    def read(self, file: str) -> bytes:
        """Read a small file; raises FileNotFoundError if there is none."""
        ...

    def sizes(self, split: str, files: Iterable[str]) -> Mapping[str, int]:
        """Return the sizes of a split's files that exist: of `files`, and of others if known."""
        ...

    def pieces(self, file: str, start: int = 0) -> Iterator[Buffer]:
        """Read a file from a byte on."""
        ...

    def path(self, file: str) -> str:
        """Return the path or address of a file, for messages."""
        ...


class FolderDataset:
    """A dataset in a local folder.

    Parameters
    ----------
    root
        Folder of the dataset.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    @property
    def name(self) -> str:
        """Path of the folder."""
        return str(self._root)

    @property
    def lists(self) -> bool:
        """Whether it can say which files there are: yes."""
        return True

    def splits(self) -> list[str]:
        """Return the names of its finished splits, sorted."""
        return sorted(
            child.name
            for child in self._root.iterdir()
            if not child.name.endswith(PARTIAL) and (child / METADATA).is_file()
        )

    def read(self, file: str) -> bytes:
        """Read a small file."""
        return b"".join(map(bytes, self.pieces(file)))

    def sizes(self, split: str, files: Iterable[str]) -> Mapping[str, int]:  # noqa: ARG002
        """Return the sizes of all files of a split."""
        found = {}
        for parent, _, names in os.walk(self._root / split):
            for path in (Path(parent, name) for name in names):
                with suppress(FileNotFoundError):
                    found[path.relative_to(self._root).as_posix()] = path.lstat().st_size
        return found

    def pieces(self, file: str, start: int = 0) -> Iterator[Buffer]:
        """Read a file from a byte on. Only plain files are read."""
        path = self._root / file
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb", buffering=0) as opened:
            mode = os.fstat(descriptor).st_mode
            if not stat.S_ISREG(mode):
                raise StoreError(
                    f"{path}: needed a file, found {entry_kind(mode)}; restore it, and repeat the "
                    f"command{look_up('damaged-store')}"
                )
            opened.seek(start)
            while block := opened.read(_BLOCK):
                yield block

    def path(self, file: str) -> str:
        """Return the path of a file."""
        return str(self._root / file)


class ObjectDataset:
    """A dataset in an object store, or on a web server.

    Parameters
    ----------
    store
        The store at the address of the dataset.
    """

    def __init__(self, store: ObjectTransfers) -> None:
        self._store = store
        self._tags: dict[str, str | None] = {}

    @property
    def name(self) -> str:
        """Address of the dataset."""
        return self._store.url

    @property
    def lists(self) -> bool:
        """Whether it can say which files there are: a web server cannot."""
        return not self._store.url.startswith(("http:", "https:"))

    def splits(self) -> list[str]:
        """Return the names of its finished splits, sorted."""
        if not self.lists:
            raise StoreError(
                f"{self.name}: needed the address of one split, since a web server does not list "
                f"what it has; add its name, like {self.name}/train{look_up('no-split')}"
            )
        names = [name for name in sorted(self._store.folders()) if not name.endswith(PARTIAL)]
        return [name for name in names if self._store.tagged(f"{name}/{METADATA}") is not None]

    def read(self, file: str) -> bytes:
        """Read a small object."""
        return bytes(self._store.read(file).data)

    def sizes(self, split: str, files: Iterable[str]) -> Mapping[str, int]:
        """List a split; of a web server, ask for each of the files."""
        if self.lists:
            found = {each.key: each for each in self._store.list(split)}
        else:
            asked = {file: self._store.tagged(file) for file in files}
            found = {file: each for file, each in asked.items() if each is not None}
        self._tags = {file: each.etag for file, each in found.items()}
        return {file: each.nbytes for file, each in found.items()}

    def pieces(self, file: str, start: int = 0) -> Iterator[Buffer]:
        """Read an object from a byte on, if it is still that whose size was told."""
        return self._store.pieces(file, start=start, etag=self._tags.get(file))

    def path(self, file: str) -> str:
        """Return the address of an object."""
        return f"{self._store.url}/{file}"
