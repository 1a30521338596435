"""What is copied, and how?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from zarrfeed.errors import StoreError, look_up
from zarrfeed_convert.copying.copied import CopiedSplit
from zarrfeed_convert.copying.traffic import Traffic

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator, Sequence

    from typing_extensions import Buffer

    from zarrfeed_convert.copying.copied import CopyStatus
    from zarrfeed_convert.copying.description import SplitDescription, SplitFile
    from zarrfeed_convert.copying.stored_dataset import StoredDataset
    from zarrfeed_convert.planning.planner import OnProgress


@dataclass(frozen=True, slots=True)
class CopySettings:
    """How splits are copied; see :func:`zarrfeed_convert.copy`."""

    overwrite: bool
    restart: bool
    dry_run: bool
    read_back: bool
    concurrency: int
    progress: OnProgress | None
    stop: threading.Event


@dataclass(frozen=True, slots=True)
class CopyJob:
    """The copy of one split.

    Attributes
    ----------
    source
        The dataset.
    described
        The split, and its files.
    name
        Name of the copy.
    settings
        How it is copied.
    """

    source: StoredDataset
    described: SplitDescription
    name: str
    settings: CopySettings

    def pieces(self, file: SplitFile, start: int = 0) -> Iterator[Buffer]:
        """Read a file from a byte on; what is described already is read from the description."""
        known = self.described.opened.path / file.name
        if known.is_file():
            return iter([known.read_bytes()[start:]])
        return self.source.pieces(f"{self.described.split}/{file.name}", start)

    def path(self, file: SplitFile) -> str:
        """Return the path or address of an original file, for messages."""
        return self.source.path(f"{self.described.split}/{file.name}")

    def traffic(self, left: Sequence[SplitFile], step: str = "copying") -> Traffic:
        """Return what counts the bytes of the files that are left."""
        total = self.described.nbytes
        done = total - sum(file.nbytes for file in left)
        return Traffic(
            f"{step} {self.name}", total, done, self.settings.progress, self.settings.stop
        )

    def require_same_source(self) -> None:
        """Check that the split has not been replaced while it was copied.

        Raises
        ------
        StoreError
            It has other metadata now, or none.
        """
        path = f"{self.described.split}/zarr.json"
        try:
            now = self.source.read(path)
        except FileNotFoundError:
            now = b""
        if now != self.described.metadata:
            raise StoreError(
                f"{self.source.path(path)}: was replaced or removed while it was copied, and the "
                "copy is not complete; repeat the command, which copies what differs"
                f"{look_up('replaced-split')}"
            )

    def report(
        self,
        path: str,
        status: CopyStatus,
        left: Sequence[SplitFile],
        read_back: int,
        seconds: float,
    ) -> CopiedSplit:
        """Return what was done."""
        return CopiedSplit(
            path=path,
            status=status,
            files=len(self.described.files) + 1,
            nbytes=self.described.nbytes + len(self.described.metadata),
            sent_files=len(left) + (0 if status == "already there" else 1),
            sent_nbytes=sum(file.nbytes for file in left)
            + (0 if status == "already there" else len(self.described.metadata)),
            read_back=read_back,
            left_out=self.described.left_out,
            seconds=seconds,
        )
