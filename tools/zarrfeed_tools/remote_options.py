"""Options about object stores, shared by several commands.

Each option is an annotated type, which ``typer`` reads from a command's signature.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from zarrfeed import list_splits, open_split
from zarrfeed.store.address import remote_url
from zarrfeed_convert import OptionError, factory_of, fetch_originals
from zarrfeed_tools.terminal import console, shown

if TYPE_CHECKING:
    from collections.abc import Iterable

    from zarrfeed import Split
    from zarrfeed_convert import OnProgress
    from zarrfeed_tools.source_arguments import SourceArguments

_BEFORE = re.compile(r"[^/=]*=(?:(?:image|mask|target):)?(?=[a-z0-9]+:/)")  # NAME=ROLE:

StorageOptions: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--storage-option",
        metavar="KEY=VALUE",
        help="An option of the object store, such as region=eu-central-1, endpoint=URL or "
        "skip_signature=true for public buckets. May be repeated. Better leave secrets to the "
        "environment, as other tools do (AWS_ACCESS_KEY_ID, GOOGLE_APPLICATION_CREDENTIALS, "
        "AZURE_STORAGE_ACCOUNT_KEY, …): others see the command line.",
        show_default=False,
    ),
]

Cache: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--cache",
        metavar="DIR",
        help="Folder for what is read from addresses. By default $ZARRFEED_CACHE, or "
        "~/.cache/zarrfeed.",
        show_default=False,
    ),
]
CacheLimit: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--cache-limit",
        metavar="200GiB",
        help="Largest size of all that is in the cache. By default no limit.",
        show_default=False,
    ),
]


@dataclass(frozen=True, slots=True)
class RemoteOptions:
    """How addresses are read.

    Attributes
    ----------
    cache
        Folder of the cache; None for the default.
    storage_options
        Options of the object store, which may be secrets; None for none.
    cache_limit
        Largest size of the cache; None for no limit.
    """

    cache: Path | None = None
    storage_options: dict[str, str] | None = field(default=None, repr=False)
    cache_limit: str | None = None

    @property
    def opening(self) -> dict[str, Any]:
        """Arguments of functions that open stores, such as :func:`zarrfeed.open_split`."""
        return {
            "cache": self.cache,
            "cache_limit": self.cache_limit,
            "storage_options": self.storage_options,
        }

    def splits(self, path: Path) -> list[Split]:
        """Open the splits of a dataset, or one split.

        Raises
        ------
        StoreError
            `path` is neither.
        """
        names: tuple[str, ...] = ()
        url = remote_url(path)
        if url is None or not url.startswith(("http:", "https:")):  # which list nothing
            names = list_splits(path, storage_options=self.storage_options)
        paths = [path / name for name in names] or [path]
        return [open_split(each, **self.opening) for each in paths]

    def fetched(self, arguments: SourceArguments, progress: OnProgress) -> SourceArguments:
        """Bring originals that have an address into the cache, and return their paths there.

        Raises
        ------
        SourceError, ReadError
            There is nothing, or it cannot be read.
        typer.BadParameter
            There is no such format.
        """
        if arguments.format_name and _reads_addresses(arguments.format_name):
            return arguments

        def fetch(text: str) -> str:
            """Replace the address in ``PLACE``, ``NAME=PLACE`` or ``NAME=ROLE:PLACE``."""
            found = _BEFORE.match(text)
            head = found[0] if found else ""
            return head + self._fetch(text[len(head) :], progress)

        def each(texts: Iterable[str] | None) -> list[str] | None:
            return None if texts is None else [fetch(text) for text in texts]

        return replace(
            arguments,
            images=None if arguments.images is None else fetch(arguments.images),
            masks=None if arguments.masks is None else fetch(arguments.masks),
            from_=None if arguments.from_ is None else fetch(arguments.from_),
            fields=each(arguments.fields),
            options=each(arguments.options),
        )

    def _fetch(self, place: str, progress: OnProgress) -> str:
        url = remote_url(place)
        if url is None:
            return place
        path = fetch_originals(
            url, cache=self.cache, storage_options=self.storage_options, progress=progress
        )
        console(stderr=True).print(f"{shown(url)} is in {shown(path)}", soft_wrap=True)
        return path


def storage_options_of(
    given: Iterable[str] | None, *, option: str = "--storage-option"
) -> dict[str, str] | None:
    """Read options of an object store; None if there are none.

    Raises
    ------
    typer.BadParameter
        One has no name or no value. The message does not show it, since it may be a secret.

    Examples
    --------
    >>> storage_options_of(["region=eu-central-1", "endpoint=http://host:9000/?a=b"])
    {'region': 'eu-central-1', 'endpoint': 'http://host:9000/?a=b'}
    """
    found: dict[str, str] = {}
    for number, text in enumerate(given or (), 1):
        name, equals, value = text.partition("=")
        if not (name.strip() and equals):
            raise typer.BadParameter(
                f"needed KEY=VALUE, such as region=eu-central-1; number {number} is not",
                param_hint=option,
            )
        found[name.strip()] = value
    return found or None


def _reads_addresses(format_name: str) -> bool:
    try:
        return bool(getattr(factory_of(format_name), "takes_urls", False))
    except OptionError as error:
        raise typer.BadParameter(str(error)) from error
