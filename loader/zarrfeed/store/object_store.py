"""Objects of S3, Google Cloud Storage, Azure and web servers: what is there, and their bytes.

The only module that imports obstore. Its errors become :class:`ObjectError`, whose message names
the address, what the server said, and the way out. Neither messages nor ``repr`` show options,
which may be secrets.
"""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeAlias

from zarrfeed.errors import ReadError, StoreError, how_to_install, look_up

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping
    from pathlib import Path

    from typing_extensions import Buffer

Kind: TypeAlias = Literal[
    "missing", "refused", "throttled", "unreachable", "stalled", "cut", "other"
]  # fmt: skip

# Options that are the connection's; every other option is the store's (credentials, region, …).
_CLIENT_OPTIONS = frozenset({
    "allow_http", "allow_invalid_certificates", "connect_timeout", "default_headers", "http1_only",
    "http2_only", "pool_idle_timeout", "pool_max_idle_per_host", "proxy_url",
    "proxy_ca_certificate", "proxy_excludes", "randomize_addresses", "read_timeout",
    "root_certificate", "timeout", "user_agent",
})  # fmt: skip
# A request of 16 MiB may take minutes on a slow line, but a server that sends nothing has stalled.
_CLIENT_DEFAULTS = {"connect_timeout": "10s", "read_timeout": "30s", "timeout": "600s"}
_RETRIES = {"max_retries": 6, "retry_timeout": 60.0}
_PARTS_AT_ONCE = 8
_PART_NBYTES = 8 << 20
# How often a range is asked for in vain, after what went wrong.
_RESUMES = {"cut": 5, "stalled": 2}
_SHOWN = 120  # letters of what a server says

_STATUS = re.compile(r"status code: (\d{3})")
_FAILURE = re.compile(r"\bkind: (Connect|Timeout|Interrupted)\b")
# Where obstore asks for credentials if it was given none.
_CREDENTIAL_HOSTS = re.compile(r"169\.254\.|metadata\.google|/oauth2/|security-credentials")
_EXPIRED = re.compile(r"ExpiredToken|InvalidToken|InvalidAccessKeyId|AuthenticationFailed")
_NO_BUCKET = re.compile(r"NoSuchBucket|ContainerNotFound")
_REQUEST = re.compile(r"^.*Error performing .* - (?:Server returned non-2xx status code: )?")
_QUERY = re.compile(r"\?\S*")  # Azure's signatures are in the query


class ObjectError(ReadError):
    """An object could not be read, written or listed.

    Attributes
    ----------
    kind
        ``"missing"`` (404), ``"refused"`` (401, 403), ``"throttled"`` (429, 503; retrying did not
        help), ``"unreachable"`` (no such host, no connection), ``"stalled"`` (no answer in time),
        ``"cut"`` (the connection broke again and again) or ``"other"``.
    """

    def __init__(self, message: str = "", kind: Kind = "other") -> None:
        super().__init__(message)
        self.kind: Kind = kind


class MissingObjectError(ObjectError, FileNotFoundError):
    """There is no such object."""

    def __init__(self, message: str = "", kind: Kind = "missing") -> None:
        super().__init__(message, kind)


@dataclass(frozen=True, slots=True)
class StoredObject:
    """What is known about an object.

    Attributes
    ----------
    key
        Its path below the address of the store.
    nbytes
        Its size in bytes.
    etag
        Changes when the object is replaced; None if the server says none.
    """

    key: str
    nbytes: int
    etag: str | None


@dataclass(frozen=True, slots=True)
class Piece:
    """A range of an object.

    Attributes
    ----------
    data
        Its bytes, as any object with the buffer protocol.
    of
        The object.
    """

    data: Buffer
    of: StoredObject


