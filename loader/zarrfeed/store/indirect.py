"""Read one array through zarr-python, which knows codecs that others have added to it."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.errors import ReadError
from zarrfeed.store.files import open_file

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from zarrfeed.store.read_plan import Reads


class IndirectField:
    """Reads one array.

    Parameters
    ----------
    folder
        Of the array.

    Raises
    ------
    ReadError
        zarr-python cannot open it either.

    Attributes
    ----------
    decode_seconds
        Always 0: zarr-python does not tell decoding from reading.
    """

    def __init__(self, folder: Path) -> None:
        # Imported here: it takes a third of a second, and a packed store never needs it.
        import zarr

        self._folder = folder
        self.decode_seconds = 0.0
        try:
            self._array = zarr.open_array(_store_of(folder), mode="r")
        except Exception as error:
            raise ReadError(f"{folder}: zarr-python cannot open it: {error!s:.500}") from error

    def gather(self, ids: NDArray[np.int64], out: NDArray[Any]) -> bool:  # noqa: ARG002
        """Leave it to :meth:`read_into`."""
        return False

    def read_into(self, reads: Reads, out: NDArray[Any]) -> None:
        """Fill ``out[reads.land]`` with the samples of `reads`.

        Parameters
        ----------
        reads
            In storage order.
        out
            (b, *sample_shape), of the array's dtype.

        Raises
        ------
        ReadError
            zarr-python could not read or decode it.
        """
        samples, place = np.unique(reads.sample, return_inverse=True)
        try:
            found = np.asarray(self._array.oindex[samples])
        except Exception as error:
            raise ReadError(
                f"{self._folder}: zarr-python cannot read samples {samples[:9].tolist()}: "
                f"{error!s:.500}"
            ) from error
        out[reads.land] = found[place]

    def advise(self, reads: Reads) -> None:
        """Nothing: zarr-python does not say where its chunks lie."""

    def close(self) -> None:
        """Nothing is held open."""


def _store_of(folder: Path) -> Any:
    """Give zarr-python the files of an array, and nothing else: a pipe would block it."""
    from zarr.storage import LocalStore

    within = os.path.realpath(folder.parent)

    class RegularFiles(LocalStore):
        async def get(self, key: str, *arguments: Any, **options: Any) -> Any:
            with suppress(FileNotFoundError):
                os.close(open_file(self.root / key, within=within))
            return await super().get(key, *arguments, **options)

    return RegularFiles(folder, read_only=True)
