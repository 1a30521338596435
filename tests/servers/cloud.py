"""An object store of a cloud, as tests see it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Cloud:
    """A bucket, or what the cloud calls so.

    Attributes
    ----------
    scheme, bucket
        Of its addresses.
    endpoint, at
        Address of the server, and the option that says it.
    credentials
        Options that allow everything.
    environment
        Variables of the environment that say all this.
    """

    scheme: str
    bucket: str
    endpoint: str
    at: str
    credentials: Mapping[str, str]
    environment: Mapping[str, str]

    @property
    def options(self) -> dict[str, str]:
        """``storage_options`` that open it."""
        return {self.at: self.endpoint, **self.credentials}

    def through(self, proxy: str) -> Cloud:
        """Return the same bucket, asked for at another server."""
        host = "/".join(self.endpoint.split("/")[:3])
        return replace(self, endpoint=self.endpoint.replace(host, proxy))

    def url(self, path: str = "") -> str:
        """Return the address of what lies in it."""
        return f"{self.scheme}://{self.bucket}/{path}".rstrip("/")
