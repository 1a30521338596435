"""Which options of an object store are the store's, the connection's, and those of retries?"""

from __future__ import annotations

import atexit
import os
import re
import time
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from zarrfeed.errors import StoreError, how_to_install, look_up
from zarrfeed.store.objects.errors import CREDENTIALS, said_by

if TYPE_CHECKING:
    from collections.abc import Mapping

# Options that are the connection's; every other option is the store's (credentials, region, …).
_CLIENT_OPTIONS = frozenset({
    "allow_http", "allow_invalid_certificates", "connect_timeout", "default_headers", "http1_only",
    "http2_only", "pool_idle_timeout", "pool_max_idle_per_host", "proxy_url",
    "proxy_ca_certificate", "proxy_excludes", "randomize_addresses", "read_timeout",
    "root_certificate", "timeout", "user_agent",
})  # fmt: skip
# A request of 16 MiB may take minutes on a slow line, but a server that sends nothing has stalled.
_CLIENT_DEFAULTS = {"connect_timeout": "10s", "read_timeout": "30s", "timeout": "600s"}
# Options and variables that give the address of the server.
_SERVER = re.compile("endpoint|base_url", re.IGNORECASE)
_SERVER_VARIABLES = (
    "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT",
    "AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT", "GOOGLE_BASE_URL",
)  # fmt: skip
# Those that users give most, by the scheme of an address.
_OPTIONS = {
    "s3": "access_key_id, secret_access_key, region, endpoint, skip_signature",
    "gs": "service_account, service_account_key, base_url, skip_signature",
    **dict.fromkeys(
        ("az", "abfs", "abfss"), "account_name, account_key, sas_key, endpoint, skip_signature"
    ),
}
_PAUSE_AT_EXIT_S = 0.05
_RETRIES = {"max_retries": 6, "retry_timeout": 60.0}


def connected(url: str, storage_options: Mapping[str, Any] | None = None) -> Any:
    """Return obstore's view of an object store. Nothing is asked of the server yet.

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
            f"{url}: object stores and web servers need obstore: {how_to_install('remote')}"
            f"{look_up('remote-store')}"
        ) from error
    _end_late()
    _require_server(url, storage_options or {})
    config, client, retry = _sorted_options(url, storage_options or {})
    try:
        return from_url(url, config=config or None, client_options=client, retry_config=retry)  # type: ignore[call-overload]
    except (BaseError, ValueError, TypeError) as error:
        scheme = url.partition(":")[0]
        names = ", ".join(map(str, storage_options or {}))
        given = f"storage_options ({names})" if names else "what is in the environment"
        variables = CREDENTIALS.get(scheme)
        raise StoreError(
            f"{url}: cannot be opened with {given}: {said_by(error)}; give options of obstore, "
            f"such as {_OPTIONS.get(scheme, 'read_timeout')}"
            f"{f', or set {variables}' if variables else ''}{look_up('remote-store')}"
        ) from None


@cache
def _end_late() -> None:
    """End the interpreter a moment late, since it aborts if obstore's threads use it meanwhile.

    They still let go of the last answer after it was given to asyncio. Of 30 processes that ended
    at once after a request, 4 aborted; of 60 that waited, none did.
    """
    atexit.register(time.sleep, _PAUSE_AT_EXIT_S)


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


def _require_server(url: str, options: Mapping[str, Any]) -> None:
    """Refuse addresses of servers without a scheme, for which obstore panics at the first read."""
    given = {name: value for name, value in options.items() if _SERVER.search(str(name))}
    variables = {name: os.environ[name] for name in _SERVER_VARIABLES if os.environ.get(name)}
    for name, value in (given or variables).items():
        if not re.match(r"https?://", str(value)):
            raise StoreError(
                f"{url}: {name}: needed the address of a server, such as "
                "https://minio.example.org or http://127.0.0.1:9000, found one without https:// "
                f"or http://{look_up('remote-store')}"
            )


def _unencrypted(url: str, config: Mapping[str, Any]) -> bool:
    """Return whether the server has an address without encryption."""
    given = [str(value) for name, value in config.items() if _SERVER.search(name)]
    from_environment = [os.environ.get(name, "") for name in _SERVER_VARIABLES]
    return any(each.startswith("http://") for each in (url, *(given or from_environment)))
