"""Which objects of an unfinished copy have arrived in an object store?

Two objects beside the split are its journal. They never say from where it is copied, or by whom::

    SPLIT~journal.partial/run.json    which run is copying: the one that has begun last
    SPLIT~journal.partial/copy.json   what is copied, and which objects have arrived and were
                                      checked, by their tags

Object stores have no locks. A run that finds another one's name in ``run.json`` stops.
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from zarrfeed.errors import SourceError, look_up
from zarrfeed.store.schema import JOURNAL

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from zarrfeed.store.objects.object_transfers import ObjectTransfers

_SAVE_EVERY_S = 2.0


@dataclass(frozen=True, slots=True)
class Journaled:
    """What the journal of an earlier run says.

    Attributes
    ----------
    copies
        Fingerprint of what was copied; empty if there is no journal.
    folders
        Names of the folders of the split to which copies have written.
    arrived
        Name of a file in the split → tag of the object.
    """

    copies: str = ""
    folders: frozenset[str] = frozenset()
    arrived: Mapping[str, str] = field(default_factory=dict)


def read_journal(store: ObjectTransfers, split: str) -> Journaled:
    """Read the journal of an unfinished copy. What is damaged says nothing."""
    found = _read(store, _keys(split)[1])
    folders, arrived = found.get("folders"), found.get("arrived")
    return Journaled(
        str(found.get("copies", "")),
        frozenset(map(str, folders if isinstance(folders, list) else ())),
        arrived if isinstance(arrived, dict) else {},
    )


class StoreJournal:
    """The journal of this run. Methods may be called by any thread.

    Parameters
    ----------
    store
        The store at the address of the dataset.
    split
        Name of the split.
    before
        What has arrived, and where.
    """

    def __init__(self, store: ObjectTransfers, split: str, before: Journaled) -> None:
        self._store = store
        self._run, self._copy = _keys(split)
        self._copies, self._folders = before.copies, before.folders
        self._arrived = dict(before.arrived)
        self._id = uuid.uuid4().hex
        self._lock = threading.Lock()
        self._saved = 0.0
        store.put(self._run, json.dumps({"run": self._id}).encode())
        self.save()

    @property
    def arrived(self) -> Mapping[str, str]:
        """Name of a file in the split → tag of the object."""
        return self._arrived

    def add(self, name: str, tag: str) -> None:
        """Note that a file has arrived; now and then, save it, and look for other runs.

        Raises
        ------
        SourceError
            As :meth:`require_alone`.
        """
        with self._lock:
            self._arrived[name] = tag
            if time.monotonic() - self._saved >= _SAVE_EVERY_S:
                self.require_alone()
                self._save()

    def save(self) -> None:
        """Save what has arrived."""
        with self._lock:
            self._save()

    def _save(self) -> None:
        said = {
            "copies": self._copies,
            "folders": sorted(self._folders),
            "arrived": self._arrived,
        }
        self._store.put(self._copy, json.dumps(said).encode())
        self._saved = time.monotonic()

    def require_alone(self) -> None:
        """Check that no other run has begun to copy this split.

        Raises
        ------
        SourceError
            One has.
        """
        if _read(self._store, self._run).get("run") != self._id:
            raise SourceError(
                f"{self._store.url}/{self._run}: another run has begun to copy to this split, or "
                "has completed it, and this one has stopped; wait until the other has ended, and "
                f"repeat the command{look_up('another-run')}"
            )

    def remove(self) -> None:
        """Remove the journal of a complete split."""
        self._store.remove([self._copy, self._run])


def journaled_splits(folders: Iterable[str]) -> set[str]:
    """Return the names of splits that have a journal, by the names of a dataset's folders."""
    return {name.removesuffix(JOURNAL) for name in folders if name.endswith(JOURNAL)}


def _keys(split: str) -> tuple[str, str]:
    return f"{split}{JOURNAL}/run.json", f"{split}{JOURNAL}/copy.json"


def _read(store: ObjectTransfers, key: str) -> dict[str, Any]:
    with suppress(FileNotFoundError, ValueError, RecursionError):
        found = json.loads(bytes(store.read(key).data))
        if isinstance(found, dict):
            return found
    return {}
