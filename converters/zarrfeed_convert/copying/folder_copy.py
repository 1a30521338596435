"""How is a split copied to a local folder?

As packing does, files are written to ``OUT/SPLIT.partial``, which is renamed when it is complete. A
file has its own name there once it is whole and right; before, it ends with ``.part``, and a later
run goes on at the byte reached.
"""

from __future__ import annotations

import os
import shutil
import time
from typing import TYPE_CHECKING

from zarrfeed.errors import ReadError, SourceError, look_up
from zarrfeed.store.schema import METADATA
from zarrfeed_convert.atomic_files import writing
from zarrfeed_convert.byte_digest import ByteDigest, digest_of
from zarrfeed_convert.copying.stored_dataset import FolderDataset
from zarrfeed_convert.copying.traffic import wrong_bytes
from zarrfeed_convert.planning.layout import text_of_bytes
from zarrfeed_convert.splits.destination import destination_of
from zarrfeed_convert.splits.existing_split import require_replaceable
from zarrfeed_convert.splits.journal import opened_journal
from zarrfeed_convert.splits.split_writer import commit_copy, partial_folder

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from zarrfeed_convert.copying.copied import CopiedSplit, CopyStatus
    from zarrfeed_convert.copying.copy_job import CopyJob
    from zarrfeed_convert.copying.description import SplitFile
    from zarrfeed_convert.copying.traffic import Traffic
    from zarrfeed_convert.splits.destination import Destination

_PART = ".part"
_BLOCK = 1 << 20


def copy_to_folder(job: CopyJob, out: Path) -> CopiedSplit:
    """Copy a split into a dataset in a local folder.

    Parameters
    ----------
    job
        What is copied.
    out
        Folder of the dataset, which need not exist.

    Raises
    ------
    SourceError
        There is another split of this name, the dataset has other classes, or the disk is too
        small.
    ReadError
        A file arrived with other bytes than recorded, twice.
    """
    start = time.perf_counter()
    destination = destination_of(out, job.name)
    described, settings = job.described, job.settings
    same = _is_same(destination, described.metadata)
    _require_room_for_it(job, destination, same=same)
    folder = destination.folder if same else partial_folder(destination)
    left = _left(job, folder, restart=settings.restart and not same)
    path = str(destination.folder)
    complete = same and not left
    if settings.dry_run or complete:
        status: CopyStatus = "already there" if complete else "dry run"
        return job.report(path, status, left, 0, time.perf_counter() - start)
    _require_space(out, left, folder)
    with opened_journal(destination, restart=settings.restart) as journal:
        journal.agree("asked", {"copy": described.fingerprint()})
        folder.mkdir(exist_ok=True)
        journal.keep_files()
        left = _left(job, folder, restart=False)
        traffic = job.traffic(left)
        traffic.run(
            lambda file: _fetch(job, file, folder / file.name, traffic),
            left,
            at_once=settings.concurrency,
        )
        job.require_same_source()
        if not same:
            _remove_others(folder, {file.name for file in described.files})
            commit_copy(
                destination,
                folder,
                labels=described.labels,
                dataset=described.dataset,
                metadata=described.metadata,
            )
        journal.remove()
    return job.report(path, "copied", left, 0, time.perf_counter() - start)


def _is_same(destination: Destination, metadata: bytes) -> bool:
    """Return whether the split is there already, perhaps with damaged files."""
    path = destination.folder / METADATA
    return path.is_file() and path.read_bytes() == metadata


def _require_room_for_it(job: CopyJob, destination: Destination, *, same: bool) -> None:
    """Refuse to write over another split, or beside splits of other classes."""
    destination.require_same_labels(job.described.labels)
    there = destination.packed()
    if same or there is None:
        return
    if not job.settings.overwrite:
        raise SourceError(
            f"{destination.folder}: exists already, and is another split; use --overwrite to "
            f"replace it, or another name for the copy{look_up('split-exists')}"
        )
    require_replaceable(destination, there)


def _left(job: CopyJob, folder: Path, *, restart: bool) -> list[SplitFile]:
    """Return the files that are not there, whole and right."""
    files = job.described.files
    return [file for file in files if restart or not _is_there(folder / file.name, file)]


def _is_there(path: Path, file: SplitFile) -> bool:
    try:
        if path.lstat().st_size != file.nbytes:
            return False
        pieces = FolderDataset(path.parent).pieces(path.name)
        return file.xxh3 is None or file.is_right(*digest_of(pieces))
    except OSError:
        return False


def _require_space(out: Path, left: Iterable[SplitFile], folder: Path) -> None:
    parent = next(each for each in (out, *out.parents) if each.exists())
    needed = sum(file.nbytes - _reached(folder / file.name) for file in left)
    free = shutil.disk_usage(parent).free
    if needed > free:
        raise SourceError(
            f"{out}: needed {text_of_bytes(needed)} on the disk, found {text_of_bytes(free)} free; "
            f"free some space, or choose another disk{look_up('disk-space')}"
        )


def _reached(path: Path) -> int:
    try:
        return path.with_name(path.name + _PART).stat().st_size
    except OSError:
        return 0


def _fetch(job: CopyJob, file: SplitFile, path: Path, traffic: Traffic) -> None:
    """Bring a file; if its bytes are wrong, bring it once more."""
    part = path.with_name(path.name + _PART)
    path.parent.mkdir(parents=True, exist_ok=True)
    found = _fetched(job, file, part, traffic, resume=file.xxh3 is not None)
    if not file.is_right(*found):
        traffic.count(-found[0])
        found = _fetched(job, file, part, traffic, resume=False)
    if not file.is_right(*found):
        part.unlink()
        raise ReadError(wrong_bytes(job.path(file), file, *found))
    part.replace(path)


def _fetched(
    job: CopyJob, file: SplitFile, part: Path, traffic: Traffic, *, resume: bool
) -> tuple[int, int]:
    """Bring the bytes that are missing; return size and digest of all."""
    digest = ByteDigest()
    with part.open("r+b" if resume and part.is_file() else "w+b") as out, writing(part):
        while block := out.read(_BLOCK) if resume else b"":
            digest.update(block)
            traffic.count(len(block))
        if digest.nbytes < file.nbytes or not file.nbytes:
            for piece in digest.of(traffic.counted(job.pieces(file, digest.nbytes))):
                out.write(piece)
        out.flush()
        os.fsync(out.fileno())
    return digest.fact


def _remove_others(folder: Path, names: set[str]) -> None:
    """Remove the files of other runs, and metadata of the split that a killed commit left."""
    for parent, _, files in os.walk(folder):
        for file in files:
            path = os.path.join(parent, file)  # noqa: PTH118 (folders may have many files)
            if os.path.relpath(path, folder) not in names:
                os.unlink(path)  # noqa: PTH108
