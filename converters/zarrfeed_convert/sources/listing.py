"""Which files does a path or a glob mean, where each holds many samples?"""

from __future__ import annotations

import glob
import os
from pathlib import Path
from typing import TYPE_CHECKING

from zarrfeed.errors import SourceError
from zarrfeed_convert.sources.arrays.addresses import fixed_part, stems_of

if TYPE_CHECKING:
    from collections.abc import Collection


def list_files(where: str, *, what: str, extensions: Collection[str]) -> dict[str, str]:
    """Find files, and how the keys of their samples begin.

    Parameters
    ----------
    where
        A file; a folder, which is searched with everything below it; or a glob.
    what
        What they hold, ``images`` or ``masks``, for errors.
    extensions
        Of the files that are looked for in a folder, in lower case; ``.tfrecord`` finds
        ``x.tfrecord-00000-of-00010``, too.

    Returns
    -------
    dict
        Path → :func:`stems_of` of it, sorted by path.

    Raises
    ------
    SourceError
        There is none.
    """
    if Path(where).is_dir():
        base = where
        paths = [
            str(Path(folder, name))
            for folder, _, names in os.walk(where, followlinks=True)
            for name in names
            if any(end in name.lower() for end in extensions)
        ]
    elif Path(where).is_file():
        base, paths = str(Path(where).parent), [where]
    elif glob.has_magic(where):
        base = fixed_part(where)
        matches = glob.glob(where, recursive=True)  # noqa: PTH207 (Path has no absolute patterns)
        paths = [path for path in matches if Path(path).is_file()]
    else:
        raise SourceError(
            f"{what}: no such file or folder: {where}; give one, or a glob in quotes "
            f"like 'data/*{min(extensions)}'"
        )
    paths = sorted(path for path in paths if not Path(path).name.startswith("."))
    if not paths:
        looked = f"; looked for {' '.join(sorted(extensions))}" if Path(where).is_dir() else ""
        raise SourceError(f"{what}: found no file in {where}{looked}")
    return dict(zip(paths, stems_of(paths, base), strict=True))
