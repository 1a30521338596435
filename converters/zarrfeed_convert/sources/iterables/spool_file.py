"""Where is a spool, and for how long?"""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from zarrfeed_convert.locks import hold, own_prefix, remove_abandoned

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def spool_file(folder: Path) -> Iterator[tuple[IO[bytes], Path]]:
    """Make a file that is gone when the context is; first, remove those of runs that were killed.

    Parameters
    ----------
    folder
        Which is there.
    """
    prefix = own_prefix(".zarrfeed-spool")
    remove_abandoned(folder, prefix)
    handle, name = tempfile.mkstemp(".spool", prefix, folder)
    path = Path(name)
    held = hold(path)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file, path
    finally:
        path.unlink(missing_ok=True)
        os.close(held)