class ObjectStore:
    """Reads, lists and writes the objects below an address. :func:`open_store` makes one.

    Methods may be called by any thread. A process that was forked must open stores of its own.

    Attributes
    ----------
    url
        The address, without a slash at its end.
    """

    def __init__(self, url: str, store: Any) -> None:
        self.url = url
        self._store = store

    def __repr__(self) -> str:
        return f"ObjectStore({self.url!r})"

    def read(self, key: str) -> Piece:
        """Read a whole object. Missing ones raise ``FileNotFoundError``, as for files."""
        import obstore

        with self._errors(key):
            found = obstore.get(self._store, key)
            return Piece(found.buffer(), _known(key, found.meta))

    async def read_async(self, key: str) -> Piece:
        """Read a whole object, as :meth:`read`."""
        import obstore

        with self._errors(key):
            found = await obstore.get_async(self._store, key)
            return Piece(await found.buffer_async(), _known(key, found.meta))

    async def read_range(self, key: str, start: int, stop: int) -> Piece:
        """Read a range of an object, as :meth:`parts` does, into one piece of memory.

        Raises
        ------
        ObjectError
            The range could not be read, or the object ends before `stop`.
        """
        data, known = bytearray(), StoredObject(key, 0, None)
        async for known, part in self.parts(key, start, stop):  # noqa: B007
            data += part
        return Piece(data, known)

    async def parts(
        self, key: str, start: int, stop: int, *, nbytes: int = 1 << 20
    ) -> AsyncIterator[tuple[StoredObject, bytes]]:
        """Read a range of an object part by part. After a cut it goes on at the byte reached.

        Parameters
        ----------
        key
            Path of the object below the address.
        start, stop
            The first byte, and the one after the last. The range is not empty.
        nbytes
            Least size of a part. Parts of a megabyte stay in the processor's cache: collecting a
            range of 16 MiB first takes twice as long (measured).

        Yields
        ------
        StoredObject, bytes
            The object, and its next bytes.

        Raises
        ------
        ObjectError
            The range could not be read, the object ends before `stop`, or was replaced meanwhile.
        """
        import obstore

        known: StoredObject | None = None
        fruitless = 0
        while start < stop:
            before = start
            try:
                with self._errors(key):
                    found = await obstore.get_async(
                        self._store, key, options={"range": (start, stop)}
                    )
                    known = self._same(key, known, _known(key, found.meta))
                    if tuple(found.range) != (start, stop):
                        raise self._too_short(key, start, stop, known)
                    async for part in found.stream(min_chunk_size=nbytes):
                        start += len(part)
                        yield known, part
                    if start == before:
                        raise self._too_short(key, start, stop, known)
            except ObjectError as error:
                fruitless = fruitless + 1 if start == before else 0
                if fruitless >= _RESUMES.get(error.kind, 0):
                    raise
                nbytes = 1  # every part as it arrives, because a cut loses what is held back

    def _same(self, key: str, before: StoredObject | None, now: StoredObject) -> StoredObject:
        if before is not None and now != before:
            raise ObjectError(
                f"{self._name(key)}: the object was replaced while it was read: start again"
                f"{look_up('replaced-split')}"
            )
        return now

    def _too_short(self, key: str, start: int, stop: int, known: StoredObject) -> ObjectError:
        return ObjectError(
            f"{self._name(key)}: needed bytes {start:,} to {stop:,}, but the object has "
            f"{known.nbytes:,} bytes: it was replaced, or its upload was not complete"
            f"{look_up('replaced-split')}"
        )

    def look(self, key: str) -> StoredObject:
        """Ask for the size of an object (HEAD); a missing one raises ``FileNotFoundError``."""
        import obstore

        with self._errors(key):
            return _known(key, obstore.head(self._store, key))

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """List the objects below a folder, in no particular order.

        Raises
        ------
        ObjectError
            The server refused, or it is a web server, which cannot list.
        """
        import obstore

        self._require_listing(prefix)
        with self._errors(prefix):
            for found in obstore.list(self._store, prefix or None, chunk_size=1000):
                yield from (_known(each["path"], each) for each in found)

    def folders(self) -> tuple[str, ...]:
        """Return the names of the folders just below the address, without what is in them.

        Raises
        ------
        ObjectError
            As :meth:`list`.
        """
        import obstore

        self._require_listing("")
        with self._errors(""):
            found = obstore.list_with_delimiter(self._store)["common_prefixes"]
            return tuple(prefix.rstrip("/").rpartition("/")[2] for prefix in found)

    def put(self, key: str, source: Path | Buffer) -> None:
        """Write an object, in several parts at once if it is large. It appears only when complete.

        Parameters
        ----------
        key
            Path of the object below the address.
        source
            Path of a local file, or bytes.
        """
        import obstore

        with self._errors(key):
            obstore.put(
                self._store, key, source,
                chunk_size=_PART_NBYTES, max_concurrency=_PARTS_AT_ONCE,
            )  # fmt: skip

    def _require_listing(self, prefix: str) -> None:
        if self.url.startswith(("http:", "https:")):
            raise ObjectError(
                f"{self._name(prefix)}: a web server cannot list its files: needed a store that "
                "zarrfeed packed, which says itself what it has; repack it, or use the address of "
                f"the object store (s3://…){look_up('remote-store')}"
            )

    def _name(self, key: str) -> str:
        return f"{self.url}/{key}" if key else self.url

    @contextmanager
    def _errors(self, key: str) -> Iterator[None]:
        """Raise obstore's errors as ours."""
        from obstore.exceptions import BaseError

        try:
            yield
        except ZARRFEED_ERRORS:
            raise
        except (BaseError, OSError, ValueError) as error:
            self._refuse(key, error)

    def _refuse(self, key: str, error: Exception) -> NoReturn:
        kind, said, todo = _classify(error)
        message = f"{self._name(key)}: {said}: {todo}{look_up('remote-store')}"
        raise (MissingObjectError if kind == "missing" else ObjectError)(message, kind) from None


ZARRFEED_ERRORS = (ObjectError, StoreError)


