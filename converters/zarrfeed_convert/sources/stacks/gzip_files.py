"""Which decompressor reads gzip files?"""

from __future__ import annotations

from typing import IO, Any

# 3.0 times the speed of Python's on a CT volume, 4.2 times on its labels (CPU time).
try:
    from isal import igzip as _gzip
except ImportError:  # as with the extra of DICOM alone
    import gzip as _gzip  # type: ignore[no-redef]


def open_gzip(path: str) -> IO[bytes]:
    """Open a gzip file to read its decompressed bytes."""
    opened: Any = _gzip
    file: IO[bytes] = opened.open(path)
    return file
