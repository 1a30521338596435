"""How is a split copied to an object store?

Objects have their own names from the start, since they cannot be renamed. A split is opened by its
``zarr.json``, which is written last: when the store lists all other objects. What has arrived of an
unfinished copy says its journal (:mod:`zarrfeed_convert.copying.store_journal`).
"""

from __future__ import annotations

import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from zarrfeed.errors import ReadError, SourceError, StoreError, look_up
from zarrfeed.spelling import few
from zarrfeed.store.objects.errors import ObjectError
from zarrfeed.store.objects.part_digest import PartDigest
from zarrfeed.store.objects.stored_object import plain_tag
from zarrfeed.store.schema import METADATA
from zarrfeed_convert.byte_digest import ByteDigest, digest_of
from zarrfeed_convert.copying.metadata_shadow import shadow_of
from zarrfeed_convert.copying.store_journal import Journaled, StoreJournal, read_journal
from zarrfeed_convert.copying.traffic import checked
from zarrfeed_convert.splits.existing_split import require_replaceable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typing_extensions import Buffer

    from zarrfeed.store.objects.object_transfers import ObjectTransfers
    from zarrfeed_convert.copying.copied import CopiedSplit, CopyStatus
    from zarrfeed_convert.copying.copy_job import CopyJob
    from zarrfeed_convert.copying.description import SplitFile
    from zarrfeed_convert.copying.metadata_shadow import Shadow
    from zarrfeed_convert.copying.traffic import Traffic

_ATTEMPTS = 3
_PAUSE_S = 1.0  # before the second attempt; twice as long before the third
_PARTS = 16  # of all objects that are on their way, but at least two of each


def copy_to_store(job: CopyJob, store: ObjectTransfers) -> CopiedSplit:
    """Copy a split into a dataset in an object store.

    Parameters
    ----------
    job
        What is copied.
    store
        The store at the address of the dataset, which need not exist.

    Raises
    ------
    SourceError
        There is another split of this name, the dataset has other classes, or something else is in
        the place of the split.
    ReadError
        An object cannot be written, or arrived with other bytes, twice.
    """
    start = time.perf_counter()
    with shadow_of(store, job.name) as shadow:
        target = _Target(job, store, shadow)
        target.require_place()
        left = target.left()
        status: CopyStatus = "copied"
        if target.same and not left:
            status = "already there"
        elif job.settings.dry_run:
            status = "dry run"
        else:
            with target.begun():
                traffic = job.traffic(left)
                at_once = job.settings.concurrency
                traffic.run(lambda file: target.bring(file, traffic), left, at_once=at_once)
                job.require_same_source()
                target.finish()
    return job.report(target.path, status, left, target.read_back, time.perf_counter() - start)


