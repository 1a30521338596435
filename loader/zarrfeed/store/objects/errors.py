"""What does a failure of an object store mean, and what can be done about it?

obstore's errors become :class:`ObjectError`, whose message names the address, what the server said,
and the way out. Neither messages nor ``repr`` show options, which may be secrets.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, TypeAlias

from zarrfeed.errors import ReadError, ZarrfeedError, look_up

if TYPE_CHECKING:
    from collections.abc import Iterator

Kind: TypeAlias = Literal[
    "missing", "refused", "throttled", "unreachable", "stalled", "cut", "other"
]  # fmt: skip

_SHOWN = 120  # letters of what a server says
_STATUS = re.compile(r"status code: (\d{3})")
_FAILURE = re.compile(r"\bkind: (Connect|Timeout|Interrupted)\b")
# Where obstore asks for credentials if it was given none.
_CREDENTIAL_HOSTS = re.compile(r"169\.254\.|metadata\.google|/oauth2/|security-credentials")
_EXPIRED = re.compile(r"ExpiredToken|InvalidToken|InvalidAccessKeyId|AuthenticationFailed")
_NO_BUCKET = re.compile(r"NoSuchBucket|ContainerNotFound")
_TOO_SHORT = re.compile(r"object was only \d+ bytes long")
_REQUEST = re.compile(r"^.*Error performing .* - (?:Server returned non-2xx status code: )?")
_DOCUMENT = re.compile(
    r"<\?xml.*?<Code>(.*?)</Code>.*?<Message>(.*?)</Message>.*|<(?:!|html).*", re.I
)
_HOST = re.compile(r"Error performing \w+ (https?://)(?:[^/@\s]*@)?([^/?\s]+)")
_SHARD = re.compile(r"/c/[0-9/]+$")  # the name of a file of an array
# Environment variables by the scheme of an address.
CREDENTIALS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    **dict.fromkeys(
        ("az", "abfs", "abfss"), "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY"
    ),
}
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


@contextmanager
def naming(address: str) -> Iterator[None]:
    """Raise errors of obstore as ours, which name the address of an object or a folder."""
    from obstore.exceptions import BaseError

    try:
        yield
    except ZarrfeedError:
        raise
    except (BaseError, OSError, ValueError) as error:
        kind, said, todo = _classify(error, address)
        message = f"{address}: {said}: {todo}{look_up('remote-store')}"
        raise (MissingObjectError if kind == "missing" else ObjectError)(message, kind) from None


def _classify(error: Exception, address: str) -> tuple[Kind, str, str]:
    """Return what kind of failure it is, what to say of it, and what to do about it."""
    from obstore import exceptions

    said, text = said_by(error), str(error)
    status = _STATUS.search(text)
    if _CREDENTIAL_HOSTS.search(text):
        variables = CREDENTIALS.get(address.partition(":")[0], "")
        return "refused", "found no credentials", (
            f"give them in the environment ({variables}) or in storage_options, or set "
            "storage_options={'skip_signature': True} to read a public bucket"
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
        if _SHARD.search(address):
            return "missing", f"there is no such object ({said})", (
                "the split needs it: it was deleted, or its upload was not complete; copy the "
                "split again, which sends what is missing"
            )  # fmt: skip
        return "missing", f"there is no such object ({said})", "check the address"
    if code == 416 or _TOO_SHORT.search(text):
        return "other", f"the object has fewer bytes than the split says ({said})", (
            "it was replaced, or its upload was not complete"
        )  # fmt: skip
    if code in (429, 503):
        return "throttled", f"the server is overloaded ({said})", (
            "try again later, or read with fewer processes"
        )  # fmt: skip
    if isinstance(error, exceptions.NotSupportedError):
        return "other", f"the server does not send parts of files ({said})", (
            "use a server that supports ranges, such as nginx, or copy the split here by `zarrfeed "
            "copy`"
        )  # fmt: skip
    return _connection_failure(error, said)


def _connection_failure(error: Exception, said: str) -> tuple[Kind, str, str]:
    failure = _FAILURE.search(str(error))
    if failure is None:
        return "other", f"failed ({said})", "check the address, the region and the network"
    if failure[1] == "Connect":
        asked = _HOST.search(str(error))
        at = f" at {asked[1]}{asked[2]}" if asked else ""
        found = re.search(r'(?:error|message): "([^"]*)"', str(error))
        return "unreachable", f"cannot be reached{at} ({found[1] if found else said})", (
            "check the address, the endpoint and the network"
        )  # fmt: skip
    if failure[1] == "Timeout":
        return "stalled", f"the server did not answer in time ({said})", (
            "check the network, or allow more: storage_options={'read_timeout': '120s'}"
        )  # fmt: skip
    return "cut", f"the connection broke again and again ({said})", "check the network"


def said_by(error: Exception) -> str:
    """Return what an error says, short, without the request, queries and markup."""
    line = " ".join(str(error).split("\n\nDebug source")[0].split())
    line = _DOCUMENT.sub(r"\1: \2", _REQUEST.sub("", line))
    line = _QUERY.sub("", line).rstrip(".: ")
    return line if len(line) <= _SHOWN else f"{line[:_SHOWN]}…"
