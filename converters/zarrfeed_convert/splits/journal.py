"""Which parts of an unfinished split are packed, and may another run resume it?

The folder ``OUT/SPLIT~journal.partial`` exists beside ``OUT/SPLIT.partial`` until the split is
complete::

    run.json      arguments and decisions of the run; another run may resume it if they are the same
    failed.json   samples that were skipped so far
    000012.npz    record of shard 12; exists once the shard's files are complete and on disk
    failed-run    exists if the run ended with an error in the data, not by a kill
    copied        exists if the split is copied: files with their own names are complete
    begun-3f8a…   exists until the split is restarted or complete

The run that packs the split locks the folder. The kernel releases the lock when the process ends,
even if it is killed.
"""

from __future__ import annotations

import json
import uuid
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

from zarrfeed.errors import SourceError, look_up, without_topic
from zarrfeed.store.schema import JOURNAL
from zarrfeed_convert.atomic_files import atomic_file, remove, writing
from zarrfeed_convert.failures import Failed
from zarrfeed_convert.locks import locked
from zarrfeed_convert.shards.shard_record import ShardRecord, load_record
from zarrfeed_convert.splits.existing_split import differences, differences_text, require_own
from zarrfeed_convert.splits.split_writer import partial_folder, recover, unfinished_folders

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from zarrfeed_convert.shards.packing import Shard
    from zarrfeed_convert.source import JSON
    from zarrfeed_convert.splits.destination import Destination

_RUN, _FAILED, _GIVEN_UP, _BEGUN = "run.json", "failed.json", "failed-run", "begun-"
_COPIED = "copied"


class Journal:
    """Progress of a split that is being packed, kept on disk.

    Parameters
    ----------
    destination
        The split.
    """

    def __init__(self, destination: Destination) -> None:
        self._destination = destination
        self._folder = journal_folder(destination)
        self._agreed: JSON = {}  # the parts that this run has passed to `agree`
        self._refused = False

    def agree(self, part: str, values: JSON) -> None:
        """Check that this run may resume an earlier one, and record what it asks for or decided.

        If the earlier run differs and ended with an error in the data, it is discarded.

        Parameters
        ----------
        part
            ``asked`` first, then ``decided``.
        values
            What decides the split's bytes, as JSON.

        Raises
        ------
        SourceError
            An earlier run with other values was killed. The message lists the differences.
        """
        run = _read(self._folder / _RUN)
        values = json.loads(json.dumps(values))  # tuples become lists, as in the file
        if part in run and run[part] != values:
            differ = differences_text(differences(run[part], values))
            if self._done() and not (self._folder / _GIVEN_UP).exists():
                self._refused = True
                raise SourceError(
                    f"{self._destination.folder}: {self._done()} of its shards were packed by a "
                    f"run that was stopped and differs from this one ({differ}); repeat "
                    "that run to resume it, or use --restart to start anew"
                    f"{look_up('other-settings')}"
                )
            self.clear()  # that run ended with an error, and this one cannot use its shards
            run = {}
        self._agreed[part] = values
        _write(self._folder / _RUN, run | self._agreed)  # keeps the earlier `decided` to compare
        if part == "decided":  # shards that are packed from now on can be used by the next run
            (self._folder / _GIVEN_UP).unlink(missing_ok=True)

    def clear(self) -> None:
        """Remove all shards and records, to start anew."""
        for entry in self._folder.iterdir():
            remove(entry)
        remove(partial_folder(self._destination))

    def mark(self) -> Path:
        """Return the file that exists until the split is restarted or complete.

        It is created if needed. Tasks of a lost cluster, which may still start afterwards, check
        that it exists.
        """
        there = next(self._folder.glob(f"{_BEGUN}*"), None)
        if there is None:
            there = self._folder / f"{_BEGUN}{uuid.uuid4().hex[:12]}"
            there.touch()
        return there

    def keep_files(self) -> None:
        """Note that files of the split are copied, which a run that is stopped leaves."""
        (self._folder / _COPIED).touch()

    def record_path(self, number: int) -> Path:
        """Return the path of the record of a shard."""
        return self._folder / f"{number:06}.npz"

    def record(self, shard: Shard) -> ShardRecord | None:
        """Read the record of a shard; None if the shard is not complete or has other rows."""
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
        _write(
            self._folder / _FAILED,
            {"failed": [[item, name, without_topic(why)] for item, name, why in found]},
        )

    def remove(self) -> None:
        """Remove the journal of a complete split."""
        remove(self._folder)

    def leave(self, error: BaseException) -> bool:
        """Note how a run ended, and keep its shards; return False if there is nothing to keep."""
        done = self._done()
        if not self._refused and (self._folder / _COPIED).exists():
            error.add_note(
                "what has arrived is kept: the same command resumes from there, --restart starts "
                "anew"
            )
            return True
        if not done or self._refused:
            return self._refused
        if isinstance(error, SourceError):
            (self._folder / _GIVEN_UP).touch()
        else:
            (self._folder / _GIVEN_UP).unlink(missing_ok=True)
        shards = f"{done} shard{'s are' if done > 1 else ' is'} packed"
        error.add_note(
            f"{shards} and kept: the same command resumes from there, --restart starts anew"
        )
        return True

    def _done(self) -> int:
        return sum(entry.suffix == ".npz" for entry in self._folder.iterdir())


def journal_folder(destination: Destination) -> Path:
    """Return the folder of a split's journal. Names of splits contain no tilde."""
    return destination.folder.with_name(destination.split + JOURNAL)


def begun_decisions(destination: Destination, asked: JSON) -> JSON:
    """Return what an unfinished run with the same arguments decided; empty if there is none.

    Parameters
    ----------
    destination, asked
        The split, and the arguments of this run that decide its bytes.
    """
    run = _read(journal_folder(destination) / _RUN)
    decided = run.get("decided")
    same = run.get("asked") == json.loads(json.dumps(asked))
    return decided if same and isinstance(decided, dict) else {}


@contextmanager
def opened_journal(destination: Destination, *, restart: bool) -> Iterator[Journal]:
    """Lock a split for packing, and open its journal.

    If the context ends with an error, shards that are packed are kept for another run. If there are
    none, OUT is left as it was.

    Parameters
    ----------
    destination
        The split.
    restart
        Whether to discard the shards of an earlier run.

    Raises
    ------
    SourceError
        Another run is packing the split, or a symbolic link is in its place.
    """
    require_own((journal_folder(destination), *unfinished_folders(destination)))
    made = _make_parents(destination)
    try:
        with _locked(destination) as journal:
            try:
                recover(destination)
                if restart:
                    journal.clear()
                yield journal
            except BaseException as error:
                if not journal.leave(error):
                    journal.clear()
                    journal.remove()
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
            except FileNotFoundError:  # another run has just completed the split
                continue
            except BlockingIOError:
                raise SourceError(
                    f"{folder}: another run is packing this split at the moment; wait until it has "
                    "ended, or stop it"
                    f"{look_up('another-run')}"
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
        # Reading a pipe would wait for ever.
        found = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _write(path: Path, values: dict[str, Any]) -> None:
    with atomic_file(path) as file, writing(path):
        file.write(json.dumps(values).encode())