class _Target:
    """The split in the object store."""

    def __init__(self, job: CopyJob, store: ObjectTransfers, shadow: Shadow) -> None:
        self._job, self._store, self._shadow = job, store, shadow
        self._files = {file.name: file for file in job.described.files}
        before = Journaled() if job.settings.restart else read_journal(store, job.name)
        self._fingerprint = job.described.fingerprint()
        self._before = before
        self._journal: StoreJournal | None = None
        self.same = shadow.metadata == job.described.metadata
        self.path = f"{store.url}/{job.name}"
        self.read_back = 0

    def require_place(self) -> None:
        """Refuse to write over another split, or beside splits of other classes, or into others'.

        Raises
        ------
        SourceError
            The message says what is there.
        """
        destination, settings = self._shadow.destination, self._job.settings
        destination.require_same_labels(self._job.described.labels)
        there = destination.packed()
        if self.same:
            return
        if there is not None:
            if not settings.overwrite:
                raise SourceError(
                    f"{self.path}: exists already, and is another split; use --overwrite to "
                    f"replace it, or --split to give the copy another name{look_up('split-exists')}"
                )
            require_replaceable(destination, there)
            return
        others = [name for name in self._others() if name.split("/", 1)[0] not in self._own]
        if others:
            raise SourceError(
                f"{self.path}: needed a new place, found {len(others)} objects that zarrfeed did "
                f"not write ({few(others, shown=3)}), which were left unchanged; choose another "
                f"address, or --split for another name{look_up('split-exists')}"
            )

    @property
    def _own(self) -> frozenset[str]:
        """Names of folders that unfinished copies have written."""
        return self._before.folders or read_journal(self._store, self._job.name).folders

    def _others(self) -> list[str]:
        return sorted(self._shadow.objects.keys() - self._files.keys() - {METADATA})

    def left(self) -> list[SplitFile]:
        """Return the files that are not there, whole and right."""
        there = [file for file in self._files.values() if self._has_arrived(file)]
        wrong: set[str] = set()
        if self._job.settings.read_back and there:
            traffic = self._job.traffic(there, "reading back")

            def look(file: SplitFile) -> None:
                if not self._is_right(file, traffic):
                    wrong.add(file.name)

            traffic.run(look, there, at_once=self._job.settings.concurrency)
        right = {file.name for file in there} - wrong
        return [file for name, file in self._files.items() if name not in right]

    def _has_arrived(self, file: SplitFile) -> bool:
        """Return whether a file is there, by the list of objects and the journal.

        A split that has its metadata was complete, so that sizes are enough.
        """
        there = self._shadow.objects.get(file.name)
        if there is None or there.nbytes != file.nbytes:
            return False
        tag = self._before.arrived.get(file.name)
        known = self._before.copies == self._fingerprint and tag and tag == plain_tag(there.etag)
        return self.same or bool(known)

    def _is_right(self, file: SplitFile, traffic: Traffic) -> bool:
        """Read an object back, and the original if its digest is not recorded."""
        needed = file.xxh3
        if needed is None:
            needed = digest_of(self._job.pieces(file))[1]
        found = digest_of(traffic.counted(self._store.pieces(self._key(file))))
        self.read_back += 1
        return found == (file.nbytes, needed)

    def _key(self, file: SplitFile) -> str:
        return f"{self._job.name}/{file.name}"

    @contextmanager
    def begun(self) -> Iterator[None]:
        """Write a journal, unless the split is there; keep it if the copy is stopped."""
        if self.same:
            yield
            return
        there = self._shadow.destination.packed()
        old = {name.split("/", 1)[0] for name in self._shadow.objects} if there is not None else ()
        folders = frozenset({*self._job.described.folders, *self._own, *old} - {METADATA})
        kept = self._before.arrived if self._before.copies == self._fingerprint else {}
        self._journal = StoreJournal(
            self._store, self._job.name, Journaled(self._fingerprint, folders, kept)
        )
        if there is not None:  # from now on the old split cannot be opened
            self._store.remove([f"{self._job.name}/{METADATA}"])
        try:
            yield
        except BaseException as error:
            with suppress(Exception):  # the error above is the one to tell
                self._journal.require_alone()
                self._journal.save()
            error.add_note("what has arrived is kept: the same command resumes from there")
            raise

    def bring(self, file: SplitFile, traffic: Traffic) -> None:
        """Send a file, and check what has arrived; if its bytes are wrong, send it once more.

        Raises
        ------
        ReadError
            The original is damaged, or wrong bytes arrived twice, or the store refuses.
        """
        for again in (False, True):
            tag = self._sent_once(file, traffic)
            if tag is not None:
                if self._journal is not None:
                    self._journal.add(file.name, tag)
                return
            traffic.count(-file.nbytes)
            if again:
                self._store.remove([self._key(file)])
        raise ReadError(
            f"{self._store.url}/{self._key(file)}: other bytes than those sent have arrived, "
            "twice, and were removed; check the network and the store, and repeat the command"
            f"{look_up('wrong-bytes')}"
        )

    def _sent_once(self, file: SplitFile, traffic: Traffic) -> str | None:
        """Send a file; return the tag of the object, or None if wrong bytes have arrived."""
        tag, sent = self._send(file, traffic)
        if not self._job.settings.read_back and tag == sent.parts.tag():
            return tag
        found = digest_of(self._store.pieces(self._key(file)))
        self.read_back += 1
        return tag if found == sent.fact else None

    def _send(self, file: SplitFile, traffic: Traffic) -> tuple[str, _SentDigest]:
        """Send a file, anew if the connection breaks; return its tag, and what was sent."""
        parts = max(2, _PARTS // self._job.settings.concurrency)
        pause = _PAUSE_S
        while True:
            pieces = traffic.counted(self._job.pieces(file))
            sent = _SentDigest(file.nbytes)
            pieces = sent.of(checked(pieces, file, self._job.path(file)))
            try:
                tag = self._store.send(self._key(file), pieces, file.nbytes, parts_at_once=parts)
                return plain_tag(tag), sent
            except ObjectError as error:
                last = pause > _PAUSE_S * (1 << _ATTEMPTS - 2)
                if last or error.kind not in ("cut", "stalled", "throttled"):
                    raise
            traffic.count(-sent.nbytes)
            time.sleep(pause)
            pause *= 2

    def finish(self) -> None:
        """Check that all objects are there, and write the metadata.

        Raises
        ------
        StoreError
            Objects have vanished or been replaced since they arrived.
        SourceError
            Another run copies to this split, or has meanwhile set other classes.
        """
        job, store = self._job, self._store
        if self._journal is None:  # the split was there
            return
        self._journal.require_alone()
        objects = {each.key.removeprefix(f"{job.name}/"): each for each in store.list(job.name)}
        wrong = [
            name
            for name, file in self._files.items()
            if name not in objects
            or objects[name].nbytes != file.nbytes
            or self._journal.arrived.get(name) != plain_tag(objects[name].etag)
        ]
        if wrong:
            raise StoreError(
                f"{self.path}: {len(wrong)} objects that had arrived are gone or were replaced "
                f"({few(wrong, shown=3)}); if another run is copying to this address, stop it, and "
                f"repeat the command{look_up('another-run')}"
            )
        others = objects.keys() - self._files.keys()
        store.remove(f"{job.name}/{name}" for name in sorted(others))
        with shadow_of(store, job.name) as now:
            now.destination.require_same_labels(job.described.labels)
            if now.destination.binding is None:
                store.put(METADATA, job.described.dataset)
        if not store.create(f"{job.name}/{METADATA}", job.described.metadata):
            raise SourceError(
                f"{self.path}: another run has completed a split here meanwhile; repeat the command"
                f"{look_up('another-run')}"
            )
        self._journal.remove()


class _SentDigest(ByteDigest):
    """Digests of what is sent."""

    def __init__(self, nbytes: int) -> None:
        super().__init__()
        self.parts = PartDigest(nbytes)

    def update(self, piece: Buffer) -> None:
        """Add the next bytes."""
        super().update(piece)
        self.parts.update(piece)
