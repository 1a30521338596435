"""As what can a folder be packed?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Candidate:
    """A format that fits a folder.

    Attributes
    ----------
    format
        Its name, as ``--format`` takes it.
    reason
        What in the folder says so.
    arguments
        Arguments of the format's class, for :func:`zarrfeed_convert.open_source`.
    """

    format: str
    reason: str
    arguments: Mapping[str, str]