def open_store(url: str, storage_options: Mapping[str, Any] | None = None) -> ObjectStore:
    """Open an object store. Nothing is asked of the server yet.

    Parameters
    ----------
    url
        ``s3://bucket/folder``, ``gs://…``, ``az://…``, ``abfs://…``, ``http://…`` or ``https://…``.
    storage_options
        Options of obstore, such as ``access_key_id``, ``region``, ``endpoint``,
        ``skip_signature``, ``connect_timeout``, ``proxy_url``, and ``max_retries`` and
        ``retry_timeout`` (seconds). Without credentials, those of the environment are used.

    Raises
    ------
    StoreError
        obstore is not installed, or does not know the address or an option.
    """
    try:
        from obstore.exceptions import BaseError
        from obstore.store import from_url
    except ModuleNotFoundError as error:
        raise StoreError(
            f"{url}: reading from object stores needs obstore: {how_to_install('remote')}"
            f"{look_up('remote-store')}"
        ) from error
    config, client, retry = _sorted_options(url, storage_options or {})
    try:
        store = from_url(url, config=config or None, client_options=client, retry_config=retry)  # type: ignore[call-overload]
    except (BaseError, ValueError, TypeError) as error:
        names = ", ".join(map(str, storage_options or {})) or "none"
        raise StoreError(
            f"{url}: cannot be opened with the storage_options given (names: {names}): "
            f"{_said(error)}; needed options of obstore, such as access_key_id, "
            f"secret_access_key, region, endpoint, skip_signature{look_up('remote-store')}"
        ) from None
    return ObjectStore(url.rstrip("/"), store)


def _sorted_options(
    url: str, options: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Tell options of the store, of the connection and of retries apart."""
    nested = options.get("client_options") or {}
    flat = {**options, **nested}
    flat.pop("client_options", None)
    limits = {name: float(flat.pop(name, default)) for name, default in _RETRIES.items()}
    client = {name: flat.pop(name) for name in list(flat) if name in _CLIENT_OPTIONS}
    if "allow_http" not in client and _unencrypted(url, flat):
        client["allow_http"] = True  # the user wrote http://
    retry = {
        "max_retries": int(limits["max_retries"]),
        "retry_timeout": timedelta(seconds=limits["retry_timeout"]),
        "backoff": {
            "init_backoff": timedelta(seconds=0.1), "max_backoff": timedelta(seconds=5), "base": 2
        },
    }  # fmt: skip
    return flat, {**_CLIENT_DEFAULTS, **client}, retry


def _unencrypted(url: str, config: Mapping[str, Any]) -> bool:
    from_environment = [os.environ.get(name, "") for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT")]
    endpoints = [str(value) for name, value in config.items() if "endpoint" in name.lower()]
    return any(each.startswith("http://") for each in (url, *(endpoints or from_environment)))


def _known(key: str, meta: Mapping[str, Any]) -> StoredObject:
    return StoredObject(key, int(meta["size"]), meta["e_tag"])


def _classify(error: Exception) -> tuple[Kind, str, str]:
    """Return what kind of failure it is, what to say of it, and what to do about it."""
    from obstore import exceptions

    said, text = _said(error), str(error)
    status = _STATUS.search(text)
    if _CREDENTIAL_HOSTS.search(text):
        return "refused", "found no credentials", (
            "give them in storage_options or in the environment, or set "
            "storage_options={'skip_signature': True} for a public bucket"
        )  # fmt: skip
    code = int(status[1]) if status else 0
    if _NO_BUCKET.search(text):
        return "other", "there is no such bucket", (
            "check its name and the endpoint, or create it"
        )  # fmt: skip
    denied = (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError)
    if isinstance(error, denied) or code in (401, 403) or _EXPIRED.search(text):
        return "refused", f"the server refused it ({said})", (
            "check the credentials in storage_options or in the environment, and what they allow"
        )  # fmt: skip
    if isinstance(error, FileNotFoundError) or code in (404, 410):
        return "missing", f"there is no such object ({said})", "check the address"
    if code == 416:
        return "other", f"the object has fewer bytes than the split says ({said})", (
            "it was replaced, or its upload was not complete"
        )  # fmt: skip
    if code in (429, 503):
        return "throttled", f"the server is overloaded ({said})", (
            "try again later, or read with fewer processes"
        )  # fmt: skip
    if isinstance(error, exceptions.NotSupportedError):
        return "other", f"the server does not send parts of files ({said})", (
            "use a server that supports ranges"
        )  # fmt: skip
    return _connection_failure(error, said)


def _connection_failure(error: Exception, said: str) -> tuple[Kind, str, str]:
    failure = _FAILURE.search(str(error))
    if failure is None:
        return "other", f"failed ({said})", "check the address, the region and the network"
    if failure[1] == "Connect":
        found = re.search(r'(?:error|message): "([^"]*)"', str(error))
        return "unreachable", f"cannot be reached ({found[1] if found else said})", (
            "check the address, the endpoint and the network"
        )  # fmt: skip
    if failure[1] == "Timeout":
        return "stalled", f"the server did not answer in time ({said})", (
            "check the network, or allow more: storage_options={'read_timeout': '120s'}"
        )  # fmt: skip
    return "cut", f"the connection broke again and again ({said})", "check the network"


def _said(error: Exception) -> str:
    """Return what an error says, short, without the request and without queries."""
    line = " ".join(str(error).split("\n\nDebug source")[0].split())
    line = _QUERY.sub("", _REQUEST.sub("", line)).removesuffix(".")
    return line if len(line) <= _SHOWN else f"{line[:_SHOWN]}…"
