"""Several splits as one: what they are together, and whether that can be read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from zarrfeed.errors import MixError, look_up, printable
from zarrfeed.spelling import did_you_mean, few
from zarrfeed.store.mixed.differences import differing, table_of
from zarrfeed.store.mixed.store_facts import facts_of
from zarrfeed.store.schema import MASK
from zarrfeed.user_warning import warn_user

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zarrfeed.store.mixed.class_join import JoinedClasses
    from zarrfeed.store.split import Split


@dataclass(frozen=True, slots=True, eq=False)
class MixedSplit:
    """Several splits as one.

    Attributes
    ----------
    split
        All rows of all stores.
    stores
        Each store by itself, with the common classes.
    labels
        What each is called in messages.
    first_rows, first_cases
        Number of the first row and case of each in `split`.
    joined
        The common classes.
    """

    split: Split
    stores: tuple[Split, ...]
    labels: tuple[str, ...]
    first_rows: tuple[int, ...]
    first_cases: tuple[int, ...]
    joined: JoinedClasses

    def require(self, fields: Sequence[str]) -> None:
        """Check that all stores have some fields, with the same dtype and size.

        Raises
        ------
        StoreError
            They differ; the message has a table.

        Warns
        -----
        UserWarning
            Pixels of some classes are ignored, because they are no common classes; or no store has
        a common class.
        """
        facts = facts_of(self.stores, fields)
        if found := differing(facts):
            raise MixError(
                f"{self.split.path}: needed the same in every store, found\n\n"
                f"{table_of(self.labels, found)}\n\n"
                "`zarrfeed repack` cuts cases into other tiles (--tile), `zarrfeed convert` packs "
                "other sizes, dtypes and fields; fields=… chooses what all have"
                f"{look_up('mixed-stores')}"
            )
        if MASK in fields and any(self.joined.unknown):
            self._warn_of_lost()
        if MASK in fields:
            self._warn_of_nowhere()

    def _warn_of_nowhere(self) -> None:
        there = self.joined.there
        lacking = [name for name in self.joined.table.names if name not in there]
        if there and lacking:
            hint = did_you_mean(lacking[0], there, otherwise=f"they have {few(there)}")
            warn_user(
                printable(
                    f"{self.split.path}: no store has a class {', '.join(map(repr, lacking))}, "
                    f"which Mix(…, classes=…) names: {hint}{look_up('mixed-classes')}"
                )
            )

    def _warn_of_lost(self) -> None:
        joined = self.joined
        lost = [
            f"{', '.join(names)} of {label}"
            for names, label in zip(joined.unknown, self.labels, strict=True)
            if names
        ]
        chosen = ", chosen here" if joined.chose_ignore else ""
        warn_user(
            printable(
                f"{self.split.path}: has no class {'; '.join(lost)}: their pixels become the "
                f"ignore id ({joined.table.ignore}{chosen}). Mix(…, classes=…) names all classes "
                "to keep"
                f"{look_up('mixed-classes')}"
            )
        )
