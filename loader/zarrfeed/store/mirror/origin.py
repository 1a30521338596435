"""Where does a mirrored split come from, and how is it fetched? Data, without a connection."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from zarrfeed.arguments import byte_count
from zarrfeed.errors import ReadError, StoreError, look_up
from zarrfeed.store.address import absolute_path, remote_url

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from zarrfeed.store.mirror.file_table import FileTable

StorageOptions: TypeAlias = Mapping[str, Any]

_CACHE_VARIABLE = "ZARRFEED_CACHE"
_DEFAULT_TIMEOUT = 300.0


@dataclass(frozen=True, slots=True, repr=False)
class Remote:
    """How remote stores are read. Make it by :meth:`of`, which validates it.

    Attributes
    ----------
    cache
        The folder of mirrors.
    cache_limit
        Largest size of all mirrors in it, in bytes; None for no limit.
    storage_options
        Options of obstore. They may be secrets: never print them, nor write them to a file.
    timeout
        Seconds to wait for data.
    """

    cache: Path
    cache_limit: int | None
    storage_options: StorageOptions
    timeout: float

    @classmethod
    def of(
        cls,
        cache: str | os.PathLike[str] | None = None,
        cache_limit: int | str | None = None,
        storage_options: StorageOptions | None = None,
        timeout: float = _DEFAULT_TIMEOUT,
    ) -> Remote:
        """Validate what users give.

        Raises
        ------
        StoreError
            `cache` is not a local path.
        TypeError, ValueError
            Another argument has the wrong type, or the limit is no size.

        Examples
        --------
        >>> Remote.of("/nvme/cache", "200GiB", {"region": "eu-central-1"})
        Remote(cache=PosixPath('/nvme/cache'), cache_limit=214748364800, storage_options=<region>)
        """
        if cache is not None and (url := remote_url(cache)) is not None:
            raise StoreError(
                f"{url}: needed a folder on a local disk as cache=, found an address; `zarrfeed "
                f"copy` copies between stores{look_up('remote-store')}"
            )
        return cls(
            absolute_path(default_cache() if cache is None else cache),
            None if cache_limit is None else byte_count("cache_limit", cache_limit),
            _plain_options(storage_options),
            timeout,
        )

    def __repr__(self) -> str:
        return (
            f"Remote(cache={self.cache!r}, cache_limit={self.cache_limit}, "
            f"storage_options=<{', '.join(self.storage_options)}>)"
        )


def default_cache() -> Path:
    """Return the folder of mirrors where none was given.

    That is ``$ZARRFEED_CACHE``, or ``zarrfeed`` in the user's folder of caches.
    """
    given = os.environ.get(_CACHE_VARIABLE)
    if given:
        return Path(given)
    home = "~/Library/Caches" if sys.platform == "darwin" else "~/.cache"
    # pathlib's expanduser raises if there is no home folder.
    caches = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser(home)  # noqa: PTH111
    return Path(caches, "zarrfeed")


def _plain_options(options: StorageOptions | None) -> StorageOptions:
    """Check options, which another process gets. Errors name them without their values."""
    if options is None:
        return {}
    if not isinstance(options, Mapping):
        raise TypeError(
            "storage_options must be a dict of obstore's options, such as {'region': "
            f"'eu-central-1'}}, not {type(options).__name__}"
        )
    plain: dict[str, Any] = {}
    for name, value in options.items():
        if not isinstance(name, str):
            raise TypeError(f"storage_options must have names, not {type(name).__name__}")
        if isinstance(value, Mapping):
            plain[name] = _plain_options(value)
        elif value is None or isinstance(value, str | bool | int | float):
            plain[name] = value
        else:
            raise TypeError(
                f"storage_options[{name!r}] must be text, a number or a dict, not "
                f"{type(value).__name__}, because another process reads the store: give "
                "credentials as text, or in the environment"
            )
    return plain


class Fetching(Protocol):
    """What a reader asks of the process that fetches blocks."""

    def require(self, folder: Path, blocks: NDArray[np.int64]) -> None:
        """Wait until blocks have arrived, all at the same time."""
        ...

    def doubt(self, folder: Path, blocks: NDArray[np.int64]) -> bool:
        """Say that blocks cannot be decoded, and return whether to require them again."""
        ...

    def indexes(self, folder: Path, files: NDArray[np.int64]) -> None:
        """Wait until the tables of chunks of files have arrived."""
        ...

    def whole(self, folder: Path, array: str) -> None:
        """Wait until all files of an array have arrived."""
        ...

    def close(self) -> None:
        """Hang up."""
        ...


@contextmanager
def naming_address(folder: Path, url: str, *, mirrored: bool = True) -> Iterator[None]:
    """Name the address of a split in errors that name its folder, and say if that is a mirror."""
    try:
        yield
    except (StoreError, ReadError) as error:
        if str(folder) not in str(error):
            raise
        said = str(error).replace(str(folder), url)
        kind = StoreError if isinstance(error, StoreError) else ReadError
        raise kind(f"{said} (mirrored in {folder})" if mirrored else said) from error


@dataclass(frozen=True, slots=True)
class Origin:
    """The remote split that a local one mirrors.

    Attributes
    ----------
    url
        Address of the split.
    remote
        How it is read.
    files
        The shards that arrive block by block, and leave when there is no room; None if all arrays
        are fetched whole.
    """

    url: str
    remote: Remote
    files: FileTable | None

    def has_blocks_of(self, name: str) -> bool:
        """Return whether an array arrives block by block."""
        return self.files is not None and name in self.files.fields

    def connect(self, folder: Path) -> Fetching:
        """Connect to the process that fetches, which starts if there is none.

        Parameters
        ----------
        folder
            Folder of the split in its mirror.

        Raises
        ------
        StoreError
            It cannot be started, or refuses this store.
        """
        from zarrfeed.store.mirror.connection import Connection

        remote = self.remote
        connection = Connection(remote.cache, timeout=remote.timeout)
        try:
            connection.open(self.url, remote.storage_options, remote.cache_limit, folder)
        except BaseException:
            connection.close()  # an error that somebody keeps refers to it
            raise
        return connection
