"""What has a run done of a split that is not finished, and may another go on with it?

``OUT/SPLIT~journal.partial`` lies beside ``OUT/SPLIT.partial`` until the split is complete::

    run.json      what was asked for and decided: another run goes on only if it is the same
    failed.json   the samples that were skipped so far
    000012.npz    the record of shard 12: its files are whole, and on disk
    failed-run    the run ended by an error in the data, not by a kill
    begun-3f8a…   there until the split is begun anew, or complete

Whoever packs the split holds a lock on the folder. The kernel takes it away when the process ends,
however it ends.
"""

from __future__ import annotations

import json
import uuid
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

from zarrfeed.errors import SourceError
from zarrfeed.store.schema import PARTIAL
from zarrfeed_convert.atomic_files import atomic_file, remove, writing
from zarrfeed_convert.failures import Failed
from zarrfeed_convert.locks import locked
from zarrfeed_convert.shards.shard_record import ShardRecord, load_record
from zarrfeed_convert.splits.existing_split import differences, require_own
from zarrfeed_convert.splits.split_writer import partial_folder, recover, unfinished_folders

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from zarrfeed_convert.shards.packing import Shard
    from zarrfeed_convert.source import JSON
    from zarrfeed_convert.splits.destination import Destination

_RUN, _FAILED, _GIVEN_UP, _BEGUN = "run.json", "failed.json", "failed-run", "begun-"


class Journal:
    """What is done of a split that is being packed.

    Parameters
    ----------
    destination
        The split.
    """

    def __init__(self, destination: Destination) -> None:
        self._destination = destination
        self._folder = journal_folder(destination)
        self._agreed: JSON = {}  # by this run
        self._refused = False

    def agree(self, part: str, values: JSON) -> None:
        """Go on where an earlier run stopped, if it was the same; else refuse, or begin anew.

        Parameters
        ----------
        part
            ``asked`` or, then, ``decided``.
        values
            What decides the split's bytes, as JSON.

        Raises
        ------
        SourceError
            An earlier run was killed that asked for something else; the message says what.
        """
        run = _read(self._folder / _RUN)
        values = json.loads(json.dumps(values))  # as it comes back: no tuples
        if part in run and run[part] != values:
            differ = differences(run[part], values)
            if self._done() and not (self._folder / _GIVEN_UP).exists():
                self._refused = True
                raise SourceError(
                    f"{self._destination.folder}: {self._done()} shards of it are packed, by a run "
                    f"that was stopped, and asked for something else ({'; '.join(differ)}); "
                    "repeat that run to go on with it, or use --restart to begin anew"
                )
            self.forget()  # what it had done ended in an error, and is of no use for this run
            run = {}
        self._agreed[part] = values
        _write(self._folder / _RUN, run | self._agreed)  # what it decided is still to be compared
        if part == "decided":  # from now on what is done is of use, however this run may end
            (self._folder / _GIVEN_UP).unlink(missing_ok=True)

    def forget(self) -> None:
        """Remove what is done, and begin anew."""
        for entry in self._folder.iterdir():
            remove(entry)
        remove(partial_folder(self._destination))

    def mark(self) -> Path:
        """Name the file that is there for as long as what is done now is of use.

        Where a cluster was lost, it may still begin tasks when the split has been begun anew.
        """
        there = next(self._folder.glob(f"{_BEGUN}*"), None)
        if there is None:
            there = self._folder / f"{_BEGUN}{uuid.uuid4().hex[:12]}"
            there.touch()
        return there

    def record_path(self, number: int) -> Path:
        """Say where the record of a shard is, or goes."""
        return self._folder / f"{number:06}.npz"

    def record(self, shard: Shard) -> ShardRecord | None:
        """Find the record of a shard, if it is done."""
        record = load_record(shard.record)
        if record is None or record.rows != shard.rows.fingerprint():
            return None
        try:
            sizes = [path.stat().st_size for path in shard.files]
        except OSError:
            return None
        return record if sizes == record.files[:, 0].tolist() else None

    @property
    def failed(self) -> list[Failed]:
        """The samples that were skipped so far."""
        return [Failed(*entry) for entry in _read(self._folder / _FAILED).get("failed", [])]

    @failed.setter
    def failed(self, found: Sequence[Failed]) -> None:
        _write(self._folder / _FAILED, {"failed": [list(failed) for failed in found]})

    def finished(self) -> None:
        """Let go of what was noted: the split is complete."""
        remove(self._folder)

    def leave(self, error: BaseException) -> bool:
        """Keep what is done, and note how the run ended; False where there is nothing to keep."""
        done = self._done()
        if not done or self._refused:
            return self._refused
        if isinstance(error, SourceError):
            (self._folder / _GIVEN_UP).touch()
        else:
            (self._folder / _GIVEN_UP).unlink(missing_ok=True)
        shards = f"{done} shard{'s are' if done > 1 else ' is'} packed"
        error.add_note(
            f"{shards} and kept: the same command goes on from there, --restart begins anew"
        )
        return True

    def _done(self) -> int:
        return sum(entry.suffix == ".npz" for entry in self._folder.iterdir())


def journal_folder(destination: Destination) -> Path:
    """Where a split's journal is; no split's name has a tilde."""
    return destination.folder.with_name(f"{destination.split}~journal{PARTIAL}")


@contextmanager
def opened_journal(destination: Destination, *, restart: bool) -> Iterator[Journal]:
    """Take hold of a split: nobody else may pack it meanwhile.

    On failure, shards that are packed are kept for another run; where there are none, OUT is
    again what it was.

    Parameters
    ----------
    destination
        The split.
    restart
        Begin anew, whatever an earlier run did.

    Raises
    ------
    SourceError
        Another run is packing the split; or where it would write is a link, which is not followed.
    """
    require_own((journal_folder(destination), *unfinished_folders(destination)))
    made = _make_parents(destination)
    try:
        with _locked(destination) as journal:
            try:
                recover(destination)
                if restart:
                    journal.forget()
                yield journal
            except BaseException as error:
                if not journal.leave(error):
                    journal.forget()
                    journal.finished()
                raise
    except BaseException:
        for parent in reversed(made):
            with suppress(OSError):  # it is not empty
                parent.rmdir()
        raise


@contextmanager
def _locked(destination: Destination) -> Iterator[Journal]:
    folder = journal_folder(destination)
    with ExitStack() as held:
        while True:
            folder.mkdir(exist_ok=True)
            try:
                held.enter_context(locked(folder))
                break
            except FileNotFoundError:  # its owner has just finished
                continue
            except BlockingIOError:
                raise SourceError(
                    f"{folder}: another run is packing this split at the moment; wait for it to "
                    "end, or stop it first"
                ) from None
        yield Journal(destination)


def _make_parents(destination: Destination) -> list[Path]:
    made = []
    for parent in [*reversed(destination.out.parents), destination.out]:
        if not parent.exists():
            parent.mkdir(exist_ok=True)
            made.append(parent)
    return made


def _read(path: Path) -> dict[str, Any]:
    try:
        # A pipe, which nobody writes to, would be read for ever.
        found = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _write(path: Path, values: dict[str, Any]) -> None:
    with atomic_file(path) as file, writing(path):
        file.write(json.dumps(values).encode())
