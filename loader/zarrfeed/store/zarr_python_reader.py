"""Read one array through zarr-python, which can have codecs that zarrfeed does not know."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.errors import ReadError
from zarrfeed.store.field_reader import FieldReader
from zarrfeed.store.files import open_file

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from zarrfeed.store.box_plan import BoxPlan
    from zarrfeed.store.read_plan import ReadPlan


class ZarrPythonArray:
    """Any array that zarr-python reads.

    Parameters
    ----------
    folder
        Folder of the array.

    Raises
    ------
    ReadError
        zarr-python cannot open the array.
    """

    def __init__(self, folder: Path) -> None:
        # Imported here because it takes a third of a second and a packed store never needs it.
        import zarr

        self._folder = folder
        try:
            self._array = zarr.open_array(_store_of(folder), mode="r")
        except Exception as error:
            raise ReadError(
                f"{folder}: zarr-python cannot open it: {error!s:.500}; install the codecs that it "
                "needs, or convert the original data"
            ) from error

    def read_samples(self, samples: NDArray[np.int64]) -> NDArray[Any]:
        """Read entries of the first axis, in ascending order."""
        try:
            return np.asarray(self._array.oindex[samples])
        except Exception as error:
            raise self._unreadable(f"samples {samples[:9].tolist()}", error) from error

    def read_box(self, box: tuple[int | slice, ...], out: NDArray[Any]) -> None:
        """Read a box into an array of its shape, by the chunks that it touches."""
        try:
            out[...] = np.asarray(self._array[box])
        except Exception as error:
            raise self._unreadable(f"the box {box}", error) from error

    def close(self) -> None:
        """Nothing stays open."""

    def _unreadable(self, what: str, error: Exception) -> ReadError:
        return ReadError(f"{self._folder}: zarr-python cannot read {what}: {error!s:.500}")


class ZarrPythonReader(FieldReader):
    """Reads any array that zarr-python reads.

    Parameters
    ----------
    folder
        Folder of the array.

    Raises
    ------
    ReadError
        zarr-python cannot open the array.
    """

    def __init__(self, folder: Path) -> None:
        self._array = ZarrPythonArray(folder)

    def read_into(self, plan: ReadPlan, out: NDArray[Any]) -> None:
        """Read the samples of a batch; see :meth:`FieldReader.read_into`."""
        samples, place = np.unique(plan.ids, return_inverse=True)
        land = slice(None) if plan.land is None else plan.land
        out[land] = self._array.read_samples(samples)[place]

    def read_box_into(self, plan: BoxPlan, out: NDArray[Any]) -> None:
        """Read a box of a case; see :meth:`FieldReader.read_box_into`."""
        for row, part in zip(plan.rows, plan.parts, strict=True):
            self._array.read_box((row, *part.inside), out[part.lands])


def _store_of(folder: Path) -> Any:
    """Return a store of an array's regular files only, because reading a pipe would block."""
    from zarr.storage import LocalStore

    within = os.path.realpath(folder.parent)

    class RegularFiles(LocalStore):
        async def get(self, key: str, *arguments: Any, **options: Any) -> Any:
            with suppress(FileNotFoundError):
                os.close(open_file(self.root / key, within=within))
            return await super().get(key, *arguments, **options)

    return RegularFiles(folder, read_only=True)
