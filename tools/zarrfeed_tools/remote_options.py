"""Options about object stores, shared by several commands.

Each option is an annotated type, which ``typer`` reads from a command's signature.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

if TYPE_CHECKING:
    from collections.abc import Iterable

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
